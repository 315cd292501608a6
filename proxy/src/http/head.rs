//! A request's head: what was said, as ranges, and what it means for framing and for the connection.

use super::body::BodyLength;
use super::fields::{Field, Fields, Span};
use super::h2::Incoming;
use super::host::Host;
use super::path::{self, Paths};
use super::query::{Pairs, query_pairs};
use super::scan::Progress;
use super::upgrade::WebSocket;
use super::uri::Form;
use super::{Known, octets};
use crate::base::Fault;

/// HTTP versions served.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// As it stands in a message.
    pub const fn text(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}

/// Methods that some stage treats in its own way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "the names are the methods")]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Connect,
    Trace,
    /// Any other token.
    Other,
}

impl Method {
    /// Recognises a method; case matters (RFC 9110 section 9.1).
    pub fn of(token: &[u8]) -> Method {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"PATCH" => Method::Patch,
            b"CONNECT" => Method::Connect,
            b"TRACE" => Method::Trace,
            _ => Method::Other,
        }
    }

    /// RFC 9110 section 9.2.2.
    pub const fn is_idempotent(self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Put | Method::Delete | Method::Options | Method::Trace)
    }
}

/// A parsed request head. Ranges only: the octets stay in the receive buffer, which may move. Reused from request to
/// request, so that the steady state allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub(crate) progress: Progress,
    pub(crate) line: RequestLine,
    pub(crate) fields: Fields,
    pub(crate) host: Host,
    pub(crate) body: BodyLength,
    pub(crate) options: Options,
}

/// What the request line said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestLine {
    pub(crate) method: Span,
    pub(crate) verb: Method,
    pub(crate) target: Span,
    pub(crate) version: Version,
    pub(crate) form: Form,
    /// Of absolute- and authority-form.
    pub(crate) authority: Span,
    /// The absolute target's scheme's.
    pub(crate) default_port: u16,
    pub(crate) path: Span,
    pub(crate) query: Option<Span>,
}

/// What Connection, Expect, TE and Upgrade said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    pub(crate) expect_continue: bool,
    pub(crate) te_trailers: bool,
    pub(crate) extended: bool,
}

impl Head {
    /// An empty head; its room for fields grows with use and stays.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was parsed, also the part of an incomplete head; keeps its memory.
    pub fn clear(&mut self) {
        self.progress = Progress::default();
        self.line = RequestLine::default();
        self.fields.clear();
        self.host.clear();
        self.body = BodyLength::None;
        self.options = Options::default();
    }

    /// Octets of the head, its last empty line included; 0 until it is whole.
    pub fn len(&self) -> usize {
        self.progress.whole()
    }

    /// Whether no whole head has been parsed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether an octet of a request has been seen.
    pub fn has_begun(&self) -> bool {
        self.progress.has_begun()
    }

    /// HTTP version of the message.
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The method, if it is one of those treated in their own way.
    pub fn verb(&self) -> Method {
        self.line.verb
    }

    /// How the body is framed.
    pub fn body(&self) -> BodyLength {
        self.body
    }

    /// Whether the client lets the connection live on after this exchange (RFC 9112 section 9.3).
    pub fn keep_alive(&self) -> bool {
        match self.line.version {
            Version::Http11 | Version::Http2 => !self.options.close,
            Version::Http10 => self.options.keep_alive && !self.options.close,
        }
    }

    /// Whether the client waits for 100 (RFC 9110 section 10.1.1: never in HTTP/1.0).
    pub fn expect_continue(&self) -> bool {
        self.options.expect_continue
    }

    /// Whether the client takes trailers: `TE: trailers`; HTTP/2 always does.
    pub fn takes_trailers(&self) -> bool {
        self.options.te_trailers || self.line.version == Version::Http2
    }

    /// Whether `TE: trailers` is said.
    pub fn te_trailers(&self) -> bool {
        self.options.te_trailers
    }

    /// Whether it came as an extended CONNECT (RFC 8441): a success then is a tunnel.
    pub fn is_extended(&self) -> bool {
        self.options.extended
    }

    /// Makes of a parsed head that spelled one of HTTP/2 what it was: `ends` says that its stream did.
    pub fn carry(&mut self, incoming: Incoming, ends: bool) {
        self.line.version = Version::Http2;
        self.options.extended = incoming.extended;
        if self.body == BodyLength::None && !ends && !incoming.tunnel {
            self.body = BodyLength::UntilClose;
        }
    }

