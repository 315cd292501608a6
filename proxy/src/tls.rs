//! TLS: sessions of both sides without I/O, and what they are made of.
//!
//! A handshake is rustls's, driven by octets in and octets out. What follows it is this module's own record layer, which
//! decrypts in the buffers that the kernel filled and encrypts straight into what is sent.

mod agreed;
mod alert;
mod handshake;
mod hello;
mod inbox;
mod record;
mod session;

pub use agreed::{Agreed, Version};
pub use alert::Alert;
pub use handshake::{Cause, Handshake, Stand};
pub use hello::{Hello, Read, read as read_hello};
pub use session::{Broken, Session};
