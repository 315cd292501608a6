//! An upstream's half of HTTP/2: a request's fields from the octets that HTTP/1 would get, and a response's head as such
//! octets. One model of a message serves both versions, and one parser judges what comes (RFC 9113 section 8.3).

use bytes::Bytes;
use h2::ext::Protocol;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri};

use super::fields::{line, write_fields};
use crate::http::{Known, known, octets};

/// Fields that speak of an HTTP/1 connection (RFC 9113 section 8.2.2), and those that pseudo-header fields stand for.
const NOT_IN_H2: u64 = known::set(&[
    Known::Host,
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::Http2Settings,
]);

/// A request's head as HTTP/2 has it.
#[derive(Debug)]
pub struct Asked {
    /// Its fields; an extended CONNECT has its [`Protocol`] beside them.
    pub request: http::Request<()>,
    /// Octets of content that follow; `None`: until the stream's end.
    pub content: Option<u64>,
    /// The key of the offer of a WebSocket that it was.
    pub key: Option<Bytes>,
}

/// What of a request's head HTTP/2 has no words for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsendable {
    /// The target is longer than a URI may be here.
    Target,
    /// Another part: a defect of who wrote it.
    Head,
}

/// Turns a head as [`super::super::write_request_head`] writes it into HTTP/2's fields. An offer to become a WebSocket
/// connection becomes an extended CONNECT (RFC 8441 section 4). `authority` stands in for a Host that is empty.
///
/// # Errors
/// HTTP/2 cannot say it.
pub fn read_asked(head: Vec<u8>, secure: bool, authority: &str) -> Result<Asked, Unsendable> {
    let head = Bytes::from(head);
    let (line, mut rest) = split_line(&head).ok_or(Unsendable::Head)?;
    let mut words = line.split(|&octet| octet == b' ');
    let (method, target) = words.next().zip(words.next()).ok_or(Unsendable::Head)?;
    let mut request = http::Request::new(());
    *request.version_mut() = http::Version::HTTP_2;
    *request.method_mut() = Method::from_bytes(method).map_err(|_| Unsendable::Head)?;
    let (mut host, mut content, mut upgrade) = (Bytes::new(), Some(0), false);
    while let Some((line, next)) = split_line(rest).filter(|(line, _)| !line.is_empty()) {
        rest = next;
        let (name, value) = field(line).ok_or(Unsendable::Head)?;
        match Known::of(name) {
            Known::Host => host = head.slice_ref(value),
            Known::Upgrade => upgrade = true,
            Known::TransferEncoding => content = None,
            known if NOT_IN_H2 & known.bit() != 0 => {}
            known => {
                if known == Known::ContentLength {
                    content = length(value);
                }
                append(request.headers_mut(), name, head.slice_ref(value))?;
            }
        }
    }
    *request.uri_mut() = uri(secure, host, authority, head.slice_ref(target))?;
    let key = if upgrade { Some(connect(&mut request)) } else { None };
    Ok(Asked { request, content: content.filter(|_| !upgrade), key })
}

/// Makes an offer of a WebSocket the extended CONNECT that it is here; its key.
fn connect(request: &mut http::Request<()>) -> Bytes {
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(Protocol::from_static("websocket"));
    // RFC 8441 section 5: the key proves nothing here, so it is not sent.
    let key = request.headers_mut().remove(http::header::SEC_WEBSOCKET_KEY);
    key.map_or(Bytes::new(), |key| Bytes::copy_from_slice(key.as_bytes()))
}

fn length(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn uri(secure: bool, host: Bytes, authority: &str, target: Bytes) -> Result<Uri, Unsendable> {
    let host = if host.is_empty() { Bytes::copy_from_slice(authority.as_bytes()) } else { host };
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::from_maybe_shared(host).map_err(|_| Unsendable::Head)?);
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(spelled(target)).map_err(|_| Unsendable::Target)?);
    Uri::from_parts(parts).map_err(|_| Unsendable::Head)
}

/// The target with the few octets encoded that HTTP/1 lets pass and no URI may hold (RFC 3986 section 2).
fn spelled(target: Bytes) -> Bytes {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let barred = |octet: u8| matches!(octet, b'"' | b'<' | b'>' | b'`' | 0x7f..);
    if !target.iter().any(|&octet| barred(octet)) {
        return target;
    }
    let mut out = Vec::with_capacity(target.len() + 32);
    for &octet in &target {
        match barred(octet) {
            true => out.extend_from_slice(&[b'%', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]),
            false => out.push(octet),
        }
    }
    out.into()
}

fn append(fields: &mut HeaderMap, name: &[u8], value: Bytes) -> Result<(), Unsendable> {
    let name = HeaderName::from_bytes(name).map_err(|_| Unsendable::Head)?;
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| Unsendable::Head)?;
    fields.try_append(name, value).map(drop).map_err(|_| Unsendable::Head)
}

fn split_line(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\r', octets)?;
    Some((&octets[..end], octets.get(end + 2..)?))
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    Some((&line[..colon], octets::trim(&line[colon + 1..])))
}

/// Appends a response's head as HTTP/1 has it, for [`super::super::parse_response`] to judge.
pub fn write_response(out: &mut Vec<u8>, status: u16, fields: &HeaderMap) {
    write_status(out, status);
    write_fields(fields, out);
    out.extend_from_slice(b"\r\n");
}

