//! The rules of HTTP/1 framing: each refused whole, octet by octet and split at every boundary.

use super::*;
use crate::base::Reason;

/// Input, reason, status.
type Refusal = (&'static str, Reason, u16);

fn assert_refused(limits: &HeadLimits, table: &[Refusal]) {
    for (input, reason, status) in table {
        let fault = request_end(input.as_bytes(), limits).expect_err(input);
        assert_eq!((fault.reason, fault.status), (*reason, *status), "{input:?}");
        assert!(fault.offset.is_some_and(|at| at as usize <= input.len()), "{input:?} {:?}", fault.offset);
    }
}

#[test]
fn rule_1_request_line() {
    let table = [
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine, 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::BadRequestLine, 400),
        (" GET / HTTP/1.1\r\n", Reason::BadRequestLine, 400),
        ("GET / HTTP/1.1 \r\n", Reason::BadRequestLine, 400),
        ("GET / HTTP/1.1x\r\n", Reason::BadRequestLine, 400),
        ("GET /\r\n", Reason::BadRequestLine, 400),
        ("GET / \r\n", Reason::BadRequestLine, 400),
        ("GET\r\n", Reason::BadRequestLine, 400),
        ("G(T / HTTP/1.1\r\n", Reason::BadRequestLine, 400),
        ("\x16\x03\x01\x02", Reason::BadRequestLine, 400),
        ("GET / http/1.1\r\n", Reason::BadRequestLine, 400),
        ("GET / HTTP/1.10\r\n", Reason::BadRequestLine, 400),
        ("GET / HTTP/11\r\n", Reason::BadRequestLine, 400),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n", Reason::BadRequestLine, 400),
    ];
    assert_refused(&HeadLimits::default(), &table);
    let longest = "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(parse(longest.as_bytes()).verb(), Method::Other);
    assert_eq!(parse(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").len(), 29);
}

#[test]
fn rules_2_and_3_version_and_method() {
    let table = [
        ("GET / HTTP/2.0\r\n", Reason::VersionUnsupported, 505),
        ("GET / HTTP/1.2\r\n", Reason::VersionUnsupported, 505),
        ("GET / HTTP/0.9\r\n", Reason::VersionUnsupported, 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reason::VersionUnsupported, 505),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Reason::MethodNotAllowed, 405),
        ("TRACE / HTTP/3.1\r\nHost: a\r\n\r\n", Reason::VersionUnsupported, 505),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Reason::MethodNotAllowed, 405),
    ];
    assert_refused(&HeadLimits::default(), &table);
}

#[test]
fn rule_4_line_endings() {
    let table = [
        ("GET / HTTP/1.1\nHost: a\n\n", Reason::BadLineEnding, 400),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", Reason::BadLineEnding, 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", Reason::BadLineEnding, 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX", Reason::BadLineEnding, 400),
        ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", Reason::BadLineEnding, 400),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Reason::BadLineEnding, 400),
        ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", Reason::BadLineEnding, 400),
        ("GET / HTTP/1.1\r\nHo\0st: a\r\n\r\n", Reason::BadLineEnding, 400),
        ("GET / HTTP/1.1\r\nHost\n: a\r\n\r\n", Reason::BadLineEnding, 400),
        ("GET /\0 HTTP/1.1\r\n", Reason::BadLineEnding, 400),
        ("GET /\rx HTTP/1.1\r\n", Reason::BadLineEnding, 400),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", Reason::BadLineEnding, 400),
        ("\nGET / HTTP/1.1\r\n", Reason::BadLineEnding, 400),
        ("\rGET / HTTP/1.1\r\n", Reason::BadLineEnding, 400),
        ("GET\n/ HTTP/1.1\r\n", Reason::BadLineEnding, 400),
    ];
    assert_refused(&HeadLimits::default(), &table);
}

