//! What a request becomes on its way up, and its response on its way down.

use weir_tests::h2c::{H2Origin, gone};
use weir_tests::{Ended, wait};

use crate::to;

#[test]
fn a_request_keeps_its_meaning_and_loses_its_connection() {
    let origin = H2Origin::ok("hello");
    let weir = to(origin.url()).start();
    let fields = [("Host", "shop.test"), ("X-Own", "One"), ("Keep-Alive", "timeout=3"), ("TE", "trailers")];
    let response = weir.request("GET", "/a/%20b?c=d&e", &fields, b"");
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    let seen = origin.last();
    assert_eq!((seen.method.as_str(), seen.version), ("GET", http::Version::HTTP_2));
    assert_eq!(seen.uri.to_string(), format!("http://{}/a/%20b?c=d&e", origin.address()));
    let field = |name: &str| seen.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(field("x-own"), Some("One"));
    assert_eq!(field("via"), Some("1.1 weir"));
    assert_eq!(field("x-forwarded-host"), Some("shop.test"));
    assert_eq!(field("te"), Some("trailers"));
    for gone in ["connection", "keep-alive", "host", "transfer-encoding"] {
        assert_eq!(field(gone), None, "{gone}");
    }
}

#[test]
fn the_host_is_the_authority_where_a_route_keeps_it() {
    let origin = H2Origin::ok("hello");
    let weir = weir_tests::Config::new()
        .route(1, "path_prefix = \"/\"\nrewrite = { host = \"preserve\" }", &[&origin.url()])
        .with("protocol = \"h2c\"")
        .start();
    weir.request("GET", "/", &[("Host", "shop.test:8080")], b"");
    assert_eq!(origin.last().uri.authority().map(|authority| authority.as_str()), Some("shop.test:8080"));
}

#[test]
fn octets_that_no_uri_may_hold_go_up_encoded() {
    let origin = H2Origin::ok("hello");
    let weir = to(origin.url()).start();
    assert_eq!(weir.get("/a`b?c=\"<d>\"&e={}").status, 200);
    assert_eq!(origin.last().uri.path_and_query().map(|path| path.as_str()), Some("/a%60b?c=%22%3Cd%3E%22&e={}"));
}

