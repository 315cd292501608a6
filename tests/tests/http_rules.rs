//! Request framing: each rule whole, octet by octet and split at every boundary. What is refused gets its status and
//! reason, the connection ends, and nothing reaches the origin; what is accepted reaches it the same however it came.

use weir_tests::spelling::{self, Spelling};
use weir_tests::{Client, Config, Ended, Origin, Weir};

/// A request that is refused, and how.
struct Refused {
    bytes: Vec<u8>,
    status: u16,
    reasons: &'static [&'static str],
}

fn refused(bytes: impl AsRef<[u8]>, status: u16, reason: &'static [&'static str]) -> Refused {
    Refused { bytes: bytes.as_ref().to_vec(), status, reasons: reason }
}

/// `GET / HTTP/1.1` with Host and these lines.
fn with(lines: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n")
}

/// A chunked POST with this body.
fn chunked(body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

/// How much an origin may see of a refused request.
#[derive(Clone, Copy, PartialEq)]
enum Upstream {
    /// Not one connection.
    Nothing,
    /// The head may have left before the fault stood in the body; the request must never be whole.
    Unfinished,
}

fn rule(cases: &[Refused]) {
    rule_with(Upstream::Nothing, cases);
}

fn rule_with(upstream: Upstream, cases: &[Refused]) {
    let origin = Origin::ok("never");
    let weir = Config::forwarding(origin.url()).start();
    for case in cases {
        let before: u64 = case.reasons.iter().map(|reason| weir.reason(reason)).sum();
        let ways = spelling::all(case.bytes.len());
        for way in &ways {
            refuse(&weir, case, *way);
        }
        let counted = || case.reasons.iter().map(|reason| weir.reason(reason)).sum::<u64>() - before;
        weir_tests::wait::until(&format!("{} of {:?} counted", ways.len(), case.reasons), || {
            counted() >= ways.len() as u64
        });
        assert_eq!(counted(), ways.len() as u64, "each refusal of {} counts once", show(&case.bytes));
        match upstream {
            Upstream::Nothing => assert_eq!(origin.accepted(), 0, "the origin was dialled for {}", show(&case.bytes)),
            Upstream::Unfinished => assert!(origin.requests().is_empty(), "the origin took {}", show(&case.bytes)),
        }
    }
    assert_eq!(weir.stop().code, Some(0));
}

fn refuse(weir: &Weir, case: &Refused, way: Spelling) {
    let mut client = weir.client();
    way.write(&client, &case.bytes);
    let what = || format!("{way:?} of {}", show(&case.bytes));
    let method = if case.bytes.starts_with(b"HEAD") { "HEAD" } else { "GET" };
    let response = client.try_response(method).unwrap_or_else(|bad| panic!("{}: {bad:?}", what()));
    assert_eq!(response.status, case.status, "{}: {}", what(), response.text());
    let named = case.reasons.iter().any(|reason| response.text().contains(reason));
    assert!(named, "{}: {:?} not in {}", what(), case.reasons, response.text());
    assert!(response.fields.names("connection", "close"), "{}: no Connection: close", what());
    let (rest, _) = client.drain();
    assert!(rest.is_empty(), "{}: a second answer {}", what(), show(&rest));
}

fn show(bytes: &[u8]) -> String {
    let text: String = bytes.iter().take(300).flat_map(|b| b.escape_ascii()).map(char::from).collect();
    format!("{text:?} ({} octets)", bytes.len())
}

#[test]
fn rule_1_request_line() {
    let bad = |line: &str| refused(format!("{line}\r\nHost: a.test\r\n\r\n"), 400, &["bad_request_line"]);
    rule(&[
        bad("\r\n\r\nGET / HTTP/1.1"),
        bad("GET  / HTTP/1.1"),
        bad("GET /  HTTP/1.1"),
        bad("GET\t/ HTTP/1.1"),
        bad(" GET / HTTP/1.1"),
        bad("GET /HTTP/1.1"),
        bad("GET /"),
        bad("GET"),
        bad("GET / HTTP/1.1 "),
        bad("GET / HTTP/1.1 x"),
        bad("G(T / HTTP/1.1"),
        bad("G\u{e9}T / HTTP/1.1"),
        bad(&format!("{} / HTTP/1.1", "M".repeat(33))),
    ]);
}

#[test]
fn rule_2_version() {
    let bad =
        |version: &str| refused(format!("GET / {version}\r\nHost: a.test\r\n\r\n"), 505, &["version_unsupported"]);
    rule(&[bad("HTTP/2.0"), bad("HTTP/1.2"), bad("HTTP/0.9"), bad("HTTP/3.0")]);
}

#[test]
fn rule_3_methods_that_are_not_served() {
    rule(&[
        refused("TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 405, &["method_not_allowed"]),
        refused("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n", 405, &["method_not_allowed"]),
    ]);
}

#[test]
fn rule_4_line_endings() {
    let bad = |text: &str| refused(text, 400, &["bad_line_ending"]);
    rule(&[
        bad("GET / HTTP/1.1\nHost: a.test\n\n"),
        bad("GET / HTTP/1.1\r\nHost: a.test\n\r\n"),
        bad("GET / HTTP/1.1\r\nHost: a.test\r\n\n"),
        bad("GET / HTTP/1.1\nHost: a.test\r\n\r\n"),
        bad(&with("A: b\rc\r\n")),
        bad(&with("A: b\0c\r\n")),
        bad("GET / HTTP/1.1\rHost: a.test\r\n\r\n"),
    ]);
}

#[test]
fn rule_4_line_endings_within_a_chunked_body() {
    let bad = |body: &str| refused(chunked(body), 400, &["bad_line_ending", "chunk_invalid"]);
    rule_with(
        Upstream::Unfinished,
        &[bad("5\nhello\r\n0\r\n\r\n"), bad("5;a=\0\r\nhello\r\n0\r\n\r\n"), bad("5\r\nhello\r\n0\r\nT: a\n\r\n")],
    );
}

#[test]
fn rule_5_request_target() {
    let bad = |target: &[u8]| {
        let bytes = [b"GET ", target, b" HTTP/1.1\r\nHost: a.test\r\n\r\n"].concat();
        refused(bytes, 400, &["invalid_request_target"])
    };
    rule(&[
        bad(b"/a\x7f"),
        bad(b"/a\x80"),
        bad(b"/a#f"),
        bad(b"/%zz"),
        bad(b"/%"),
        bad(b"/%4"),
        bad(b"/a%00"),
        bad(b"/a%0a"),
        bad(b"/../x"),
        bad(b"/a/./b"),
        bad(b"/a/%2e%2e/b"),
        bad(b"/..;/x"),
        bad(b"/a\\b"),
        bad(b"/a/%5c../b"),
        bad(b"x"),
    ]);
}

#[test]
fn rule_6_forms_of_the_target() {
    let bad =
        |line: &str| refused(format!("{line} HTTP/1.1\r\nHost: a.test\r\n\r\n"), 400, &["invalid_request_target"]);
    let mismatch = |line: &str| refused(format!("{line} HTTP/1.1\r\nHost: a.test\r\n\r\n"), 400, &["host_mismatch"]);
    rule(&[
        bad("GET *"),
        bad("GET ftp://a.test/"),
        bad("GET a.test:80"),
        mismatch("GET http://b.test/"),
        mismatch("GET http://a.test:81/"),
    ]);
}

#[test]
fn rule_7_length_of_the_target() {
    let line = format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "t".repeat(8192));
    rule(&[refused(line, 414, &["target_too_long"])]);
}

#[test]
fn rule_8_size_of_the_head() {
    let many: String = (0..200).map(|n| format!("h{n}: v\r\n")).collect();
    rule(&[
        refused(with(&format!("A: {}\r\n", "v".repeat(33 << 10))), 431, &["headers_too_large"]),
        refused(with(&many), 431, &["headers_too_many"]),
    ]);
}

#[test]
fn rule_9_header_names() {
    let bad = |lines: &str| refused(with(lines), 400, &["bad_header_name"]);
    rule(&[
        bad("Na me: x\r\n"),
        bad("Name : x\r\n"),
        bad("Name\t: x\r\n"),
        bad(": x\r\n"),
        bad("N(ame: x\r\n"),
        bad("N\u{e9}me: x\r\n"),
        bad("no colon\r\n"),
    ]);
}

#[test]
fn rule_10_folded_lines() {
    rule(&[
        refused(with("A: b\r\n c\r\n"), 400, &["obs_fold"]),
        refused(with("A: b\r\n\tc\r\n"), 400, &["obs_fold"]),
        refused("GET / HTTP/1.1\r\n Host: a.test\r\n\r\n", 400, &["obs_fold"]),
    ]);
}

#[test]
fn rule_11_header_values() {
    let bad = |value: &str| refused(with(&format!("A: {value}\r\n")), 400, &["bad_header_value"]);
    rule(&[bad("b\x01c"), bad("\x7f"), bad("b\x0bc"), bad("\x1b[31m")]);
}

#[test]
fn rule_12_host() {
    let bad = |host: &str| refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400, &["host_invalid"]);
    rule(&[
        refused("GET / HTTP/1.1\r\nA: b\r\n\r\n", 400, &["host_missing"]),
        refused(with("Host: a.test\r\n"), 400, &["host_invalid"]),
        bad("a b"),
        bad("a/b"),
        bad("user@a.test"),
        bad("a.test:0"),
        bad("a.test:65536"),
        bad("a.test:x"),
        bad("[::1"),
        bad("[::x]"),
        bad(&"a".repeat(256)),
    ]);
}

