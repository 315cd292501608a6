//! Serialisers: heads and chunk framing, written from values.

use super::fields::HOP_BY_HOP;
use super::forward::PSEUDONYM;
use super::{BodyLength, Edits, Field, Forwarding, Known, Request, Response, Span, Version, known, status_text};

/// What a head says about its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connection {
    /// It lives on.
    KeepAlive,
    /// It ends with this exchange.
    Close,
    /// It becomes a WebSocket connection.
    Upgrade,
}

/// A request for an upstream.
#[derive(Clone, Copy, Debug)]
pub struct RequestOut<'a> {
    /// What the client asked; its fields go along, but for those that end here.
    pub request: Request<'a>,
    /// Path as spelled or rewritten, without the query.
    pub path: &'a [u8],
    /// Query, without the question mark.
    pub query: Option<&'a [u8]>,
    /// Value of Host.
    pub host: &'a [u8],
    /// Framing of the body that will be written.
    pub body: BodyLength,
    /// `Expect: 100-continue` goes along.
    pub expect_continue: bool,
    /// [`Connection::Upgrade`] only for a valid offer.
    pub connection: Connection,
    /// The client, for forwarding headers.
    pub forwarding: Forwarding<'a>,
    /// Name and value of the request id's header.
    pub request_id: (&'a [u8], &'a [u8]),
    /// Edits of the route and target.
    pub edits: &'a Edits,
}

/// A response for a client.
#[derive(Clone, Copy, Debug)]
pub struct ResponseOut<'a> {
    /// Status code.
    pub status: u16,
    /// The upstream's head, whose phrase and fields go along; none for answers of weir's own.
    pub upstream: Option<Response<'a>>,
    /// Framing of the body that will be written: see [`client_body`].
    pub body: BodyLength,
    /// Content-Length to state where no body follows: answers to HEAD, 304.
    pub stated_length: Option<u64>,
    /// Version the client spoke.
    pub version: Version,
    /// [`Connection::Upgrade`] only for a 101.
    pub connection: Connection,
    /// Value of Date, if the upstream gave none (RFC 9110 section 6.6.1).
    pub date: &'a [u8],
    /// Name and value of the request id's header.
    pub request_id: (&'a [u8], &'a [u8]),
    /// Edits of the route; also the fields of weir's own answers.
    pub edits: &'a Edits,
}

/// How a response body is framed for a client. HTTP/1.0 knows no chunks: there the connection's end ends it, and
/// [`Connection::Close`] must be said (RFC 9112 sections 6.1 and 6.3). In HTTP/2 the stream's end ends it.
pub fn client_body(upstream: BodyLength, version: Version) -> BodyLength {
    match (upstream, version) {
        (BodyLength::Chunked | BodyLength::UntilClose, Version::Http11) => BodyLength::Chunked,
        (BodyLength::Chunked | BodyLength::UntilClose, Version::Http10 | Version::Http2) => BodyLength::UntilClose,
        (known, _) => known,
    }
}

/// Client fields that an upstream never gets as they came: what is framing, what is said anew, and what only a trusted
/// peer may say (RFC 9110 section 7.6.1).
const NOT_UPSTREAM: u64 = HOP_BY_HOP
    | known::set(&[
        Known::Host,
        Known::Expect,
        Known::Forwarded,
        Known::XForwarded,
        Known::XForwardedFor,
        Known::XForwardedHost,
        Known::XForwardedProto,
        Known::XForwardedPort,
        Known::XRealIp,
        Known::XRequestId,
    ]);

/// Upstream fields that a client never gets as they came.
const NOT_DOWNSTREAM: u64 = HOP_BY_HOP | known::set(&[Known::XRequestId]);

