//! Response heads: what is refused, how bodies are framed, what a handshake must say.

use super::*;
use crate::base::Reason;

pub(super) fn in_parts(input: &[u8], ends: impl Iterator<Item = usize>) -> Result<Option<ResponseHead>, Fault> {
    let mut head = ResponseHead::new();
    for end in ends {
        if parse_response(&input[..end], &mut head)?.is_some() {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

pub(super) fn facts(head: &ResponseHead, input: &[u8]) -> String {
    let response = Response::new(head, input);
    let fields: Vec<_> = response.lines().iter().map(|f| (f.name, f.value, f.known, f.nominated)).collect();
    let body = (head.body(Method::Get), head.content_length(), head.keep_alive(), head.version());
    format!("{} {} {:?} {body:?} {fields:?}", head.len(), head.status(), response.phrase())
}

fn end(input: &[u8]) -> Result<Option<ResponseHead>, Fault> {
    let shown = |end: Result<Option<ResponseHead>, Fault>| end.map(|head| head.map(|head| facts(&head, input)));
    let whole = in_parts(input, std::iter::once(input.len()));
    assert_eq!(shown(whole.clone()), shown(in_parts(input, 0..=input.len())), "{}", input.escape_ascii());
    for at in 0..input.len() {
        let split = in_parts(input, [at, input.len()].into_iter());
        assert_eq!(shown(whole.clone()), shown(split), "split at {at}: {}", input.escape_ascii());
    }
    whole
}

fn parse(input: &str) -> ResponseHead {
    end(input.as_bytes()).expect(input).expect(input)
}

#[test]
fn malformed_responses_are_refused() {
    for input in [
        "HTTP/2.0 200 OK\r\n",
        "HTTP/1.2 200 OK\r\n",
        "ICY 200 OK\r\n",
        "<html>",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n",
        "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 099 OK\r\n",
        "HTTP/1.1 600 OK\r\n",
        "HTTP/1.1 200 O\x01K\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nA: b\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: \x02\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let fault = end(input.as_bytes()).expect_err(input);
        assert_eq!((fault.reason, fault.status), (Reason::UpstreamBadResponse, 502), "{input:?}");
    }
}

#[test]
fn bounds_hold_for_incomplete_heads() {
    let refused = |input: &[u8]| in_parts(input, std::iter::once(input.len())).map(|head| head.is_some());
    let bad = Fault::new(Reason::UpstreamBadResponse);
    let endless = [&b"HTTP/1.1 200 OK\r\nA: "[..], &[b'a'; 64 << 10]].concat();
    assert_eq!(refused(&endless), Err(bad.at(64 << 10)));
    assert_eq!(refused(&endless[..(64 << 10) - 1]), Ok(false));
    let many = [&b"HTTP/1.1 200 OK\r\n"[..], &b"A: b\r\n".repeat(257)].concat();
    assert_eq!(refused(&many).unwrap_err().reason, Reason::UpstreamBadResponse);
    let most = [&b"HTTP/1.1 200 OK\r\n"[..], &b"A: b\r\n".repeat(256), b"\r\n"].concat();
    assert_eq!(refused(&most), Ok(true));
}

#[test]
fn bodies_are_framed_by_status_method_and_fields() {
    use BodyLength::{Chunked, Length, None, UntilClose};
    for (input, asked, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::Get, Length(5)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", Method::Get, Length(5)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Method::Head, None),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Method::Get, Chunked),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Method::Head, None),
        ("HTTP/1.1 200\r\n\r\n", Method::Post, UntilClose),
        ("HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\n", Method::Get, None),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Method::Get, None),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Method::Get, None),
    ] {
        assert_eq!(parse(input).body(asked), body, "{input:?}");
    }
    assert_eq!(parse("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").content_length(), Some(5));
}

#[test]
fn the_ninth_interim_response_is_refused() {
    let mut head = ResponseHead::new();
    for _ in 0..8 {
        assert!(matches!(parse_response(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", &mut head), Ok(Some(_))));
        assert!(head.is_interim());
    }
    let mut ninth = head.clone();
    assert!(parse_response(b"HTTP/1.1 100 Continue\r\n\r\n", &mut ninth).is_err());
    assert!(matches!(parse_response(b"HTTP/1.1 200 OK\r\n\r\n", &mut head), Ok(Some(_))));
    assert!(!head.is_interim());
}

#[test]
fn connections_to_upstreams_live_on_as_told() {
    assert!(parse("HTTP/1.1 200 OK\r\n\r\n").keep_alive());
    assert!(!parse("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").keep_alive());
    assert!(!parse("HTTP/1.0 200 OK\r\n\r\n").keep_alive());
    assert!(parse("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n").keep_alive());
    let input = "HTTP/1.1 200 OK\r\nKeep-Alive: max=5, Timeout=17\r\n\r\n";
    assert_eq!(Response::new(&parse(input), input.as_bytes()).keep_alive_timeout(), Some(17));
    let input = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=soon\r\n\r\n";
    assert_eq!(Response::new(&parse(input), input.as_bytes()).keep_alive_timeout(), None);
}

#[test]
fn an_upstream_may_not_have_its_content_fields_dropped() {
    let input = "HTTP/1.1 200 OK\r\nConnection: Content-Type, X-Hop\r\nContent-Type: a/b\r\nX-Hop: 1\r\n\r\n";
    let nominated: Vec<bool> = parse(input).fields.list().iter().map(|field| field.nominated).collect();
    assert_eq!(nominated, [false, false, true]);
}

#[test]
fn a_handshake_is_accepted_only_with_the_right_answer() {
    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
    assert_eq!(&websocket_accept(KEY), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let accepts = |input: &str| Response::new(&parse(input), input.as_bytes()).accepts_websocket(KEY);
    let right =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    assert!(accepts(&format!("HTTP/1.1 101 Switching Protocols\r\n{right}")));
    assert!(!accepts(&format!("HTTP/1.1 200 OK\r\n{right}")));
    for (from, to) in [
        ("s3pP", "S3pP"),
        ("websocket", "h2c"),
        ("Connection: Upgrade", "Connection: close"),
        ("Sec-WebSocket-Accept", "X"),
        ("websocket", "websocket, h2c"),
    ] {
        assert!(!accepts(&format!("HTTP/1.1 101 Switching Protocols\r\n{}", right.replace(from, to))), "{to}");
    }
}
