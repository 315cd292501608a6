//! End-to-end tests of the weir binary.
