//! Tests of ocsp.
