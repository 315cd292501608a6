//! Serialisers: heads and chunk framing, written from values.

use super::{BodyLength, Edits, Forwarding, Request, Response, Version};

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
/// [`Connection::Close`] must be said (RFC 9112 sections 6.1 and 6.3).
pub fn client_body(upstream: BodyLength, version: Version) -> BodyLength {
    match (upstream, version) {
        (BodyLength::Chunked | BodyLength::UntilClose, Version::Http11) => BodyLength::Chunked,
        (BodyLength::Chunked | BodyLength::UntilClose, Version::Http10) => BodyLength::UntilClose,
        (known, _) => known,
    }
}

/// Appends a request head.
pub fn write_request_head(_out: &mut Vec<u8>, _head: &RequestOut<'_>) {}

/// Appends a response head.
pub fn write_response_head(_out: &mut Vec<u8>, _head: &ResponseOut<'_>) {}

/// Appends `100 Continue`.
pub fn write_continue(out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Appends an upstream's interim response. The caller keeps them from HTTP/1.0 clients.
pub fn write_interim(_out: &mut Vec<u8>, _response: &Response<'_>) {}

/// Appends what stands before `len` > 0 octets of content in the chunked coding.
pub fn write_chunk_start(_out: &mut Vec<u8>, _len: u64) {}

/// Appends what stands behind the content of a chunk.
pub fn write_chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk, the trailers and the end of the body.
pub fn write_last_chunk<'t>(out: &mut Vec<u8>, trailers: impl IntoIterator<Item = (&'t [u8], &'t [u8])>) {
    out.extend_from_slice(b"0\r\n");
    for (_name, _value) in trailers {}
    out.extend_from_slice(b"\r\n");
}