#[test]
fn rule_13_content_length() {
    let bad = |lines: &str| {
        let head = format!("POST /x HTTP/1.1\r\nHost: a.test\r\n{lines}\r\nhello");
        refused(head, 400, &["content_length_invalid"])
    };
    rule(&[
        bad("Content-Length: +5\r\n"),
        bad("Content-Length: -5\r\n"),
        bad("Content-Length:\r\n"),
        bad("Content-Length: 5, 6\r\n"),
        bad("Content-Length: 5,\r\n"),
        bad("Content-Length: 5 5\r\n"),
        bad("Content-Length: 0x5\r\n"),
        bad("Content-Length: 5\r\nContent-Length: 6\r\n"),
        bad("Content-Length: 00000000000000000005\r\n"),
        bad("Content-Length: 9223372036854775808\r\n"),
    ]);
}

#[test]
fn rule_14_transfer_encoding() {
    let bad = |version: &str, lines: &str, status| {
        let head = format!("POST /x {version}\r\nHost: a.test\r\n{lines}\r\n0\r\n\r\n");
        refused(head, status, &["transfer_encoding_invalid", "bad_header_value"])
    };
    rule(&[
        bad("HTTP/1.1", "Transfer-Encoding: identity\r\n", 400),
        bad("HTTP/1.1", "Transfer-Encoding:\r\n", 400),
        bad("HTTP/1.1", "Transfer-Encoding: \x0bchunked\r\n", 400),
        bad("HTTP/1.1", "Transfer-Encoding: chunked, chunked\r\n", 400),
        bad("HTTP/1.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        bad("HTTP/1.1", "Transfer-Encoding: xchunked\r\n", 400),
        bad("HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n", 501),
        bad("HTTP/1.0", "Transfer-Encoding: chunked\r\n", 400),
    ]);
}

#[test]
fn rule_15_both_lengths() {
    let both = "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let turned = "POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n";
    rule(&[refused(both, 400, &["length_conflict"]), refused(turned, 400, &["length_conflict"])]);
}

#[test]
fn rule_16_chunks() {
    let bad = |body: &str| refused(chunked(body), 400, &["chunk_invalid", "bad_line_ending"]);
    rule_with(
        Upstream::Unfinished,
        &[
            bad("0x5\r\nhello\r\n0\r\n\r\n"),
            bad("5 \r\nhello\r\n0\r\n\r\n"),
            bad(" 5\r\nhello\r\n0\r\n\r\n"),
            bad("+5\r\nhello\r\n0\r\n\r\n"),
            bad("-5\r\nhello\r\n0\r\n\r\n"),
            bad("\r\nhello\r\n0\r\n\r\n"),
            bad("g\r\nhello\r\n0\r\n\r\n"),
            bad("00000000000000005\r\nhello\r\n0\r\n\r\n"),
            bad("5\r\nhelloX\r\n0\r\n\r\n"),
            bad("5\r\nhell\r\n0\r\n\r\n"),
            bad(&format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(4200))),
        ],
    );
}

