//! What a client asks: a request's head, as the codec read it, spelled for the strict parser.

use http::header::{HOST, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Uri};

use super::fields::{line, write_fields};
use crate::base::{Fault, Reason};
use crate::http::{HeadLimits, normalise_host};

/// What a request's head says beside its octets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Incoming {
    /// It asks for a WebSocket by extended CONNECT (RFC 8441), and is the GET with an upgrade that it is to every stage.
    pub extended: bool,
    /// What follows is a tunnel's, not a body.
    pub tunnel: bool,
}

/// Appends the head of `parts` as HTTP/1 spells it, and takes its Host out. `protocol` is `:protocol`; `key` what an
/// offer of a WebSocket is to carry as its key, since HTTP/2 has none.
///
/// # Errors
/// What that spelling cannot show, so that the parser could not judge it.
pub fn write_incoming(
    parts: &mut Parts,
    protocol: Option<&str>,
    key: &str,
    limits: &HeadLimits,
    out: &mut Vec<u8>,
) -> Result<Incoming, Fault> {
    // RFC 9113 section 8.2.3 lets cookies come in crumbs: each is a field until they are joined.
    if parts.headers.len() > limits.fields_max {
        return Err(Fault::new(Reason::HeadersTooMany));
    }
    let extended = match protocol {
        Some("websocket") => true,
        Some(_) => return Err(Fault::new(Reason::ProtocolUnsupported)),
        None => false,
    };
    check_values(&parts.headers)?;
    let host = sole_host(&mut parts.headers)?;
    request_line(parts, extended, out)?;
    if let Some(authority) = authority(&parts.uri, host.as_ref())? {
        line(out, b"host", authority);
    }
    if extended {
        parts.headers.remove("sec-websocket-key");
        line(out, b"connection", b"Upgrade");
        line(out, b"upgrade", b"websocket");
        line(out, b"sec-websocket-key", key.as_bytes());
    }
    write_fields(&parts.headers, out);
    out.extend_from_slice(b"\r\n");
    Ok(Incoming { extended, tunnel: extended || parts.method == Method::CONNECT })
}