/// The same for the 2xx that accepts an extended CONNECT: the 101 that accepts the upgrade which it stands for (RFC 8441
/// section 5.1), with the proof that goes with `key`.
pub fn write_switching(out: &mut Vec<u8>, fields: &HeaderMap, accept: &[u8]) {
    write_status(out, 101);
    for (name, value) in [("connection", &b"Upgrade"[..]), ("upgrade", b"websocket"), ("sec-websocket-accept", accept)]
    {
        line(out, name.as_bytes(), value);
    }
    // RFC 9110 section 8.6: no length in a 101.
    let barred = [http::header::CONTENT_LENGTH, http::header::SEC_WEBSOCKET_ACCEPT];
    for (name, value) in fields.iter().filter(|(name, _)| !barred.contains(name)) {
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

fn write_status(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.extend_from_slice(b" \r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{BodyLength, Method as Verb, ResponseHead, parse_response};

    fn fields(head: &str) -> Result<http::Request<()>, Unsendable> {
        read_asked(head.as_bytes().to_vec(), false, "fallback:1").map(|asked| asked.request)
    }

    #[test]
    fn a_request_keeps_what_is_the_messages_and_drops_what_is_the_connections() {
        let request = fields(
            "POST /a/b?c=d HTTP/1.1\r\nHost: a.test:81\r\nX-Two: 1\r\nX-Two: 2\r\nConnection: TE\r\nTE: trailers\r\n\
             Transfer-Encoding: chunked\r\nKeep-Alive: timeout=1\r\nEmpty: \r\n\r\n",
        )
        .expect("sendable");
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri().to_string(), "http://a.test:81/a/b?c=d");
        let lines: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(lines, [("x-two", &b"1"[..]), ("x-two", b"2"), ("te", b"trailers"), ("empty", b"")]);
    }

    #[test]
    fn a_head_says_how_much_follows_it() {
        let content = |line: &str| {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
            read_asked(head.into_bytes(), false, "").expect("sendable").content
        };
        assert_eq!(content(""), Some(0));
        assert_eq!(content("Content-Length: 12\r\n"), Some(12));
        assert_eq!(content("Transfer-Encoding: chunked\r\n"), None);
        assert_eq!(content("Connection: Upgrade\r\nUpgrade: websocket\r\n"), None);
    }

    #[test]
    fn an_upgrade_becomes_an_extended_connect_without_the_key() {
        let request = fields(
            "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\
             Sec-WebSocket-Version: 13\r\n\r\n",
        )
        .expect("sendable");
        assert_eq!(request.method(), "CONNECT");
        assert_eq!(request.extensions().get::<Protocol>().map(Protocol::as_str), Some("websocket"));
        assert_eq!(request.uri().path(), "/chat");
        let names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["sec-websocket-version"]);
    }

    #[test]
    fn octets_that_no_uri_may_hold_are_encoded_and_no_others() {
        let every: String = (0x21..0x7f).map(char::from).filter(|c| !"#?".contains(*c)).collect();
        for (prefix, target) in [("/", every.clone()), ("/?", every.clone() + "?")] {
            let target = format!("{prefix}{target}");
            let request = fields(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("sendable");
            let wanted = target.replace('"', "%22").replace('<', "%3C").replace('>', "%3E").replace('`', "%60");
            assert_eq!(request.uri().path_and_query().map(PathAndQuery::as_str), Some(&*wanted));
        }
    }

    #[test]
    fn the_server_as_a_whole_and_an_absent_host_have_their_words() {
        let request = fields("OPTIONS * HTTP/1.1\r\nHost: \r\n\r\n").expect("sendable");
        assert_eq!(request.uri().authority().map(Authority::as_str), Some("fallback:1"));
        assert_eq!(request.uri().path(), "*");
    }

    #[test]
    fn what_cannot_be_said_is_refused_without_a_panic() {
        for head in ["", "GET", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"] {
            assert_eq!(fields(head).err(), Some(Unsendable::Head), "{head}");
        }
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000));
        assert_eq!(fields(&long).err(), Some(Unsendable::Target));
    }

    #[test]
    fn a_response_reads_as_its_fields_say() {
        let mut received = HeaderMap::new();
        received.append("content-length", HeaderValue::from_static("5"));
        received.append("set-cookie", HeaderValue::from_static("a=1"));
        received.append("set-cookie", HeaderValue::from_static("b=2"));
        let mut octets = Vec::new();
        write_response(&mut octets, 200, &received);
        let mut head = ResponseHead::new();
        assert_eq!(parse_response(&octets, &mut head), Ok(Some(octets.len())));
        assert_eq!((head.status(), head.body(Verb::Get)), (200, BodyLength::Length(5)));
        assert_eq!(octets, b"HTTP/1.1 200 \r\ncontent-length: 5\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n\r\n");
    }

    #[test]
    fn a_response_that_http1_would_refuse_is_refused() {
        for status in [600, 999] {
            let mut octets = Vec::new();
            write_response(&mut octets, status, &HeaderMap::new());
            assert!(parse_response(&octets, &mut ResponseHead::new()).is_err(), "{status}");
        }
    }

    #[test]
    fn an_accepted_extended_connect_reads_as_the_101_it_stands_for() {
        let key = b"dGhlIHNhbXBsZSBub25jZQ==";
        let mut received = HeaderMap::new();
        received.append("content-length", HeaderValue::from_static("0"));
        received.append("sec-websocket-protocol", HeaderValue::from_static("chat"));
        let mut octets = Vec::new();
        write_switching(&mut octets, &received, &crate::http::websocket_accept(key));
        let mut head = ResponseHead::new();
        assert_eq!(parse_response(&octets, &mut head), Ok(Some(octets.len())));
        let response = crate::http::Response::new(&head, &octets);
        assert!(response.accepts_websocket(key) && head.content_length().is_none());
        assert_eq!(response.field(b"sec-websocket-protocol"), Some(&b"chat"[..]));
    }
}
