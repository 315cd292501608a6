//! What a client connection's requests may know of the TLS that carries them.

use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::tls::{Agreed, Shown, Version};

/// A connection whose TLS handshake is done.
#[derive(Clone, Debug)]
pub struct Secured {
    /// The version spoken.
    pub version: Version,
    /// The cipher suite's name in IANA's registry.
    pub cipher: &'static str,
    /// The application protocol that was negotiated, if one was.
    pub alpn: Option<Box<[u8]>>,
    /// Whether the session went on from an earlier one.
    pub resumed: bool,
    /// The name that the client asked for, in lower case.
    pub sni: Option<Box<str>>,
    /// The client's own certificate in DER, once it is verified.
    pub client_certificate: Option<Rc<[u8]>>,
    /// The certificate that the client was shown.
    pub shown: Arc<Shown>,
    field: OnceCell<Box<[u8]>>,
}

impl Secured {
    /// The outcome of a handshake in which this certificate was shown.
    pub fn new(agreed: Agreed, shown: Arc<Shown>) -> Self {
        Self {
            version: agreed.version,
            cipher: agreed.cipher,
            alpn: agreed.alpn,
            resumed: agreed.resumed,
            sni: agreed.sni,
            client_certificate: agreed.certificate,
            shown,
            field: OnceCell::new(),
        }
    }

    /// The client's own certificate as the value of Client-Cert (RFC 9440 section 2.2).
    pub fn client_cert(&self) -> Option<&[u8]> {
        let der = self.client_certificate.as_ref()?;
        Some(self.field.get_or_init(|| format!(":{}:", STANDARD.encode(der)).into_bytes().into()))
    }
}