#[test]
fn rules_5_and_6_target() {
    let table = [
        ("GET /a#b HTTP/1.1\r\n", Reason::InvalidRequestTarget, 400),
        ("GET /\u{e9} HTTP/1.1\r\n", Reason::InvalidRequestTarget, 400),
        ("GET /a\tb HTTP/1.1\r\n", Reason::InvalidRequestTarget, 400),
        ("GET /\x7f HTTP/1.1\r\n", Reason::InvalidRequestTarget, 400),
        ("GET a HTTP/1.1\r\n", Reason::InvalidRequestTarget, 400),
        ("GET * HTTP/1.1\r\n", Reason::InvalidRequestTarget, 400),
        ("OPTIONS *x HTTP/1.1\r\n", Reason::InvalidRequestTarget, 400),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Reason::InvalidRequestTarget, 400),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Reason::InvalidRequestTarget, 400),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", Reason::InvalidRequestTarget, 400),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Reason::InvalidRequestTarget, 400),
        ("GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", Reason::InvalidRequestTarget, 400),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Reason::HostMismatch, 400),
        ("GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", Reason::HostMismatch, 400),
        ("GET https://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", Reason::HostMismatch, 400),
        ("GET http://u@a/ HTTP/1.0\r\n\r\n", Reason::InvalidRequestTarget, 400),
    ];
    assert_refused(&HeadLimits::default(), &table);
}

#[test]
fn target_forms_are_read() {
    for (line, form, path, query, host) in [
        ("GET /a?b=c", Form::Origin, "/a", Some("b=c"), "h"),
        ("GET /a?", Form::Origin, "/a", Some(""), "h"),
        ("GET /a?b?c", Form::Origin, "/a", Some("b?c"), "h"),
        ("GET http://h", Form::Absolute, "/", None, "h"),
        ("GET http://h?q", Form::Absolute, "/", Some("q"), "h"),
        ("GET HTTP://H.:80/x?y", Form::Absolute, "/x", Some("y"), "h"),
        ("GET https://h:443/x", Form::Absolute, "/x", None, "h"),
        ("OPTIONS *", Form::Asterisk, "*", None, "h"),
        ("OPTIONS http://h", Form::Asterisk, "*", None, "h"),
        ("OPTIONS http://h/", Form::Absolute, "/", None, "h"),
    ] {
        let input = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = parse(input.as_bytes());
        let request = Request::new(&head, input.as_bytes());
        let read = (head.form(), request.path_raw(), request.query(), request.host());
        assert_eq!(read, (form, path.as_bytes(), query.map(str::as_bytes), host), "{line}");
    }
    let old = parse(b"GET http://Some.Where:81/ HTTP/1.0\r\n\r\n");
    assert_eq!((old.host(), old.port()), ("some.where", Some(81)));
}

#[test]
fn rules_7_and_8_bounds() {
    let limits =
        HeadLimits { head_max: 120, target_max: 40, fields_max: 3, query_pairs_max: 2, ..HeadLimits::default() };
    let long_target = format!("GET /{} HTTP/1.1\r\n", "a".repeat(40));
    let endless_target = format!("GET /{}", "a".repeat(60));
    let long_head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(100));
    let endless_name = format!("GET / HTTP/1.1\r\n{}", "a".repeat(130));
    let fields = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nB: c\r\nC: d\r\n\r\n";
    let dropped = "GET / HTTP/1.1\r\nHost: a\r\nA_: b\r\nB_: c\r\nC_: d\r\n\r\n";
    for (input, reason, status) in [
        (long_target.as_str(), Reason::TargetTooLong, 414),
        (&endless_target, Reason::TargetTooLong, 414),
        (&long_head, Reason::HeadersTooLarge, 431),
        (&endless_name, Reason::HeadersTooLarge, 431),
        (fields, Reason::HeadersTooMany, 431),
        (dropped, Reason::HeadersTooMany, 431),
        ("GET /?a&b&c HTTP/1.1\r\nHost: a\r\n\r\n", Reason::QueryTooMany, 400),
        ("GET /?&& HTTP/1.1\r\nHost: a\r\n\r\n", Reason::QueryTooMany, 400),
    ] {
        let fault = request_end(input.as_bytes(), &limits).expect_err(input);
        assert_eq!((fault.reason, fault.status), (reason, status), "{input:?}");
    }
    let exact_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\nA: b\r\nB: c\r\n\r\n", "a".repeat(39));
    assert!(request_end(exact_target.as_bytes(), &limits).unwrap().is_some());
    let exact_head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(120 - 32));
    assert_eq!(exact_head.len(), 120);
    assert!(request_end(exact_head.as_bytes(), &limits).unwrap().is_some());
    let surplus = format!("{exact_head}GET /");
    assert_eq!(request_end(surplus.as_bytes(), &limits).unwrap().unwrap().len(), 120);
}

