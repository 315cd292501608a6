//! RFC 9113 8: how messages are spelled in frames, and which spellings are malformed.

use weir_tests::h2::{Frame, Message, code, get, hpack, post};
use weir_tests::{Config, Origin};

use super::stand::{PROTOCOL, Stand};

/// A GET with one field more, or with one replaced.
fn with<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    [get("/x"), vec![(name, value)]].concat()
}

fn without<'a>(name: &str) -> Vec<(&'a str, &'a str)> {
    get("/x").into_iter().filter(|field| field.0 != name).collect()
}

fn replaced<'a>(name: &str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    get("/x").into_iter().map(|field| if field.0 == name { (field.0, value) } else { field }).collect()
}

/// What a request is answered with, on a connection of its own.
#[track_caller]
fn answer(stand: &Stand, fields: &[(&str, &str)]) -> Message {
    let mut peer = stand.weir.h2();
    let stream = peer.open(fields, true);
    let answer = peer.response(stream);
    peer.ping();
    answer
}

/// A request is refused in the words of HTTP.
#[track_caller]
fn refused(stand: &Stand, fields: &[(&str, &str)], status: u16, reason: &str) {
    let booked = stand.weir.reason(reason);
    let answer = answer(stand, fields);
    assert_eq!(answer.status(), status, "{fields:?}: {answer:?}");
    assert!(answer.text().contains(reason), "{reason} not in {:?}", answer.text());
    stand.weir.wait_reason(reason, booked + 1);
}

#[test]
fn section_8_2_names_in_upper_case() {
    let stand = Stand::new();
    stand.malformed("an upper-case name", &with("X-Upper", "v"));
    stand.malformed("one upper-case letter", &with("x-uPper", "v"));
}

#[test]
fn section_8_2_1_octets_that_names_and_values_may_not_hold() {
    let stand = Stand::new();
    for name in ["x y", "x\ty", "x\r\ny", "x\0y", "x\x7fy", "x\u{e9}y", "x:y", "", "x(y"] {
        stand.malformed(&format!("name {name:?}"), &with(name, "v"));
    }
    // The codec takes it for a name; the parser of heads does not.
    refused(&stand, &with("x\"y", "v"), 400, "bad_header_name");
    for value in ["a\0b", "a\rb", "a\nb", "a\r\nb: c", "\0", "a\n"] {
        stand.malformed(&format!("value {value:?}"), &with("x-value", value));
    }
}

#[test]
fn section_8_2_1_other_control_octets_are_refused_like_in_http_1() {
    let stand = Stand::new();
    for value in ["a\x01b", "\x7f", "a\x1bb"] {
        stand.malformed(&format!("value {value:?}"), &with("x-value", value));
    }
}

#[test]
fn section_8_2_1_values_may_not_begin_or_end_with_space() {
    let stand = Stand::new();
    for value in [" a", "a ", "\ta", "a\t"] {
        let answer = answer(&stand, &with("x-value", value));
        let is_malformed = answer.reset == Some(code::PROTOCOL_ERROR) || answer.status() == 400;
        // What goes on is at least spelled without it.
        let seen = || stand.origin.last().fields.first("x-value").map(str::to_owned);
        assert!(is_malformed || seen().as_deref() == Some("a"), "{value:?}: {answer:?}");
    }
}

#[test]
fn section_8_2_2_fields_of_connections() {
    let stand = Stand::new();
    for (name, value) in [
        ("connection", "keep-alive"),
        ("connection", "close"),
        ("proxy-connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, deflate;q=0.5"),
    ] {
        stand.malformed(&format!("{name}: {value}"), &with(name, value));
    }
    assert_eq!(answer(&stand, &with("te", "trailers")).status(), 200);
}

#[test]
fn section_8_3_pseudo_headers_that_are_wrong() {
    let stand = Stand::new();
    stand.malformed("unknown", &[vec![(":unknown", "v")], get("/x")].concat());
    stand.malformed("of responses", &[get("/x"), vec![(":status", "200")]].concat());
    stand.malformed("after regular fields", &[get("/x"), vec![("x-a", "b"), (":authority", "test")]].concat());
    stand.malformed(
        "method after regular fields",
        &[without(":method"), vec![("x-a", "b"), (":method", "GET")]].concat(),
    );
    for name in [":method", ":scheme", ":path"] {
        stand.malformed(&format!("without {name}"), &without(name));
    }
    for path in ["", "x", "/a\x7f", "/a b"] {
        stand.malformed(&format!("path {path:?}"), &replaced(":path", path));
    }
    for (name, value) in get("/x") {
        stand.malformed(&format!("{name} twice"), &[get("/x"), vec![(name, value)]].concat());
    }
    stand.malformed("no field at all", &[]);
    stand.malformed("no pseudo-header", &[("x-a", "b")]);
}

