//! Response heads: an upstream's words, as strictly read as a client's.

use super::body::BodyLength;
use super::fields::{Field, Fields, Span};
use super::scan::{Line, Progress, Scan, Stop, fault, field_line, line_end};
use super::semantics::{self, Nominations};
use super::{Known, Method, Version, octets, websocket_accept};
use crate::base::{Fault, Reason};

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
            Version::Http11 | Version::Http2 => !self.close,
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

    /// Seconds of `Keep-Alive: timeout=` (RFC 2068 section 19.7.1.1).
    pub fn keep_alive_timeout(&self) -> Option<u64> {
        let mut parameters = semantics::list(&self.head.fields, self.bytes, Known::KeepAlive);
        let seconds = parameters.find_map(|parameter| {
            let (name, value) = parameter.split_at_checked(8)?;
            name.eq_ignore_ascii_case(b"timeout=").then_some(value)
        })?;
        std::str::from_utf8(seconds).ok()?.parse().ok()
    }

    /// Whether this 101 answers a WebSocket offer with that key (RFC 6455 section 4.1).
    pub fn accepts_websocket(&self, key: &[u8]) -> bool {
        let fields = &self.head.fields;
        let mut protocols = semantics::list(fields, self.bytes, Known::Upgrade);
        self.head.status == 101
            && self.head.upgrade
            && protocols.next().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
            && protocols.next().is_none()
            && !fields.is_repeated(Known::SecWebSocketAccept)
            && self.known(Known::SecWebSocketAccept) == Some(&websocket_accept(key))
    }
}

/// Parses the response head at the front of `buf`, as [`super::parse_request`] does. A whole head is forgotten by the
/// next call, as between an interim and a final response; the ninth interim response is refused. Every fault is
/// `upstream_bad_response`.
pub fn parse_response(buf: &[u8], head: &mut ResponseHead) -> Result<Option<usize>, Fault> {
    if !head.is_empty() {
        head.restart();
    }
    let view = &buf[..buf.len().min(HEAD_MAX)];
    match read(view, head).and_then(|()| Ok(conclude(head, view)?)) {
        Ok(()) => Ok(Some(head.len())),
        Err(Stop::More) if buf.len() >= HEAD_MAX => Err(fault(Reason::UpstreamBadResponse, HEAD_MAX)),
        Err(Stop::More) => Ok(None),
        Err(Stop::Bad(fault)) => Err(Fault { offset: fault.offset, ..Fault::new(Reason::UpstreamBadResponse) }),
    }
}

fn read(view: &[u8], head: &mut ResponseHead) -> Scan<()> {
    head.progress.begin(view);
    if head.progress.in_start_line() {
        let next = status_line(view, head)?;
        head.progress.line_done(next);
    }
    loop {
        let at = head.progress.at;
        let line = match field_line(view, at, &mut head.progress.line)? {
            Line::Field(line) => line,
            Line::End(next) => {
                head.progress.head_done(next);
                return Ok(());
            }
        };
        if head.fields.lines_seen() == FIELDS_MAX {
            return Err(fault(Reason::UpstreamBadResponse, at).into());
        }
        head.fields.push(line.field(view));
        head.progress.line_done(line.next());
    }
}

/// RFC 9112 section 4. The space before an empty phrase is often left out; that changes no meaning.
fn status_line(view: &[u8], head: &mut ResponseHead) -> Scan<usize> {
    let status_at = version_and_space(view, head)?;
    let mut status = 0;
    for at in status_at..status_at + 3 {
        let digit = *view.get(at).ok_or(Stop::More)?;
        if !digit.is_ascii_digit() {
            return Err(fault(Reason::UpstreamBadResponse, at).into());
        }
        status = status * 10 + u16::from(digit - b'0');
    }
    if !(100..=599).contains(&status) {
        return Err(fault(Reason::UpstreamBadResponse, status_at).into());
    }
    head.status = status;
    let phrase_at = match view.get(status_at + 3) {
        Some(b' ') => status_at + 4,
        _ => status_at + 3,
    };
    if phrase_at == status_at + 3 {
        head.phrase = Span::new(phrase_at, phrase_at);
        return line_end(view, phrase_at, Reason::UpstreamBadResponse);
    }
    let phrase_end = octets::value_end(view, phrase_at);
    head.phrase = Span::new(phrase_at, phrase_end);
    line_end(view, phrase_end, Reason::UpstreamBadResponse)
}

