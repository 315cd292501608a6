//! TLS: sessions of both sides without I/O, and what they are made of.
//!
//! A handshake is rustls's, driven by octets in and octets out. What follows it is this module's own record layer, which
//! decrypts in the buffers that the kernel filled and encrypts straight into what is sent.

mod agreed;

pub use agreed::{Agreed, Version};