#[test]
fn rules_9_to_11_fields() {
    let table = [
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Reason::BadHeaderName, 400),
        ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", Reason::BadHeaderName, 400),
        ("GET / HTTP/1.1\r\n: a\r\n\r\n", Reason::BadHeaderName, 400),
        ("GET / HTTP/1.1\r\nHost\r\n\r\n", Reason::BadHeaderName, 400),
        ("GET / HTTP/1.1\r\nH@st: a\r\n\r\n", Reason::BadHeaderName, 400),
        ("GET / HTTP/1.1\r\nH\u{e9}: a\r\n\r\n", Reason::BadHeaderName, 400),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Reason::ObsFold, 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", Reason::ObsFold, 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", Reason::ObsFold, 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", Reason::BadHeaderValue, 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", Reason::BadHeaderValue, 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n", Reason::BadHeaderValue, 400),
    ];
    assert_refused(&HeadLimits::default(), &table);
    let reject = HeadLimits { underscore: Underscore::Reject, ..HeadLimits::default() };
    assert_refused(&reject, &[("GET / HTTP/1.1\r\nHost: a\r\nA_b: c\r\n\r\n", Reason::HeaderUnderscore, 400)]);
}

#[test]
fn values_are_trimmed_and_may_hold_tabs_and_obs_text() {
    let input = b"GET / HTTP/1.1\r\nHost:a\r\nX: \t b\tc\xe9 \t\r\nY:\r\n\r\n";
    let head = parse(input);
    let request = Request::new(&head, input);
    assert_eq!(request.field(b"x"), Some(&b"b\tc\xe9"[..]));
    assert_eq!(request.field(b"Y"), Some(&b""[..]));
    assert_eq!(request.field(b"z"), None);
}

#[test]
fn underscores_are_dropped_allowed_or_refused() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n";
    let head = parse(input);
    assert_eq!(Request::new(&head, input).fields().count(), 1);
    let allow = HeadLimits { underscore: Underscore::Allow, ..HeadLimits::default() };
    let head = request_end(input, &allow).unwrap().unwrap();
    assert_eq!(Request::new(&head, input).fields().count(), 2);
    assert_eq!(head.body(), BodyLength::None);
}

#[test]
fn rule_12_host() {
    let table = [
        ("GET / HTTP/1.1\r\n\r\n", Reason::HostMissing, 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n", Reason::HostMissing, 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Reason::HostInvalid, 400),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Reason::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Reason::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Reason::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Reason::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: a:0\r\n\r\n", Reason::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Reason::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Reason::HostInvalid, 400),
    ];
    assert_refused(&HeadLimits::default(), &table);
    assert_eq!(parse(b"GET / HTTP/1.0\r\n\r\n").host(), "");
    let head = parse(b"GET / HTTP/1.1\r\nHost: APP.example.com.:80\r\n\r\n");
    assert_eq!((head.host(), head.port()), ("app.example.com", Some(80)));
}