#[test]
fn rule_17_trailers() {
    let many: String = (0..33).map(|n| format!("t{n}: v\r\n")).collect();
    let large = format!("T: {}\r\n", "v".repeat(9 << 10));
    let trailers = |lines: &str| chunked(&format!("5\r\nhello\r\n0\r\n{lines}\r\n"));
    rule_with(
        Upstream::Unfinished,
        &[
            refused(trailers("T x: v\r\n"), 400, &["bad_header_name"]),
            refused(trailers("T: v\r\n w\r\n"), 400, &["obs_fold"]),
            refused(trailers("T: \x01\r\n"), 400, &["bad_header_value"]),
            refused(trailers(&many), 431, &["trailers_too_large"]),
            refused(trailers(&large), 431, &["trailers_too_large"]),
        ],
    );
}

#[test]
fn rule_18_without_a_length_there_is_no_body() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    client.write("POST /one HTTP/1.1\r\nHost: a.test\r\n\r\nGET /two HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!((client.response().status, client.response().status), (200, 200));
    let seen: Vec<_> = origin.requests().into_iter().map(|r| (r.method, r.target, r.body.len())).collect();
    assert_eq!(seen, [("POST".into(), "/one".into(), 0), ("GET".into(), "/two".into(), 0)]);
}

#[test]
fn rule_19_eof_in_a_head_has_no_answer() {
    let origin = Origin::ok("never");
    let weir = Config::forwarding(origin.url()).start();
    let head = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    for cut in 1..head.len() {
        let mut client = weir.client();
        client.write(&head[..cut]);
        client.half_close();
        client.ended();
    }
    weir.wait_reason("client_closed", head.len() as u64 - 1);
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn rule_19_eof_in_a_body_aborts_upstream() {
    let origin = Origin::ok("never");
    let weir = Config::forwarding(origin.url()).start();
    let bodies = ["POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello", &chunked("5\r\nhello\r\n")];
    for (n, body) in bodies.iter().enumerate() {
        let client = weir.client();
        client.write(body);
        weir_tests::wait::until("the head upstream", || origin.accepted() > n);
        client.half_close();
        weir.wait_reason("client_cancelled", n as u64 + 1);
    }
    assert!(origin.requests().is_empty(), "a cut body ended cleanly upstream");
    weir_tests::wait::until("the upstream connections end", || origin.open() == 0);
}

#[test]
fn header_rules_refuse() {
    let query: String = (0..300).map(|n| format!("a{n}=1&")).collect();
    rule(&[
        refused(with("Connection: Host\r\n"), 400, &["connection_nominates"]),
        refused(with("Connection: close, X-Forwarded-For\r\n"), 400, &["connection_nominates"]),
        refused(with("Connection: Content-Length\r\n"), 400, &["connection_nominates"]),
        refused(with("Expect: something\r\n"), 417, &["expectation_failed"]),
        refused(format!("GET /?{query} HTTP/1.1\r\nHost: a.test\r\n\r\n"), 400, &["query_too_many"]),
    ]);
}

/// Bytes that are accepted, and the body that the origin must see.
fn accepted(cases: &[(&str, &str)]) {
    let origin = Origin::echo();
    let weir = Config::forwarding(origin.url()).start();
    let mut seen = 0;
    for (bytes, body) in cases {
        let bytes = bytes.as_bytes();
        for way in spelling::all(bytes.len()) {
            let mut client = weir.client();
            way.write(&client, bytes);
            let response = client.try_response("GET").unwrap_or_else(|e| panic!("{way:?} of {}: {e:?}", show(bytes)));
            assert_eq!((response.status, response.text().as_str()), (200, *body), "{way:?} of {}", show(bytes));
            seen += 1;
        }
    }
    assert_eq!(origin.requests().len(), seen);
    assert_eq!(origin.malformed(), [""; 0]);
}

#[test]
fn what_the_rules_allow_is_forwarded() {
    let post = |lines: &str| format!("POST /x HTTP/1.1\r\nHost: a.test\r\n{lines}\r\nhello");
    accepted(&[
        ("\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n", ""),
        ("GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n", ""),
        ("GET / HTTP/1.0\r\n\r\n", ""),
        ("GET / HTTP/1.1\r\nhOsT:\t A.TEST. \r\n\r\n", ""),
        (&post("Content-Length: 5\r\n"), "hello"),
        (&post("Content-Length: 5, 5\r\n"), "hello"),
        (&post("Content-Length: 5\r\nContent-Length: 5\r\n"), "hello"),
    ]);
}

#[test]
fn chunked_bodies_are_forwarded_however_they_are_cut() {
    accepted(&[
        (&chunked("5\r\nhello\r\n0\r\n\r\n"), "hello"),
        (&chunked("2;ext=\"x\"\r\nhe\r\n0000003\r\nllo\r\n0\r\n\r\n"), "hello"),
        (&chunked("0\r\n\r\n"), ""),
        (&chunked("A\r\n0123456789\r\n0;last\r\nT: v\r\n\r\n"), "0123456789"),
        (&chunked("5\r\nhello\r\n0\r\n\r\n").replace("chunked", "Chunked"), "hello"),
    ]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::echo();
    let weir = Config::forwarding(origin.url()).start();
    let requests: String =
        (0..20).map(|n| format!("POST /{n} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\n{n:02}")).collect();
    for way in [Spelling::Whole, Spelling::Octets, Spelling::Split(70)] {
        let mut client = weir.client();
        way.write(&client, requests.as_bytes());
        for n in 0..20 {
            assert_eq!(client.response().text(), format!("{n:02}"));
        }
    }
}

#[test]
fn http_1_0_closes_unless_it_asks_to_keep() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    client.exchange("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.ended(), Ended::Closed);
    let mut client: Client = weir.client();
    let kept = client.exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(kept.fields.names("connection", "keep-alive"));
    assert_eq!(client.exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").status, 200);
}

#[test]
fn headers_with_underscores_are_dropped_or_refused() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).start();
    weir.request("GET", "/", &[("X_A", "1"), ("X-B", "2")], b"");
    assert_eq!((origin.last().fields.first("x_a"), origin.last().fields.first("x-b")), (None, Some("2")));
    let weir = Config::forwarding(origin.url()).listener("underscore_headers = \"reject\"").start();
    let response = weir.request("GET", "/", &[("X_A", "1")], b"");
    assert!(response.status == 400 && response.text().contains("header_underscore"));
}

#[test]
fn hop_by_hop_headers_stop_here() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nKeep-Alive: timeout=5\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n\r\nx",
    );
    let weir = Config::forwarding(origin.url()).start();
    let fields = [
        ("Connection", "X-Mine, close"),
        ("X-Mine", "1"),
        ("TE", "gzip"),
        ("Proxy-Connection", "x"),
        ("Keep-Alive", "5"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "x"),
        ("X-Forwarded-For", "6.6.6.6"),
    ];
    let mut client = weir.client();
    client.write(weir_tests::exchange::bytes("GET", "/", &fields, b""));
    let response = client.response();
    for gone in ["keep-alive", "x-hop"] {
        assert_eq!(response.fields.first(gone), None, "{gone} reached the client");
    }
    assert_eq!(response.fields.first("x-end"), Some("2"));
    let seen = origin.last().fields;
    for gone in ["x-mine", "te", "proxy-connection", "keep-alive", "upgrade", "http2-settings"] {
        assert_eq!(seen.first(gone), None, "{gone} reached the origin");
    }
    assert_eq!(seen.first("x-forwarded-for"), Some("127.0.0.1"), "a spoofed address went through");
    assert_eq!(seen.first("via"), Some("1.1 weir"));
}
