//! Heads as they leave: what goes along, what is dropped, what is added.

use super::*;

const FORWARDING: Forwarding<'_> =
    Forwarding { mode: Forwarded::X, peer: "192.0.2.1", before: None, proto: "http", port: 8080 };
const NO_EDITS: &Edits = &Edits::new();

fn upstream_head(input: &[u8], change: impl for<'a> Fn(&mut RequestOut<'a>), edits: &Edits) -> String {
    let head = parse(input);
    let request = Request::new(&head, input);
    let mut out = RequestOut {
        request,
        path: request.path_raw(),
        query: request.query(),
        host: b"origin:81",
        body: head.body(),
        expect_continue: head.expect_continue(),
        connection: Connection::KeepAlive,
        forwarding: FORWARDING,
        client_cert: ClientCert::Untold,
        request_id: (b"X-Request-Id", b"id-1"),
        edits,
    };
    change(&mut out);
    let mut bytes = Vec::new();
    write_request_head(&mut bytes, &out);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_request_is_written_anew() {
    let input =
        b"POST /a?b HTTP/1.1\r\nHost: App\r\nAccept: */*\r\nX-Odd:v \r\nContent-Length: 3,3\r\nUser-Agent: u\r\n\
        Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: gzip, trailers\r\nProxy-Authorization: p\r\n\
        X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Server: s\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
        X-Request-Id: spoofed\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nVia: 1.0 cdn\r\nExpect: 100-continue\r\n\r\n";
    let expected = "POST /a?b HTTP/1.1\r\nHost: origin:81\r\nAccept: */*\r\nX-Odd: v\r\nUser-Agent: u\r\nVia: 1.0 cdn\r\n\
        X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: App\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 8080\r\n\
        X-Real-IP: 192.0.2.1\r\nVia: 1.1 weir\r\nX-Request-Id: id-1\r\nConnection: TE\r\nTE: trailers\r\n\
        Expect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(upstream_head(input, |_| {}, NO_EDITS), expected);
}

#[test]
fn certificate_of_a_client_is_what_weir_or_a_trusted_peer_says() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\nClient-Cert: :AA==:\r\nclient-cert-chain: :BB==:\r\nX: 1\r\n\r\n";
    let told = |certificate| {
        let head = upstream_head(input, |out| out.client_cert = certificate, NO_EDITS);
        let lines = head.lines().filter(|line| line.to_ascii_lowercase().starts_with("client-cert"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(told(ClientCert::Untold), [""; 0]);
    assert_eq!(told(ClientCert::Own(b":CC==:")), ["Client-Cert: :CC==:"]);
    assert_eq!(told(ClientCert::AsReceived), ["Client-Cert: :AA==:", "client-cert-chain: :BB==:"]);
}

#[test]
fn edits_win_over_received_fields_and_over_our_own() {
    let mut edits = Edits::new();
    edits.remove(b"accept");
    assert!(edits.set(b"X-Forwarded-Proto", b"https"));
    assert!(edits.add(b"X-A", b"1") && edits.add(b"x-a", b"2"));
    assert!(edits.add_missing(b"X-B", b"new", true));
    assert!(edits.add_missing(b"X-C", b"new", false) && edits.add_missing(b"x-c", b"newer", false));
    assert!(!edits.add(b"X-D", b"a\r\nEvil: 1") && !edits.set(b"Bad Name", b"") && !edits.add(b"X", b"\0"));
    let input = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nX-B: old\r\nX-A: 0\r\n\r\n";
    let off = |out: &mut RequestOut<'_>| out.query = Some(b"q");
    let head = upstream_head(input, off, &edits);
    let expected = "GET /?q HTTP/1.1\r\nHost: origin:81\r\nX-B: old\r\nX-A: 0\r\nX-Forwarded-For: 192.0.2.1\r\n\
        X-Forwarded-Host: a\r\nX-Forwarded-Port: 8080\r\nX-Real-IP: 192.0.2.1\r\nVia: 1.1 weir\r\nX-Request-Id: id-1\r\n\
        X-Forwarded-Proto: https\r\nX-A: 1\r\nx-a: 2\r\nX-C: new\r\n\r\n";
    assert_eq!(head, expected);
    edits.clear();
    assert!(edits.is_empty());
    edits.set(b"X-A", b"1");
    edits.remove(b"x-a");
    assert_eq!(edits.iter().count(), 0);
}

#[test]
fn forwarding_headers_follow_the_mode() {
    let input = b"GET / HTTP/1.1\r\nHost: a:80\r\n\r\n";
    let lines = |mode, client: &'static str| {
        let change = move |out: &mut RequestOut<'_>| {
            out.forwarding = Forwarding { mode, peer: client, ..FORWARDING };
            out.connection = Connection::Close;
        };
        upstream_head(input, change, NO_EDITS)
    };
    assert!(!lines(Forwarded::Off, "192.0.2.1").contains("orwarded"));
    assert!(
        lines(Forwarded::Rfc7239, "192.0.2.1").contains("\r\nForwarded: for=192.0.2.1;host=\"a:80\";proto=http\r\n")
    );
    assert!(lines(Forwarded::Rfc7239, "2001:db8::1").contains("\r\nForwarded: for=\"[2001:db8::1]\";host"));
    assert!(lines(Forwarded::Rfc7239, "unix").contains("\r\nForwarded: for=unknown;host"));
    let both = lines(Forwarded::Both, "::1");
    assert!(both.contains("\r\nX-Forwarded-For: ::1\r\n") && both.contains("\r\nForwarded: for=\"[::1]\""));
    assert!(both.contains("\r\nConnection: close\r\n"));
}

#[test]
fn what_a_trusted_peer_says_goes_along() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: evil, 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Prefix: /p\r\nForwarded: for=evil\r\nX-Real-IP: evil\r\n\r\n";
    let before = Before { addresses: b"203.0.113.9, 10.0.0.7", elements: b"for=203.0.113.9, for=10.0.0.7" };
    let head = |mode, before| {
        let forwarding = Forwarding { mode, before: Some(before), ..FORWARDING };
        upstream_head(input, move |out| out.forwarding = forwarding, NO_EDITS)
    };
    let x = head(Forwarded::X, before);
    assert!(x.contains("\r\nX-Forwarded-For: 203.0.113.9, 10.0.0.7, 192.0.2.1\r\n"), "{x}");
    assert!(x.contains("\r\nX-Real-IP: 203.0.113.9\r\n") && x.contains("\r\nX-Forwarded-Prefix: /p\r\n"), "{x}");
    assert!(x.contains("\r\nX-Forwarded-Proto: https\r\n") && x.matches("X-Forwarded-Proto").count() == 1, "{x}");
    assert!(x.contains("\r\nX-Forwarded-Host: a\r\nX-Forwarded-Port: 8080\r\n") && !x.contains("evil"), "{x}");
    let rfc7239 = head(Forwarded::Rfc7239, before);
    let forwarded = "\r\nForwarded: for=203.0.113.9, for=10.0.0.7, for=192.0.2.1;host=\"a\";proto=http\r\n";
    assert!(rfc7239.contains(forwarded) && !rfc7239.contains("X-Forwarded"), "{rfc7239}");
    assert!(!head(Forwarded::Off, before).contains("orwarded"));
    let alone = head(Forwarded::X, Before { addresses: b"", elements: b"" });
    assert!(alone.contains("\r\nX-Forwarded-For: 192.0.2.1\r\n") && alone.contains("\r\nX-Real-IP: 192.0.2.1\r\n"));
}

