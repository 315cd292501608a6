//! What two peers have agreed on in a handshake.

use std::rc::Rc;

/// The protocol's version; older ones are not spoken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    /// `1.2` or `1.3`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

/// The outcome of a handshake.
#[derive(Clone, Debug)]
pub struct Agreed {
    /// The version spoken.
    pub version: Version,
    /// The cipher suite's name in IANA's registry.
    pub cipher: &'static str,
    /// The application protocol, if one was negotiated (RFC 7301).
    pub alpn: Option<Box<[u8]>>,
    /// Whether it went on from an earlier session.
    pub resumed: bool,
    /// The name asked for, in lower case.
    pub sni: Option<Box<str>>,
    /// The peer's own certificate in DER, verified as the configuration demands.
    pub certificate: Option<Rc<[u8]>>,
}