#[test]
fn rules_13_to_15_lengths() {
    macro_rules! post {
        ($fields:literal) => {
            concat!("POST / HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n\r\n")
        };
    }
    use Reason::{BadHeaderValue, ContentLengthInvalid, LengthConflict, TransferEncodingInvalid};
    let table = [
        (post!("Content-Length: +5"), ContentLengthInvalid, 400),
        (post!("Content-Length: -5"), ContentLengthInvalid, 400),
        (post!("Content-Length:"), ContentLengthInvalid, 400),
        (post!("Content-Length: 5, 6"), ContentLengthInvalid, 400),
        (post!("Content-Length: 5,"), ContentLengthInvalid, 400),
        (post!("Content-Length: 5\r\nContent-Length: 6"), ContentLengthInvalid, 400),
        (post!("Content-Length: 0x5"), ContentLengthInvalid, 400),
        (post!("Content-Length: 5 5"), ContentLengthInvalid, 400),
        (post!("Content-Length: 9223372036854775808"), ContentLengthInvalid, 400),
        (post!("Content-Length: 00000000000000000005"), ContentLengthInvalid, 400),
        (post!("Transfer-Encoding: identity"), TransferEncodingInvalid, 400),
        (post!("Transfer-Encoding: \x0bchunked"), BadHeaderValue, 400),
        (post!("Transfer-Encoding: chunked, chunked"), TransferEncodingInvalid, 400),
        (post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), TransferEncodingInvalid, 400),
        (post!("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"), TransferEncodingInvalid, 400),
        (post!("Transfer-Encoding: chunked, gzip"), TransferEncodingInvalid, 400),
        (post!("Transfer-Encoding: gzip"), TransferEncodingInvalid, 400),
        (post!("Transfer-Encoding:"), TransferEncodingInvalid, 400),
        (post!("Transfer-Encoding: chunked;q=1"), TransferEncodingInvalid, 400),
        (post!("Transfer-Encoding: \"chunked\""), TransferEncodingInvalid, 400),
        (post!("Transfer-Encoding: gzip, chunked"), TransferEncodingInvalid, 501),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", TransferEncodingInvalid, 400),
        (post!("Content-Length: 5\r\nTransfer-Encoding: chunked"), LengthConflict, 400),
        (post!("Transfer-Encoding: chunked\r\nContent-Length: 0"), LengthConflict, 400),
    ];
    assert_refused(&HeadLimits::default(), &table);
    for (input, body) in [
        (post!("Content-Length: 5, 5"), BodyLength::Length(5)),
        (post!("Content-Length: 5\r\ncontent-length: 05"), BodyLength::Length(5)),
        (post!("Content-Length: 9223372036854775807"), BodyLength::Length((1 << 63) - 1)),
        (post!("Content-Length: 0"), BodyLength::Length(0)),
        (post!("Transfer-Encoding: Chunked"), BodyLength::Chunked),
        (post!("X: y"), BodyLength::None),
    ] {
        assert_eq!(parse(input.as_bytes()).body(), body, "{input:?}");
    }
}

#[test]
fn rule_18_connect_has_no_body() {
    let limits = HeadLimits { connect: true, ..HeadLimits::default() };
    let table = [
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 0\r\n\r\n", Reason::ConnectWithBody, 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::ConnectWithBody, 400),
        ("CONNECT / HTTP/1.1\r\nHost: a:1\r\n\r\n", Reason::InvalidRequestTarget, 400),
        ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", Reason::InvalidRequestTarget, 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: b:1\r\n\r\n", Reason::HostMismatch, 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:2\r\n\r\n", Reason::HostMismatch, 400),
        ("CONNECT a:1/x HTTP/1.1\r\nHost: a:1\r\n\r\n", Reason::InvalidRequestTarget, 400),
    ];
    assert_refused(&limits, &table);
    let input = b"CONNECT A:1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = request_end(input, &limits).unwrap().unwrap();
    assert_eq!((head.form(), head.host(), head.port()), (Form::Authority, "a", Some(1)));
}

#[test]
fn connection_may_not_name_what_must_stay() {
    let many = (0..17).map(|n| format!("h{n}")).collect::<Vec<_>>().join(",");
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {many}\r\n\r\n");
    let fault = request_end(many.as_bytes(), &HeadLimits::default()).unwrap_err();
    assert_eq!(fault.reason, Reason::ConnectionNominates);
    for name in [
        "Host",
        "content-length",
        "Content-Type",
        "AUTHORIZATION",
        "Cookie",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Anything",
        "X-Real-IP",
    ] {
        let input = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, {name}\r\n\r\n");
        let fault = request_end(input.as_bytes(), &HeadLimits::default()).unwrap_err();
        assert_eq!((fault.reason, fault.status), (Reason::ConnectionNominates, 400), "{name}");
    }
}