/// Appends a request head.
pub fn write_request_head(out: &mut Vec<u8>, head: &RequestOut<'_>) {
    let request = &head.request;
    let method = request.method();
    out.reserve(request.head.len() + head.path.len() + 512);
    put(out, &[method, b" ", head.path]);
    if let Some(query) = head.query {
        put(out, &[b"?", query]);
    }
    put(out, &[b" HTTP/1.1\r\nHost: ", head.host, b"\r\n"]);
    let spoken = head.forwarding.kept();
    let dropped = NOT_UPSTREAM & !spoken;
    let kept = Kept { bytes: request.bytes, dropped, replaced: head.request_id.0, edits: head.edits };
    kept.write(out, request.lines());
    let mut own = |name: &[u8], value: &[&[u8]]| own_line(out, head.edits, name, value);
    head.forwarding.lines(request.authority(), spoken & request.head.fields.present(), &mut own);
    // RFC 9110 section 7.6.3: the version is the one that was received.
    let received: &[u8] = match request.version() {
        Version::Http10 => b"1.0 ",
        Version::Http11 => b"1.1 ",
        Version::Http2 => b"2.0 ",
    };
    own(b"Via", &[received, PSEUDONYM]);
    own(head.request_id.0, &[head.request_id.1]);
    added(out, head.edits);
    request_connection(out, head);
    framing(out, head.body);
    out.extend_from_slice(b"\r\n");
}

fn request_connection(out: &mut Vec<u8>, head: &RequestOut<'_>) {
    // RFC 9110 section 10.1.4: TE ends at each hop, so Connection must name it.
    let te = head.request.head.te_trailers();
    let line: &[u8] = match (head.connection, te) {
        (Connection::KeepAlive, false) => b"",
        (Connection::KeepAlive, true) => b"Connection: TE\r\nTE: trailers\r\n",
        (Connection::Close, false) => b"Connection: close\r\n",
        (Connection::Close, true) => b"Connection: close, TE\r\nTE: trailers\r\n",
        (Connection::Upgrade, _) => UPGRADE,
    };
    out.extend_from_slice(line);
    if head.expect_continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
}

/// Appends a response head.
pub fn write_response_head(out: &mut Vec<u8>, head: &ResponseOut<'_>) {
    out.reserve(head.upstream.map_or(0, |upstream| upstream.head.len()) + 512);
    status_line(out, head.status, head.upstream.map_or(&[], |upstream| upstream.phrase()));
    if let Some(upstream) = &head.upstream {
        let replaced = head.request_id.0;
        Kept { bytes: upstream.bytes, dropped: NOT_DOWNSTREAM, replaced, edits: head.edits }
            .write(out, upstream.lines());
    }
    if head.upstream.is_none_or(|upstream| upstream.known(Known::Date).is_none()) {
        own_line(out, head.edits, b"Date", &[head.date]);
    }
    own_line(out, head.edits, head.request_id.0, &[head.request_id.1]);
    added(out, head.edits);
    response_connection(out, head);
    framing(out, head.body);
    if let (BodyLength::None, Some(length)) = (head.body, head.stated_length) {
        framing(out, BodyLength::Length(length));
    }
    out.extend_from_slice(b"\r\n");
}

/// RFC 9112 section 9.3: HTTP/1.1 lives on unless told otherwise, HTTP/1.0 ends unless told otherwise.
fn response_connection(out: &mut Vec<u8>, head: &ResponseOut<'_>) {
    let ends = head.connection == Connection::Close || head.body == BodyLength::UntilClose;
    let line: &[u8] = match (head.connection, head.version) {
        (Connection::Upgrade, _) => UPGRADE,
        // RFC 9113 section 8.2.2: nothing is said of a connection that others share.
        (_, Version::Http2) => b"",
        _ if ends => b"Connection: close\r\n",
        (_, Version::Http10) => b"Connection: keep-alive\r\n",
        (_, Version::Http11) => b"",
    };
    out.extend_from_slice(line);
}

const UPGRADE: &[u8] = b"Connection: Upgrade\r\nUpgrade: websocket\r\n";