fn request_line(parts: &Parts, extended: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
    let invalid = || Fault::new(Reason::InvalidRequestTarget);
    let connect = parts.method == Method::CONNECT && !extended;
    let target = match (connect, parts.uri.path_and_query()) {
        (true, _) => parts.uri.authority().ok_or_else(invalid)?.as_str(),
        (false, path) => path.map(|path| path.as_str()).ok_or_else(invalid)?,
    };
    // What the parser would take for another form, or for the end of the target, must not come to it.
    let formed = connect || target == "*" || target.starts_with('/');
    if !formed || !target.bytes().all(|octet| matches!(octet, 0x21..=0x7e)) {
        return Err(invalid());
    }
    if parts.uri.scheme_str().is_some_and(|scheme| !matches!(scheme, "http" | "https")) {
        return Err(invalid());
    }
    let method = if extended { "GET" } else { parts.method.as_str() };
    for piece in [method, " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
    Ok(())
}

/// RFC 9113 section 8.2.1: no space around a value, which the parser would take away.
fn check_values(fields: &HeaderMap) -> Result<(), Fault> {
    let is_space = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    let padded = |value: &HeaderValue| is_space(value.as_bytes().first()) || is_space(value.as_bytes().last());
    if fields.values().any(padded) { Err(Fault::new(Reason::BadHeaderValue)) } else { Ok(()) }
}

fn sole_host(fields: &mut HeaderMap) -> Result<Option<HeaderValue>, Fault> {
    if fields.get_all(HOST).iter().nth(1).is_some() {
        return Err(Fault::new(Reason::HostInvalid));
    }
    Ok(fields.remove(HOST))
}

/// RFC 9113 section 8.3.1: `:authority` says what Host says in HTTP/1; where both are there, they must agree.
fn authority<'a>(uri: &'a Uri, host: Option<&'a HeaderValue>) -> Result<Option<&'a [u8]>, Fault> {
    let named = uri.authority().map(|authority| authority.as_str().as_bytes());
    match (named, host.map(HeaderValue::as_bytes)) {
        (Some(named), Some(host)) if !same(named, host, uri)? => Err(Fault::new(Reason::HostMismatch)),
        (named, host) => Ok(named.or(host)),
    }
}

fn same(named: &[u8], host: &[u8], uri: &Uri) -> Result<bool, Fault> {
    if named.eq_ignore_ascii_case(host) {
        return Ok(true);
    }
    let (mut one, mut other) = (String::new(), String::new());
    let invalid = |_| Fault::new(Reason::HostInvalid);
    let port = normalise_host(named, &mut one).map_err(invalid)?;
    let of_host = normalise_host(host, &mut other).map_err(invalid)?;
    let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    Ok(one == other && port.unwrap_or(usual) == of_host.unwrap_or(usual))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Head, Request, parse_request};

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn write(parts: &mut Parts, protocol: Option<&str>) -> Result<(String, Incoming), Fault> {
        let mut out = Vec::new();
        let incoming = write_incoming(parts, protocol, "dGhlIHNhbXBsZSBub25jZQ==", &HeadLimits::default(), &mut out)?;
        Ok((String::from_utf8(out).unwrap(), incoming))
    }

    #[test]
    fn a_request_is_spelled_as_in_http_1() {
        let fields = [("accept", "*/*"), ("cookie", "a=1"), ("cookie", "b=2")];
        let (text, incoming) = write(&mut parts("GET", "http://a.example/x?y=1#z", &fields), None).unwrap();
        let head = "GET /x?y=1 HTTP/1.1\r\nhost: a.example\r\naccept: */*\r\ncookie: a=1; b=2\r\n\r\n";
        assert_eq!((text.as_str(), incoming), (head, Incoming::default()));
        let mut head = Head::new();
        assert_eq!(parse_request(text.as_bytes(), &HeadLimits::default(), &mut head), Ok(Some(text.len())));
        assert_eq!(Request::new(&head, text.as_bytes()).host(), "a.example");
    }

    #[test]
    fn authority_and_host_must_agree() {
        for (host, reason) in [
            ("a.example", None),
            ("A.EXAMPLE:80", None),
            ("b.example", Some(Reason::HostMismatch)),
            ("a.example:81", Some(Reason::HostMismatch)),
            ("a b", Some(Reason::HostInvalid)),
        ] {
            let written = write(&mut parts("GET", "http://a.example/", &[("host", host)]), None);
            assert_eq!(written.err().map(|fault| fault.reason), reason, "{host}");
        }
        let twice = [("host", "a.example"), ("host", "a.example")];
        let written = write(&mut parts("GET", "http://a.example/", &twice), None);
        assert_eq!(written.err().map(|fault| fault.reason), Some(Reason::HostInvalid));
        let (text, _) = write(&mut parts("GET", "/", &[("host", "only.example")]), None).unwrap();
        assert!(text.contains("\r\nhost: only.example\r\n"));
    }

    #[test]
    fn a_websocket_is_a_get_with_an_offer_of_ours() {
        let fields = [("sec-websocket-version", "13"), ("sec-websocket-key", "theirs")];
        let (text, incoming) =
            write(&mut parts("CONNECT", "http://a.example/chat", &fields), Some("websocket")).unwrap();
        assert!(incoming.extended && incoming.tunnel);
        let mut head = Head::new();
        parse_request(text.as_bytes(), &HeadLimits::default(), &mut head).unwrap();
        let request = Request::new(&head, text.as_bytes());
        assert_eq!(request.method(), b"GET");
        assert_eq!(request.websocket().map(|offer| offer.key), Some(&b"dGhlIHNhbXBsZSBub25jZQ=="[..]));
        let other = write(&mut parts("CONNECT", "http://a.example/", &[]), Some("connect-udp"));
        assert_eq!(other.err().map(|fault| fault.reason), Some(Reason::ProtocolUnsupported));
    }

    #[test]
    fn connect_names_an_authority() {
        let (text, incoming) = write(&mut parts("CONNECT", "a.example:443", &[]), None).unwrap();
        assert_eq!(text, "CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n\r\n");
        assert!(incoming.tunnel && !incoming.extended);
    }

    #[test]
    fn what_the_parser_could_not_judge_is_refused() {
        for (uri, fields, reason) in [
            ("ftp://a.example/", [("a", "b")], Reason::InvalidRequestTarget),
            ("http://a.example/", [("a", " b")], Reason::BadHeaderValue),
            ("http://a.example/", [("a", "b\t")], Reason::BadHeaderValue),
            ("http://a.example/\u{e9}", [("a", "b")], Reason::InvalidRequestTarget),
        ] {
            let written = write(&mut parts("GET", uri, &fields), None);
            assert_eq!(written.err().map(|fault| fault.reason), Some(reason), "{uri} {fields:?}");
        }
        let many: Vec<_> = (0..200).map(|_| ("cookie", "a=1")).collect();
        let written = write(&mut parts("GET", "/", &many), None);
        assert_eq!(written.err().map(|fault| fault.reason), Some(Reason::HeadersTooMany));
    }
}
