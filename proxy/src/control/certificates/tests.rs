//! Tests of certificates that change and grow old.