#[test]
fn section_8_3_1_what_http_1_refuses_is_refused_with_the_same_words() {
    let stand = Stand::new();
    refused(&stand, &replaced(":method", "TRACE"), 405, "method_not_allowed");
    refused(&stand, &replaced(":path", "/a/../b"), 400, "invalid_request_target");
    refused(&stand, &replaced(":path", "/%zz"), 400, "invalid_request_target");
    refused(&stand, &replaced(":path", "*"), 400, "invalid_request_target");
    refused(&stand, &with("host", "other"), 400, "host_mismatch");
    refused(&stand, &without(":authority"), 400, "host_missing");
    refused(&stand, &replaced(":authority", "user@test"), 400, "host_invalid");
    refused(&stand, &replaced(":authority", "test:0"), 400, "host_invalid");
    refused(&stand, &with("expect", "something"), 417, "expectation_failed");
    let long = format!("/{}", "t".repeat(8192));
    refused(&stand, &replaced(":path", &long), 414, "target_too_long");
    assert!(stand.origin.requests().iter().all(|request| request.target == "/after" || request.target == "/other"));
}

#[test]
fn section_8_3_1_what_is_allowed_reaches_the_origin() {
    let stand = Stand::new();
    let pass = |fields: &[(&str, &str)]| {
        let answer = answer(&stand, fields);
        assert_eq!(answer.status(), 200, "{fields:?}: {answer:?}");
        stand.origin.last()
    };
    let seen = pass(&[get("/x?y=1"), vec![("x-own", "v"), ("x-own", "w"), ("x-empty", "")]].concat());
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/x?y=1"));
    assert_eq!(seen.fields.first("host"), Some(stand.origin.address().to_string().as_str()));
    assert_eq!(seen.fields.all("x-own").collect::<Vec<_>>(), ["v", "w"]);
    assert_eq!(seen.fields.first("x-empty"), Some(""));
    assert!(seen.fields.0.iter().all(|(name, _)| !name.starts_with(':')), "{seen:?}");
    // RFC 9113 8.3.1: Host in place of :authority, and both if they are equal.
    pass(&[without(":authority"), vec![("host", "test")]].concat());
    pass(&with("host", "test"));
    assert_eq!(pass(&replaced(":method", "PURGE")).method, "PURGE");
}

#[test]
fn section_8_2_3_cookie_crumbs_are_one_cookie_upstream() {
    let stand = Stand::new();
    let crumbs = [get("/x"), vec![("cookie", "a=1"), ("x-a", "b"), ("cookie", "c=2"), ("cookie", "d=3")]].concat();
    assert_eq!(answer(&stand, &crumbs).status(), 200);
    assert_eq!(stand.origin.last().fields.all("cookie").collect::<Vec<_>>(), ["a=1; c=2; d=3"]);
}

#[test]
fn section_8_1_1_lengths_that_do_not_match_the_data() {
    let stand = Stand::new();
    let sized = |length| [post("/x"), vec![("content-length", length)]].concat();
    let booked = |n| stand.weir.wait_reason("h2_malformed", n);
    for (what, length, pieces) in [
        ("less than announced", "5", &["abc"][..]),
        ("more than announced", "5", &["abcdef"]),
        ("more in two frames", "5", &["abc", "def"]),
        ("less in two frames", "8", &["abc", "def"]),
        ("some where none was announced", "0", &["a"]),
    ] {
        stand.stream_error(what, PROTOCOL, |peer| {
            let stream = peer.open(&sized(length), false);
            for (at, piece) in pieces.iter().enumerate() {
                peer.send(Frame::data(stream, piece, at + 1 == pieces.len()));
            }
            stream
        });
    }
    stand.malformed("a length and no DATA", &sized("5"));
    for length in ["+5", "5, 6", "", "x", "-1", "99999999999999999999"] {
        let answer = answer(&stand, &sized(length));
        assert!(answer.status() == 400 || answer.reset == Some(code::PROTOCOL_ERROR), "{length:?}: {answer:?}");
    }
    let twice = [sized("5"), vec![("content-length", "6")]].concat();
    let answer = answer(&stand, &twice);
    assert!(answer.status() == 400 || answer.reset == Some(code::PROTOCOL_ERROR), "{answer:?}");
    booked(6);
    // Where none was announced, it was whole with its head.
    let whole = stand.origin.requests().into_iter().filter(|request| request.target == "/x");
    assert!(
        whole.clone().all(|request| request.body.is_empty()) && whole.count() <= 1,
        "a malformed request was whole"
    );
}