    /// The host: lower case, no port, no trailing dot, IPv6 in brackets and canonical; empty in HTTP/1.0 without Host.
    pub fn host(&self) -> &str {
        self.host.name()
    }

    /// The port that Host or the target's authority names.
    pub fn port(&self) -> Option<u16> {
        self.host.port()
    }

    /// Form of the request target.
    pub fn form(&self) -> Form {
        self.line.form
    }
}

/// A parsed head beside the octets it was parsed from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The parsed head.
    pub head: &'a Head,
    /// The receive buffer, from the head's first octet.
    pub bytes: &'a [u8],
}

impl<'a> Request<'a> {
    /// Both parts must belong together.
    pub fn new(head: &'a Head, bytes: &'a [u8]) -> Self {
        Self { head, bytes }
    }

    /// The method's token.
    pub fn method(&self) -> &'a [u8] {
        self.head.line.method.of(self.bytes)
    }

    /// The method, if it is one of those treated in their own way.
    pub fn verb(&self) -> Method {
        self.head.line.verb
    }

    /// HTTP version of the message.
    pub fn version(&self) -> Version {
        self.head.line.version
    }

    /// The request target as received.
    pub fn target(&self) -> &'a [u8] {
        self.head.line.target.of(self.bytes)
    }

    /// The path as received, without the query: `/` where an absolute target has none, `*` for the server as a whole,
    /// the whole target of CONNECT.
    pub fn path_raw(&self) -> &'a [u8] {
        match self.head.line.form {
            Form::Asterisk => b"*",
            Form::Authority => self.target(),
            _ if self.head.line.path.is_empty() => b"/",
            _ => self.head.line.path.of(self.bytes),
        }
    }

    /// What follows the target's first `?`.
    pub fn query(&self) -> Option<&'a [u8]> {
        self.head.line.query.map(|query| query.of(self.bytes))
    }

    /// The query's pairs, decoded.
    pub fn query_pairs(&self) -> Pairs<'a> {
        query_pairs(self.query().unwrap_or_default())
    }

    /// The two readings of the path, or its refusal.
    pub fn paths(&self, merge_slashes: bool) -> Result<Paths<'a>, Fault> {
        match self.head.line.form {
            Form::Asterisk => Ok(Paths::plain(b"*")),
            Form::Authority => Ok(Paths::plain(self.target())),
            _ => path::read_path(self.path_raw(), merge_slashes).map_err(|fault| {
                let start = self.head.line.path.start;
                Fault { offset: fault.offset.map(|offset| start.saturating_add(offset)), ..fault }
            }),
        }
    }

    /// The normalised host: see [`Head::host`].
    pub fn host(&self) -> &'a str {
        self.head.host.name()
    }

    /// Host and port as received: the Host field's value, or the target's authority if there is no Host.
    pub fn authority(&self) -> &'a [u8] {
        match self.head.fields.first(Known::Host) {
            Some(field) => field.value.of(self.bytes),
            None => self.head.line.authority.of(self.bytes),
        }
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
    pub fn field(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.fields_named(name).next()
    }

    /// All values of a name, in any case.
    pub fn fields_named<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a, 'n> {
        let bytes = self.bytes;
        self.head.fields.named(bytes, name).map(move |f| f.value.of(bytes))
    }

    /// The first value of a recognised name: no search.
    pub fn known(&self, known: Known) -> Option<&'a [u8]> {
        self.head.fields.first(known).map(|f| f.value.of(self.bytes))
    }

    /// The first cookie of that name (RFC 6265 section 4.2).
    pub fn cookie(&self, name: &[u8]) -> Option<&'a [u8]> {
        let bytes = self.bytes;
        let pairs = self.head.fields.all(Known::Cookie).flat_map(move |f| f.value.of(bytes).split(|&b| b == b';'));
        pairs.map(octets::trim).find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
    }

    /// A valid offer to become a WebSocket connection (RFC 6455 section 4.1): GET, HTTP/1.1, no body.
    pub fn websocket(&self) -> Option<WebSocket<'a>> {
        WebSocket::offered(self)
    }
}
