//! Response heads: an upstream's words, as strictly read as a client's.

use super::body::BodyLength;
use super::fields::{Field, Fields, Span};
use super::scan::Progress;
use super::{Known, Method, Version};
use crate::base::Fault;

/// Interim responses (1xx, without 101) that may come before a final one.
pub const INTERIM_MAX: u8 = 8;
/// Octets of a response head.
pub(crate) const HEAD_MAX: usize = 64 << 10;
/// Field lines of a response head.
pub(crate) const FIELDS_MAX: usize = 256;

/// A parsed response head: ranges into the receive buffer, reused from response to response.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    pub(crate) progress: Progress,
    pub(crate) version: Version,
    pub(crate) status: u16,
    pub(crate) phrase: Span,
    pub(crate) fields: Fields,
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    pub(crate) interim: u8,
}

impl ResponseHead {
    /// An empty head.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything, the count of interim responses too: call it before each exchange.
    pub fn clear(&mut self) {
        self.restart();
        self.interim = 0;
    }

    pub(crate) fn restart(&mut self) {
        self.progress = Progress::default();
        self.fields.clear();
        self.status = 0;
        self.length = None;
        (self.chunked, self.close, self.keep_alive, self.upgrade) = (false, false, false, false);
    }

    /// Octets of the head, its last empty line included; 0 until it is whole.
    pub fn len(&self) -> usize {
        self.progress.whole()
    }

    /// Whether no whole head has been parsed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Status code, 100-599.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// HTTP version of the message.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether another head follows: 1xx but 101.
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }

    /// How the body is framed, given what was asked (RFC 9112 section 6.3).
    pub fn body(&self, asked: Method) -> BodyLength {
        match self.status {
            100..=199 | 204 | 304 => BodyLength::None,
            _ if asked == Method::Head => BodyLength::None,
            _ if self.chunked => BodyLength::Chunked,
            _ => self.length.map_or(BodyLength::UntilClose, BodyLength::Length),
        }
    }

    /// Content-Length as declared; without meaning for framing in answers to HEAD and in 304.
    pub fn content_length(&self) -> Option<u64> {
        self.length
    }

    /// Whether the upstream lets the connection live on; its body must also have an end of its own.
    pub fn keep_alive(&self) -> bool {
        match self.version {
            Version::Http11 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }
}

/// A parsed response head beside the octets it was parsed from.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The parsed head.
    pub head: &'a ResponseHead,
    /// The receive buffer, from the head's first octet.
    pub bytes: &'a [u8],
}

impl<'a> Response<'a> {
    /// Both parts must belong together.
    pub fn new(head: &'a ResponseHead, bytes: &'a [u8]) -> Self {
        Self { head, bytes }
    }

    /// Status code, 100-599.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The reason phrase as received; may be empty.
    pub fn phrase(&self) -> &'a [u8] {
        self.head.phrase.of(self.bytes)
    }

    /// All fields as received, hop-by-hop ones included.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a> {
        let bytes = self.bytes;
        self.head.fields.list().iter().map(move |f| (f.name.of(bytes), f.value.of(bytes)))
    }

    /// All field lines with what is known about them.
    pub fn lines(&self) -> &'a [Field] {
        self.head.fields.list()
    }

    /// The first value of a name, in any case.
    pub fn field(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.fields_named(name).next()
    }

    /// All values of a name, in any case.
    pub fn fields_named(&self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        self.head.fields.named(bytes, name).map(move |f| f.value.of(bytes))
    }

    /// The first value of a recognised name: no search.
    pub fn known(&self, known: Known) -> Option<&'a [u8]> {
        self.head.fields.first(known).map(|f| f.value.of(self.bytes))
    }

    /// Seconds of `Keep-Alive: timeout=` (RFC 2068 section 19.7.1.1).
    pub fn keep_alive_timeout(&self) -> Option<u64> {
        None
    }

    /// Whether this 101 answers a WebSocket offer with that key (RFC 6455 section 4.1).
    pub fn accepts_websocket(&self, _key: &[u8]) -> bool {
        false
    }
}

/// Parses the response head at the front of `buf`, as [`super::parse_request`] does. A whole head is forgotten by the
/// next call, as between an interim and a final response; the ninth interim response is refused. Every fault is
/// `upstream_bad_response`.
pub fn parse_response(_buf: &[u8], _head: &mut ResponseHead) -> Result<Option<usize>, Fault> {
    Ok(None)
}

/// The phrase of a status code (RFC 9110 section 15); empty for others.
pub fn status_text(_status: u16) -> &'static str {
    ""
}