#[test]
fn section_8_1_1_lengths_that_match_go_upstream() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    for (length, pieces) in [("5", &["abc", "", "de"][..]), ("0", &[""])] {
        let stream = peer.open(&[post("/x"), vec![("content-length", length)]].concat(), false);
        for (at, piece) in pieces.iter().enumerate() {
            peer.send(Frame::data(stream, piece, at + 1 == pieces.len()));
        }
        assert_eq!(peer.response(stream).text(), pieces.concat());
        assert_eq!(stand.origin.last().fields.first("content-length"), Some(length));
    }
}

#[test]
fn section_8_1_bodies_without_a_length_are_chunked_upstream() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    let stream = peer.open(&post("/x"), false);
    peer.send(Frame::data(stream, b"hello", false));
    peer.send(Frame::data(stream, b" world", true));
    assert_eq!(peer.response(stream).text(), "hello world");
    assert!(stand.origin.last().fields.names("transfer-encoding", "chunked"));
    let stream = peer.open(&post("/x"), true);
    assert_eq!(peer.response(stream).status(), 200);
    assert_eq!(stand.origin.malformed(), [""; 0]);
}

#[test]
fn section_8_1_trailers() {
    let stand = Stand::new();
    stand.allowed("trailers", |peer| {
        let stream = peer.open(&post("/x"), false);
        peer.send(Frame::data(stream, b"body", false));
        peer.send(Frame::headers(stream, hpack::block(&[("x-t", "1")]), true));
        assert_eq!(peer.response(stream).text(), "body");
    });
    let seen = stand.origin.requests().into_iter().find(|request| request.target == "/x").expect("a request");
    assert_eq!(seen.trailers.first("x-t"), Some("1"));
    for (what, block, end) in [
        ("trailers that do not end the stream", hpack::block(&[("x-t", "1")]), false),
        ("fields of connections in trailers", hpack::block(&[("connection", "close")]), true),
    ] {
        stand.stream_error(what, PROTOCOL, |peer| {
            let stream = peer.open(&post("/y"), false);
            peer.send(Frame::data(stream, b"body", false));
            peer.send(Frame::headers(stream, block, end));
            stream
        });
    }
    stand.either_error("upper case in trailers", PROTOCOL, |peer| {
        let stream = peer.open(&post("/y"), false);
        peer.send(Frame::data(stream, b"body", false));
        peer.send(Frame::headers(stream, hpack::block(&[("X-T", "1")]), true));
        stream
    });
    stand.stream_error("trailers before the announced length", PROTOCOL, |peer| {
        let stream = peer.open(&[post("/y"), vec![("content-length", "9")]].concat(), false);
        peer.send(Frame::data(stream, b"body", false));
        peer.send(Frame::headers(stream, hpack::block(&[("x-t", "1")]), true));
        stream
    });
    assert!(stand.origin.requests().iter().all(|request| request.target != "/y"), "a malformed request was whole");
}

/// The codec drops pseudo-headers in trailers where RFC 9113 8.1 asks for an error: they reach nobody.
#[test]
fn section_8_1_pseudo_headers_in_trailers_reach_nobody() {
    let stand = Stand::new();
    for name in [":method", ":path", ":status", ":authority"] {
        let mut peer = stand.weir.h2();
        let stream = peer.open(&post("/y"), false);
        peer.send(Frame::data(stream, b"body", false));
        peer.send(Frame::headers(stream, hpack::block(&[(name, "/z"), ("x-t", "1")]), true));
        peer.until("an answer", |peer, _| peer.message(stream).is_over() || peer.went_away().is_some());
        if peer.message(stream).ended {
            let seen = stand.origin.last();
            assert_eq!((seen.target.as_str(), seen.trailers.0.len()), ("/y", 1), "{name}: {seen:?}");
        }
    }
}

