//! TLS: sessions of both sides without I/O, and what they are made of.
//!
//! A handshake is rustls's, driven by octets in and octets out. What follows it is this module's own record layer, which
//! decrypts in the buffers that the kernel filled and encrypts straight into what is sent. What a listener shows and
//! asks of its clients is its [`Store`]; whoever reads files hands over what they hold.

mod agreed;
mod alert;
mod certificate;
mod client_auth;
mod generated;
mod handshake;
mod hello;
mod inbox;
mod keylog;
mod names;
pub mod ocsp;
mod outgoing;
mod record;
mod resolver;
mod session;
mod store;
#[cfg(test)]
pub(crate) mod testing;
mod tickets;

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

pub use agreed::{Agreed, Version};
pub use alert::Alert;
pub use certificate::{Certificate, Flaw, is_in_date};
pub use client_auth::{ClientAuth, Demand};
pub use generated::generate;
pub use handshake::{Cause, Handshake, Stand};
pub use hello::{Hello, Read, read as read_hello};
pub use keylog::KeyLogs;
pub use names::Names;
pub use outgoing::{Authority, Outgoing, Own, Terms};
pub use session::{Broken, Session};
pub use store::{Choice, Material, Offer, Refused, Shown, Store, Stores, Strictness, UnknownName};
pub use tickets::{TicketBook, Tickets};

/// The cryptography of every session: aws-lc-rs, post-quantum key exchange first.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

#[cfg(test)]
mod tests;