fn status_line(out: &mut Vec<u8>, status: u16, phrase: &[u8]) {
    if status == 200 && (phrase.is_empty() || phrase == b"OK") {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    let phrase = if phrase.is_empty() { status_text(status).as_bytes() } else { phrase };
    put(out, &[b"HTTP/1.1 ", itoa::Buffer::new().format(status).as_bytes(), b" ", phrase, b"\r\n"]);
}

fn framing(out: &mut Vec<u8>, body: BodyLength) {
    match body {
        BodyLength::Length(length) => {
            put(out, &[b"Content-Length: ", itoa::Buffer::new().format(length).as_bytes(), b"\r\n"]);
        }
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyLength::None | BodyLength::UntilClose => {}
    }
}

/// Which received fields go along.
struct Kept<'a> {
    bytes: &'a [u8],
    dropped: u64,
    /// A name that weir writes itself.
    replaced: &'a [u8],
    edits: &'a Edits,
}

impl Kept<'_> {
    /// Writes the fields that go along. Neighbours whose received lines equal, octet for octet, what would be written
    /// are written as one.
    fn write(&self, out: &mut Vec<u8>, fields: &[Field]) {
        // The usual header of that name is among those recognised, which `dropped` holds already.
        let replaced = if Known::of(self.replaced) == Known::Other { self.replaced } else { b"" };
        let plain = replaced.is_empty() && self.edits.is_empty();
        let mut run = Span::default();
        for field in fields {
            if self.dropped & field.known.bit() != 0 || field.nominated || !(plain || self.goes_along(field, replaced))
            {
                continue;
            }
            if field.canonical && run.end == field.name.start {
                run.end = field.value.end + 2;
                continue;
            }
            out.extend_from_slice(run.of(self.bytes));
            run = Span { start: field.name.start, end: field.value.end + 2 };
            if !field.canonical {
                put(out, &[field.name.of(self.bytes), b": ", field.value.of(self.bytes), b"\r\n"]);
                run = Span::default();
            }
        }
        out.extend_from_slice(run.of(self.bytes));
    }

    fn goes_along(&self, field: &Field, replaced: &[u8]) -> bool {
        let name = field.name.of(self.bytes);
        !name.eq_ignore_ascii_case(replaced) && !self.edits.hides(name)
    }
}

/// Writes a line of weir's own, unless an edit took that name away or gave it another value.
fn own_line(out: &mut Vec<u8>, edits: &Edits, name: &[u8], value: &[&[u8]]) {
    if edits.is_empty() || !edits.hides(name) {
        put(out, &[name, b": "]);
        put(out, value);
        out.extend_from_slice(b"\r\n");
    }
}

fn added(out: &mut Vec<u8>, edits: &Edits) {
    for (name, value) in edits.iter() {
        put(out, &[name, b": ", value, b"\r\n"]);
    }
}

fn put(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

/// Appends `100 Continue`.
pub fn write_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Appends an upstream's interim response. The caller keeps them from HTTP/1.0 clients.
pub fn write_interim(out: &mut Vec<u8>, response: &Response<'_>) {
    const NO_EDITS: &Edits = &Edits::new();
    status_line(out, response.status(), response.phrase());
    let kept = Kept { bytes: response.bytes, dropped: NOT_DOWNSTREAM, replaced: b"", edits: NO_EDITS };
    kept.write(out, response.lines());
    out.extend_from_slice(b"\r\n");
}

/// Appends what stands before `len` > 0 octets of content in the chunked coding (RFC 9112 section 7.1).
pub fn write_chunk_start(out: &mut Vec<u8>, len: u64) {
    debug_assert!(len > 0, "an empty chunk ends the body");
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digits = (67 - (len | 1).leading_zeros()) / 4;
    for digit in (0..digits).rev() {
        out.push(HEX[(len >> (4 * digit) & 15) as usize]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends what stands behind the content of a chunk.
pub fn write_chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk, the trailers and the end of the body.
pub fn write_last_chunk<'t>(out: &mut Vec<u8>, trailers: impl IntoIterator<Item = (&'t [u8], &'t [u8])>) {
    out.extend_from_slice(b"0\r\n");
    write_fields(out, trailers);
    out.extend_from_slice(b"\r\n");
}

/// Appends a line for each field.
pub fn write_fields<'t>(out: &mut Vec<u8>, fields: impl IntoIterator<Item = (&'t [u8], &'t [u8])>) {
    for (name, value) in fields {
        put(out, &[name, b": ", value, b"\r\n"]);
    }
}
