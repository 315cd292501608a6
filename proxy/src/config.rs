//! Configuration: document, checked form, immutable snapshot.
