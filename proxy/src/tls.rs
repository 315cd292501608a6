//! TLS below the stages: what a listener shows and asks of its clients. Octets in, decisions out; whoever reads files
//! and clocks hands over what they say.

mod certificate;
mod client_auth;
mod generated;
mod keylog;
mod names;
pub mod ocsp;
mod resolver;
mod store;
mod tickets;

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;

pub use certificate::{Certificate, Flaw};
pub use client_auth::{ClientAuth, Demand};
pub use generated::generate;
pub use keylog::KeyLogs;
pub use names::Names;
pub use store::{Choice, Material, Offer, Refused, Shown, Store, Stores, Strictness, UnknownName};
pub use tickets::{TicketBook, Tickets};

/// The cryptography of every session: aws-lc-rs, post-quantum key exchange first.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    PROVIDER.clone()
}