#[test]
fn expectations_and_loops() {
    let table = [("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", Reason::ExpectationFailed, 417)];
    assert_refused(&HeadLimits::default(), &table);
    assert!(parse(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n").expect_continue());
    assert!(!parse(b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").expect_continue());
    let through = |times: usize| {
        let via = vec!["1.1 weir"; times].join(", ");
        format!("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 other, 1.0 weird\r\nVia: {via}\r\n\r\n")
    };
    let fault = request_end(through(10).as_bytes(), &HeadLimits::default()).unwrap_err();
    assert_eq!((fault.reason, fault.status), (Reason::LoopDetected, 508));
    parse(through(9).as_bytes());
}

#[test]
fn connections_live_on_as_asked() {
    for (line, connection, lives) in [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: Keep-Alive, CLOSE\r\n", false),
        ("HTTP/1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: keep-alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let input = format!("GET / {line}\r\nHost: a\r\n{connection}\r\n");
        assert_eq!(parse(input.as_bytes()).keep_alive(), lives, "{input:?}");
    }
}

#[test]
fn only_a_proper_websocket_offer_is_one() {
    let offer = |line: &str, fields: &str| {
        let input = format!("{line}\r\nHost: a\r\n{fields}\r\n");
        let head = parse(input.as_bytes());
        Request::new(&head, input.as_bytes()).websocket().map(|offer| offer.key.to_vec())
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    let upgrade = format!("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n{key}");
    assert_eq!(offer("GET / HTTP/1.1", &upgrade).as_deref(), Some(&b"dGhlIHNhbXBsZSBub25jZQ=="[..]));
    for (line, fields) in [
        ("POST / HTTP/1.1", upgrade.clone()),
        ("GET / HTTP/1.0", upgrade.clone()),
        ("GET / HTTP/1.1", format!("{upgrade}Content-Length: 0\r\n")),
        ("GET / HTTP/1.1", format!("{upgrade}{key}")),
        ("GET / HTTP/1.1", format!("Upgrade: websocket\r\n{key}")),
        ("GET / HTTP/1.1", format!("Connection: upgrade\r\nUpgrade: h2c\r\n{key}")),
        ("GET / HTTP/1.1", format!("Connection: upgrade\r\n{key}")),
        ("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: short\r\n".to_string()),
    ] {
        assert_eq!(offer(line, &fields), None, "{line} {fields}");
    }
}

#[test]
fn cookies_and_queries_are_found() {
    let input = b"GET /?a=1&b=x%20y+z&&c&%zz=%4 HTTP/1.1\r\nHost: a\r\nCookie: a=1; weir_s=v=w\r\nCookie: b=2\r\n\r\n";
    let head = parse(input);
    let request = Request::new(&head, input);
    assert_eq!(request.cookie(b"weir_s"), Some(&b"v=w"[..]));
    assert_eq!(request.cookie(b"b"), Some(&b"2"[..]));
    assert_eq!(request.cookie(b"weir"), None);
    let pairs: Vec<_> = request.query_pairs().map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
    let expected: &[(&[u8], &[u8])] = &[(b"a", b"1"), (b"b", b"x y z"), (b"c", b""), (b"%zz", b"%4")];
    assert!(pairs.iter().map(|(n, v)| (&n[..], &v[..])).eq(expected.iter().copied()), "{pairs:?}");
}

#[test]
fn a_head_is_reused_and_incomplete_ones_are_forgotten_on_demand() {
    let limits = HeadLimits::default();
    let mut head = Head::new();
    assert_eq!(parse_request(b"GET /first HTT", &limits, &mut head), Ok(None));
    assert!(head.has_begun());
    head.clear();
    assert!(!head.has_begun());
    let first = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
    assert_eq!(parse_request(first, &limits, &mut head), Ok(Some(first.len())));
    let second = b"GET /b HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(parse_request(second, &limits, &mut head), Ok(Some(second.len())));
    assert_eq!((head.host(), head.body(), head.keep_alive()), ("b", BodyLength::None, true));
    assert_eq!(Request::new(&head, second).fields().count(), 1);
}

#[test]
fn slow_arrival_costs_linear_time() {
    let limits = HeadLimits { head_max: 1 << 20, ..HeadLimits::default() };
    let mut input = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: ".to_vec();
    input.resize(1 << 20, b'c');
    // Quadratic work would be 5 * 10^11 octets here: minutes.
    let end = request_in_parts(&input, &limits, 0..=input.len());
    assert_eq!(end.unwrap_err().reason, Reason::HeadersTooLarge);
}

#[test]
fn path_faults_point_into_the_head() {
    let input = b"GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = parse(input);
    let fault = Request::new(&head, input).paths(true).unwrap_err();
    assert_eq!((fault.reason, fault.offset), (Reason::InvalidRequestTarget, Some(6)));
}