#[test]
fn bodies_of_every_framing_go_up_and_come_back() {
    let origin = H2Origin::echo();
    let weir = to(origin.url()).start();
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    for body in [b"x".as_slice(), &large[..16_384], &large[..65_536], &large] {
        let response = weir.request("POST", "/", &[], body);
        assert!(response.status == 200 && response.body == body, "{} octets", body.len());
        assert_eq!(origin.last().headers["content-length"], body.len().to_string());
    }
    let mut client = weir.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    let response = client.response_to("POST");
    assert_eq!(response.text(), "abcde");
    assert!(response.fields.names("transfer-encoding", "chunked"), "its length was not said");
    // An empty one of unknown length has an end all the same, and the connection lives on.
    client.write("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(client.response_to("POST").text(), "");
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_response_says_its_length_where_the_origin_did_or_its_stream_ended_at_once() {
    let origin = H2Origin::new(|mut call| async move {
        match call.head.uri.path() {
            "/length" => call.answer(200, &[("content-length", "5")], "hello"),
            "/none" => call.answer(200, &[], ""),
            "/204" => call.answer(204, &[], ""),
            "/304" => call.answer(304, &[("etag", "\"a\"")], ""),
            _ => drop(call.begin(200, &[("content-length", "7")], true)),
        }
    });
    let weir = to(origin.url()).start();
    let mut client = weir.client();
    let mut ask = |method: &str, path: &str| {
        client.write(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let response = client.response_to(method);
        let length = response.fields.first("content-length").map(str::to_owned);
        (response.status, length, response.text())
    };
    assert_eq!(ask("GET", "/length"), (200, Some("5".into()), "hello".into()));
    assert_eq!(ask("GET", "/none"), (200, Some("0".into()), String::new()));
    assert_eq!(ask("GET", "/204"), (204, None, String::new()));
    assert_eq!(ask("GET", "/304"), (304, None, String::new()));
    assert_eq!(ask("HEAD", "/head"), (200, Some("7".into()), String::new()));
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn trailers_go_both_ways_to_who_takes_them() {
    let origin = H2Origin::new(|mut call| async move {
        let Ok((_, trailers)) = call.content().await else { return };
        let sum =
            trailers.as_ref().and_then(|trailers| trailers.get("x-sum")?.to_str().ok()).unwrap_or("none").to_owned();
        let mut stream = call.begin(200, &[], false);
        let _ = stream.send_data(sum.into_bytes().into(), false);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-check", "yes".parse().expect("a value"));
        trailers.insert("content-length", "3".parse().expect("a value"));
        let _ = stream.send_trailers(trailers);
    });
    let weir = to(origin.url()).start();
    let body = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\nContent-Length: 9\r\n\r\n";
    let mut client = weir.client();
    client.write(format!("POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n{body}"));
    let response = client.response_to("POST");
    assert_eq!(response.text(), "42");
    assert_eq!(response.trailers.0, [("x-check".to_owned(), "yes".to_owned())], "those that may stand there");
    client.write(format!("POST / HTTP/1.1\r\nHost: a\r\n{body}"));
    let response = client.response_to("POST");
    assert_eq!((response.text().as_str(), response.trailers.0.len()), ("42", 0), "it did not ask for any");
}

#[test]
fn interim_responses_are_relayed_and_a_100_lets_the_body_go() {
    let origin = H2Origin::new(|mut call| async move {
        let interim = |status: u16| http::Response::builder().status(status);
        let hints = interim(103).header("link", "</a.css>").body(()).expect("a head");
        call.respond.send_informational(hints).expect("an interim head");
        call.respond.send_informational(interim(100).body(()).expect("a head")).expect("an interim head");
        let Ok((content, _)) = call.content().await else { return };
        let mut stream = call.begin(200, &[], false);
        let _ = stream.send_data(content.into(), true);
    });
    let weir = to(origin.url()).tables("[timeouts]\nexpect = \"60s\"").start();
    let mut client = weir.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let hints = client.head();
    assert_eq!((hints.status, hints.fields.first("link")), (103, Some("</a.css>")));
    assert_eq!(client.head().status, 100);
    client.write("hello");
    assert_eq!(client.response_to("POST").text(), "hello");
    assert_eq!(origin.last().headers["expect"], "100-continue");
}

#[test]
fn a_response_comes_as_it_is_made() {
    let origin = H2Origin::new(|mut call| async move {
        let mut stream = call.begin(200, &[("content-type", "text/event-stream")], false);
        let _ = stream.send_data("data: 1\n\n".into(), false);
        gone(&mut stream).await;
        call.note("cancelled");
    });
    let weir = to(origin.url()).start();
    let mut client = weir.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.take(14), b"9\r\ndata: 1\n\n\r\n");
    client.reset();
    origin.wait_note("cancelled");
    assert_eq!(origin.open(), 1, "the connection is not the stream's to end");
}

#[test]
fn an_answer_before_the_body_is_relayed_and_the_rest_is_not_sent() {
    let origin = H2Origin::new(|mut call| async move {
        // What is left of the request is told to end by NO_ERROR.
        call.answer(413, &[], "too much");
    });
    let weir = to(origin.url()).start();
    let mut client = weir.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\nfirst");
    let response = client.response_to("POST");
    assert_eq!((response.status, response.text().as_str()), (413, "too much"));
    assert_eq!(client.ended(), Ended::Closed);
    assert_eq!(weir.get("/").status, 413);
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn trailers_behind_a_length_reach_who_speaks_http_2() {
    let origin = H2Origin::new(|mut call| async move {
        let empty = call.head.uri.path() == "/empty";
        let mut stream = call.begin(200, &[("content-length", if empty { "0" } else { "5" })], false);
        if !empty {
            let _ = stream.send_data(b"hello".to_vec().into(), false);
        }
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-check", "yes".parse().expect("a value"));
        let _ = stream.send_trailers(trailers);
    });
    let weir = to(origin.url()).h2c().start();
    let mut peer = weir.h2();
    for (path, content) in [("/", "hello"), ("/empty", "")] {
        let stream = peer.open(&[(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a")], true);
        let answer = peer.response(stream);
        assert_eq!((answer.status(), String::from_utf8_lossy(&answer.body).as_ref()), (200, content));
        assert!(answer.ended);
        assert_eq!(answer.trailers.first("x-check"), Some("yes"), "{path}");
    }
}

#[test]
fn grpc_goes_through_with_its_trailers() {
    let origin = H2Origin::new(|mut call| async move {
        let fields = [("content-type", "application/grpc")];
        if call.head.uri.path() == "/refused" {
            drop(call.begin(200, &[("content-type", "application/grpc"), ("grpc-status", "7")], true));
            return;
        }
        let Ok((content, _)) = call.content().await else { return };
        let mut stream = call.begin(200, &fields, false);
        let _ = stream.send_data(content.into(), false);
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        let _ = stream.send_trailers(trailers);
    });
    let weir = to(origin.url()).start();
    let message = [0, 0, 0, 0, 2, b'h', b'i'];
    let fields = [("TE", "trailers"), ("Content-Type", "application/grpc")];
    let response = weir.request("POST", "/echo.Echo/Say", &fields, &message);
    assert_eq!((response.status, response.body.as_slice()), (200, &message[..]));
    assert_eq!(response.trailers.first("grpc-status"), Some("0"));
    assert_eq!(origin.last().headers["te"], "trailers");
    let response = weir.request("POST", "/refused", &fields, &message);
    assert_eq!((response.status, response.fields.first("grpc-status")), (200, Some("7")));
}

#[test]
fn a_silent_event_stream_is_bounded_as_a_tunnel_and_another_body_as_a_body() {
    let origin = H2Origin::new(|mut call| async move {
        let kind = if call.head.uri.path() == "/events" { "text/event-stream" } else { "text/plain" };
        let mut stream = call.begin(200, &[("content-type", kind)], false);
        let _ = stream.send_data("first".into(), false);
        gone(&mut stream).await;
    });
    let weir = to(origin.url()).tables("[timeouts]\nread = \"300ms\"\ntunnel = \"1s\"").start();
    for (path, reason) in [("/", "upstream_body_timeout"), ("/events", "tunnel_idle")] {
        let mut client = weir.client();
        client.write(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.head().status, 200);
        client.drain();
        weir.wait_reason(reason, 1);
    }
    wait::until("all streams to be given back", || weir.metrics().sum("weir_upstream_idle", &[]) == 1.0);
}
