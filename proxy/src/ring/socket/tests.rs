//! Sockets on loopback.
