//! TLS on both sides: certificates made for a test, a client that says exactly what it offers, an origin's side, and
//! the pipe that carries octets with or without it.

mod certificate;
mod connector;
mod pipe;

pub use certificate::{Authority, Identity};
pub use connector::{Acceptor, Connector};
pub use pipe::{Pipe, Session};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The one provider: nothing here depends on which others are compiled in.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests;