#[test]
fn section_8_1_trailers_are_bounded() {
    let stand = Stand::new();
    let names: Vec<String> = (0..33).map(|n| format!("t{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let large = "v".repeat(9 << 10);
    for trailers in [&many[..], &[("t", &large)]] {
        let mut peer = stand.weir.h2();
        let booked = stand.weir.reason("trailers_too_large");
        let stream = peer.open(&post("/y"), false);
        peer.send(Frame::data(stream, b"body", false));
        peer.send(Frame::headers(stream, hpack::block(trailers), true));
        assert_eq!(peer.response(stream).status(), 431);
        stand.weir.wait_reason("trailers_too_large", booked + 1);
    }
    assert!(stand.origin.requests().is_empty(), "a refused request was whole");
}

#[test]
fn section_8_5_connect_is_refused_where_it_is_not_allowed() {
    let stand = Stand::new();
    stand.malformed("CONNECT with :path", &[(":method", "CONNECT"), (":path", "/"), (":authority", "a.test:80")]);
    stand
        .malformed("CONNECT with :scheme", &[(":method", "CONNECT"), (":scheme", "http"), (":authority", "a.test:80")]);
    let nobody = answer(&stand, &[(":method", "CONNECT")]);
    assert!(matches!(nobody.status(), 400 | 405) || nobody.reset == Some(code::PROTOCOL_ERROR), "{nobody:?}");
    let connect = [(":method", "CONNECT"), (":authority", "a.test:443")];
    refused(&stand, &connect, 405, "method_not_allowed");
}

#[test]
fn rfc_8441_other_protocols_are_not_supported() {
    let stand = Stand::new();
    let ask = |protocol| [replaced(":method", "CONNECT"), vec![(":protocol", protocol)]].concat();
    refused(&stand, &ask("connect-udp"), 501, "protocol_unsupported");
    refused(&stand, &ask("nonsense"), 501, "protocol_unsupported");
    stand.malformed(":protocol with another method", &[get("/x"), vec![(":protocol", "websocket")]].concat());
}

#[test]
fn section_10_5_1_heads_beyond_the_limits_are_431() {
    let stand = Stand::new();
    let names: Vec<String> = (0..140).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = get("/x").into_iter().chain(names.iter().map(|name| (name.as_str(), "v"))).collect();
    let crumbs: Vec<(&str, &str)> = get("/x").into_iter().chain((0..140).map(|_| ("cookie", "a=b"))).collect();
    let large = "v".repeat(33 << 10);
    for (fields, reason) in
        [(many, "headers_too_many"), (crumbs, "headers_too_many"), (with("x-large", &large), "headers_too_large")]
    {
        let booked = stand.weir.reason(reason);
        let mut peer = stand.weir.h2();
        let stream = peer.next_stream();
        let block = hpack::block(&fields);
        let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let last = at + 1 == pieces.len();
            let flags = |frame: Frame| if last { frame } else { frame.without(weir_tests::h2::flag::END_HEADERS) };
            match at {
                0 => peer.send(flags(Frame::headers(stream, piece, true))),
                _ => peer.send(Frame::continuation(stream, piece, last)),
            }
        }
        assert_eq!(peer.response(stream).status(), 431, "{reason}");
        stand.weir.wait_reason(reason, booked + 1);
        assert_eq!(peer.get("/after").status(), 200, "the connection lives, its tables are in step");
    }
}

#[test]
fn section_8_1_responses_are_spelled_for_http_2() {
    let origin = Origin::scripted(|mut conn, _| {
        while let Some(request) = conn.request() {
            let answer: &str = match request.target.as_str() {
                "/interim" => {
                    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"
                }
                "/hop" => {
                    "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
                     Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nX-MiXed: Case\r\nContent-Length: 0\r\n\r\n"
                }
                "/trailers" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n",
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            };
            if !conn.send(answer) {
                return;
            }
        }
    });
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let interim = peer.get("/interim");
    assert_eq!((interim.interim.len(), interim.status(), interim.text().as_str()), (1, 200, "x"));
    assert_eq!(interim.interim[0].first("link"), Some("</a>"));
    // The harness refuses fields of connections and upper case.
    let hop = peer.get("/hop");
    assert_eq!(hop.fields.all("set-cookie").collect::<Vec<_>>(), ["a=b", "c=d"]);
    assert!(hop.fields.first("x-hop").is_none() && hop.fields.first("x-mixed") == Some("Case"), "{hop:?}");
    let trailers = peer.get("/trailers");
    assert_eq!((trailers.text().as_str(), trailers.trailers.first("x-t")), ("ab", Some("1")));
    for status in [204, 304] {
        let empty = peer.get(&format!("/{status}"));
        assert_eq!((empty.status(), empty.body.len()), (status, 0));
    }
    let head = peer.open(&replaced(":method", "HEAD"), true);
    let head = peer.response(head);
    assert_eq!((head.fields.first("content-length"), head.body.len()), (Some("5"), 0));
}

#[test]
fn section_8_1_a_cut_response_ends_with_a_reset() {
    let origin = Origin::scripted(|mut conn, _| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        conn.close();
    });
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let cut = peer.get("/");
    assert_eq!((cut.status(), cut.text().as_str(), cut.reset), (200, "half", Some(code::INTERNAL_ERROR)));
    weir.wait_reason("upstream_body_truncated", 1);
    peer.ping();
}

#[test]
fn section_8_1_an_answer_before_the_body_ends_with_no_error() {
    let stand = Stand::with(|config| config.replace("path_prefix = \"/\"", "path_prefix = \"/only\""));
    let mut peer = stand.weir.h2();
    let stream = peer.open(&post("/nowhere"), false);
    let answer = peer.head(stream);
    assert_eq!(answer.status(), 404);
    // A whole response, and then perhaps the wish for no more of the request.
    let answer = peer.response(stream);
    assert!(answer.ended && answer.reset.is_none_or(|code| code == code::NO_ERROR), "{answer:?}");
    peer.ping();
    let _ = peer.try_send([Frame::data(stream, b"more", true)]);
    peer.ping();
}