#[test]
fn a_websocket_offer_goes_along_whole() {
    let input = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let head = upstream_head(input, |out| out.connection = Connection::Upgrade, NO_EDITS);
    assert!(head.contains("\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"));
    assert!(head.contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n") && head.matches("Upgrade").count() == 2);
    let plain = upstream_head(input, |_| {}, NO_EDITS);
    assert!(!plain.contains("Upgrade"));
}

#[test]
fn a_request_id_of_another_name_replaces_the_clients() {
    let input = b"GET / HTTP/1.0\r\nX-Correlation: spoofed\r\nX-Request-ID: spoofed\r\nA: b\r\n\r\n";
    let head = upstream_head(input, |out| out.request_id = (b"x-correlation", b"id-2"), NO_EDITS);
    assert!(!head.contains("spoofed") && head.contains("\r\nx-correlation: id-2\r\n") && head.contains("\r\nA: b\r\n"));
    assert!(head.contains("\r\nVia: 1.0 weir\r\n") && !head.contains("X-Forwarded-Host"));
}

fn client_head(upstream: Option<&[u8]>, change: impl for<'a> Fn(&mut ResponseOut<'a>)) -> String {
    let mut head = ResponseHead::new();
    if let Some(upstream) = upstream {
        assert!(matches!(parse_response(upstream, &mut head), Ok(Some(_))));
    }
    let response = upstream.map(|bytes| Response::new(&head, bytes));
    let mut out = ResponseOut {
        status: response.map_or(404, |response| response.status()),
        upstream: response,
        body: client_body(response.map_or(BodyLength::Length(2), |_| head.body(Method::Get)), Version::Http11),
        stated_length: None,
        version: Version::Http11,
        connection: Connection::KeepAlive,
        date: b"Thu, 01 Jan 1970 00:00:00 GMT",
        request_id: (b"X-Request-Id", b"id-1"),
        edits: NO_EDITS,
    };
    change(&mut out);
    let mut bytes = Vec::new();
    write_response_head(&mut bytes, &out);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_response_is_written_anew() {
    let upstream = b"HTTP/1.1 200 Fine\r\nDate: today\r\nServer: s\r\nContent-Length: 5\r\nConnection: x-hop\r\nX-Hop: 1\r\n\
        X-Request-Id: theirs\r\nKeep-Alive: timeout=5\r\nTrailer: t\r\nProxy-Authenticate: p\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n";
    let expected = "HTTP/1.1 200 Fine\r\nDate: today\r\nServer: s\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-Request-Id: id-1\r\n\
        Content-Length: 5\r\n\r\n";
    assert_eq!(client_head(Some(upstream), |_| {}), expected);
    let own = client_head(None, |out| out.connection = Connection::Close);
    let expected = "HTTP/1.1 404 Not Found\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nX-Request-Id: id-1\r\n\
        Connection: close\r\nContent-Length: 2\r\n\r\n";
    assert_eq!(own, expected);
}

#[test]
fn old_clients_get_no_chunks() {
    let upstream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(client_head(Some(upstream), |_| {}).contains("\r\nTransfer-Encoding: chunked\r\n"));
    let old = client_head(Some(upstream), |out| {
        out.version = Version::Http10;
        out.body = client_body(BodyLength::Chunked, Version::Http10);
    });
    assert!(!old.contains("chunked") && old.contains("\r\nConnection: close\r\n"));
    let kept = client_head(None, |out| out.version = Version::Http10);
    assert!(kept.contains("\r\nConnection: keep-alive\r\n"));
    assert_eq!(client_body(BodyLength::UntilClose, Version::Http11), BodyLength::Chunked);
}

#[test]
fn answers_without_a_body_state_a_length_only_when_told() {
    let upstream = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: e\r\n\r\n";
    assert!(!client_head(Some(upstream), |_| {}).contains("Content-Length"));
    let stated = client_head(Some(upstream), |out| out.stated_length = Some(5));
    assert_eq!(stated.matches("Content-Length: 5\r\n").count(), 1);
    let accepted = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n";
    let head = client_head(Some(accepted), |out| out.connection = Connection::Upgrade);
    assert!(
        head.contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n")
            && head.contains("Sec-WebSocket-Accept: x\r\n")
    );
}

#[test]
fn interim_responses_carry_only_what_goes_along() {
    let bytes = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: close\r\n\r\n";
    let mut head = ResponseHead::new();
    assert!(matches!(parse_response(bytes, &mut head), Ok(Some(_))));
    let mut out = Vec::new();
    write_interim(&mut out, &Response::new(&head, bytes));
    write_continue(&mut out);
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
}