fn version_and_space(view: &[u8], head: &mut ResponseHead) -> Scan<usize> {
    const COMMON: &[u8] = b"HTTP/1.";
    for (at, wanted) in COMMON.iter().enumerate() {
        if view.get(at).ok_or(Stop::More)? != wanted {
            return Err(fault(Reason::UpstreamBadResponse, at).into());
        }
    }
    head.version = match view.get(COMMON.len()).ok_or(Stop::More)? {
        b'1' => Version::Http11,
        b'0' => Version::Http10,
        _ => return Err(fault(Reason::UpstreamBadResponse, COMMON.len()).into()),
    };
    match view.get(COMMON.len() + 1).ok_or(Stop::More)? {
        b' ' => Ok(COMMON.len() + 2),
        _ => Err(fault(Reason::UpstreamBadResponse, COMMON.len() + 1).into()),
    }
}

fn conclude(head: &mut ResponseHead, view: &[u8]) -> Result<(), Fault> {
    head.length = semantics::content_length(&head.fields, view)?;
    head.chunked = semantics::transfer_encoding(&head.fields, view, head.version)?;
    if head.length.is_some() && head.chunked {
        return Err(fault(Reason::UpstreamBadResponse, 0));
    }
    if head.fields.has(Known::Connection) {
        let options = semantics::connection(&mut head.fields, view, Nominations::Ignore)?;
        (head.close, head.keep_alive, head.upgrade) = (options.close, options.keep_alive, options.upgrade);
    }
    if head.is_interim() {
        head.interim += 1;
        if head.interim > INTERIM_MAX {
            return Err(fault(Reason::UpstreamBadResponse, 0));
        }
    }
    Ok(())
}

macro_rules! phrases {
    ($($code:literal $phrase:literal)*) => {
        /// The phrase of a status code (RFC 9110 section 15); empty for others.
        pub const fn status_text(status: u16) -> &'static str {
            match status {
                $($code => $phrase,)*
                _ => "",
            }
        }
    };
}

phrases! {
    100 "Continue"
    101 "Switching Protocols"
    102 "Processing"
    103 "Early Hints"
    200 "OK"
    201 "Created"
    202 "Accepted"
    203 "Non-Authoritative Information"
    204 "No Content"
    205 "Reset Content"
    206 "Partial Content"
    207 "Multi-Status"
    300 "Multiple Choices"
    301 "Moved Permanently"
    302 "Found"
    303 "See Other"
    304 "Not Modified"
    307 "Temporary Redirect"
    308 "Permanent Redirect"
    400 "Bad Request"
    401 "Unauthorized"
    402 "Payment Required"
    403 "Forbidden"
    404 "Not Found"
    405 "Method Not Allowed"
    406 "Not Acceptable"
    407 "Proxy Authentication Required"
    408 "Request Timeout"
    409 "Conflict"
    410 "Gone"
    411 "Length Required"
    412 "Precondition Failed"
    413 "Content Too Large"
    414 "URI Too Long"
    415 "Unsupported Media Type"
    416 "Range Not Satisfiable"
    417 "Expectation Failed"
    418 "I'm a teapot"
    421 "Misdirected Request"
    422 "Unprocessable Content"
    425 "Too Early"
    426 "Upgrade Required"
    428 "Precondition Required"
    429 "Too Many Requests"
    431 "Request Header Fields Too Large"
    451 "Unavailable For Legal Reasons"
    500 "Internal Server Error"
    501 "Not Implemented"
    502 "Bad Gateway"
    503 "Service Unavailable"
    504 "Gateway Timeout"
    505 "HTTP Version Not Supported"
    507 "Insufficient Storage"
    508 "Loop Detected"
    511 "Network Authentication Required"
}
