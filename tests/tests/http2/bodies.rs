//! Bodies both ways: whole, large, with and without a length, no faster than the other side takes them.

use std::time::Duration;

use weir_tests::h2::{Frame, Peer, get, hpack, post, setting};
use weir_tests::program::succeed;
use weir_tests::{Config, Gate, Origin, Weir, wait};

const LIMIT: Duration = Duration::from_secs(30);

fn echo() -> (Origin, Weir) {
    let origin = Origin::echo();
    let weir = Config::forwarding(origin.url()).h2c().start();
    (origin, weir)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 / 7) as u8).collect()
}

#[test]
fn other_peoples_clients_are_served() {
    let (origin, weir) = echo();
    let url = weir.url("/a?b=c");
    let said = succeed("curl", &["-sS", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", &url], LIMIT);
    assert_eq!(said, "2 200");
    let said = succeed("curl", &["-sS", "--http2-prior-knowledge", "-d", "some body", &url], LIMIT);
    assert_eq!(said, "some body");
    assert_eq!(origin.last().fields.first("via"), Some("2.0 weir"));
    let said = succeed("nghttp", &["-nv", &url], LIMIT);
    assert!(said.contains(":status: 200"), "{said}");
    let said = succeed("h2load", &["-n", "500", "-c", "2", "-m", "10", &url], LIMIT);
    assert!(said.contains("500 succeeded, 0 failed"), "{said}");
    assert_eq!(origin.malformed(), [""; 0]);
    weir.wait_log("a line of HTTP/2", |line| line["http_version"] == "2" && line["status"] == 200);
}

#[test]
fn large_bodies_go_both_ways_whole() {
    let (origin, weir) = echo();
    let body = pattern(5 << 20);
    let mut peer = weir.h2();
    for length in [None, Some(body.len().to_string())] {
        let fields = match &length {
            Some(length) => [post("/"), vec![("content-length", length.as_str())]].concat(),
            None => post("/"),
        };
        let stream = peer.open(&fields, false);
        assert!(peer.send_body(stream, &body, true));
        let answer = peer.response(stream);
        assert_eq!(answer.status(), 200);
        assert!(answer.body == body, "{} of {} octets came back", answer.body.len(), body.len());
        assert_eq!(origin.last().fields.names("transfer-encoding", "chunked"), length.is_none());
    }
    let line = weir.wait_log("the upload", |line| line["body_in"] == body.len() as u64);
    assert_eq!(line["body_out"], body.len() as u64);
}

#[test]
fn streams_share_a_connection_without_mixing() {
    let (_origin, weir) = echo();
    let mut peer = weir.h2();
    let bodies: Vec<Vec<u8>> = (1..=20).map(|n| pattern(n * 10_007)).collect();
    let streams: Vec<u32> = bodies.iter().map(|_| peer.open(&post("/"), false)).collect();
    for (stream, body) in streams.iter().zip(&bodies) {
        assert!(peer.send_body(*stream, body, true));
    }
    for (stream, body) in streams.iter().zip(&bodies) {
        let answer = peer.response(*stream);
        assert!(answer.status() == 200 && answer.body == *body, "stream {stream}");
    }
}

#[test]
fn an_origin_that_reads_nothing_holds_its_client_back() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        if let Some(mut request) = conn.request_head() {
            held.pass();
            conn.body(&mut request);
            conn.send(weir_tests::origin::ok("taken"));
        }
    });
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let stream = peer.open(&post("/"), false);
    let chunk = vec![b'x'; 16_000];
    let mut sent = 0;
    peer.patience(Duration::from_millis(500));
    // Until no window is left, and none comes.
    loop {
        if peer.room(stream) >= chunk.len() {
            peer.send(Frame::data(stream, &chunk, false));
            sent += chunk.len();
            assert!(sent < 32 << 20, "nothing holds the client back");
        } else if peer.read().is_err() {
            break;
        }
    }
    gate.open();
    peer.patience(wait::SOON);
    assert!(peer.send_body(stream, b"end", true));
    assert_eq!(peer.response(stream).text(), "taken");
}

#[test]
fn a_client_that_opens_its_window_late_gets_the_whole() {
    let body = pattern(1 << 20);
    let copy = body.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while conn.request().is_some() {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", copy.len());
            conn.send([head.as_bytes(), &copy].concat());
        }
    });
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = Peer::connect(weir.web());
    peer.greet(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let stream = peer.open(&get("/"), true);
    assert_eq!(peer.head(stream).status(), 200);
    assert!(peer.silent_for(Duration::from_millis(300)), "{:?}", peer.seen());
    for _ in 0..70 {
        peer.send(Frame::window_update(stream, 16_384));
    }
    assert!(peer.response(stream).body == body);
}

#[test]
fn a_body_is_asked_for_where_its_client_waits() {
    let (origin, weir) = echo();
    let mut peer = weir.h2();
    let stream = peer.open(&[post("/"), vec![("expect", "100-continue")]].concat(), false);
    peer.until("the interim head", |peer, _| !peer.message(stream).interim.is_empty());
    assert_eq!(peer.message(stream).interim[0].first(":status"), Some("100"));
    assert!(peer.send_body(stream, b"after all", true));
    assert_eq!(peer.response(stream).text(), "after all");
    assert_eq!(origin.last().fields.first("expect"), Some("100-continue"));
}

#[test]
fn a_body_beyond_the_limit_is_413_and_ends_its_stream_alone() {
    let origin = Origin::echo();
    let weir = Config::forwarding(origin.url()).h2c().tables("[limits]\nbody_max = \"1KiB\"").start();
    let mut peer = weir.h2();
    let declared = peer.open(&[post("/"), vec![("content-length", "2000")]].concat(), false);
    assert_eq!(peer.response(declared).status(), 413);
    let counted = peer.open(&post("/"), false);
    let _ = peer.send_body(counted, &[b'x'; 2000], true);
    assert_eq!(peer.response(counted).status(), 413);
    weir.wait_reason("body_too_large", 2);
    assert_eq!(peer.get("/").status(), 200);
}

#[test]
fn trailers_go_upstream_and_come_back() {
    let origin = Origin::scripted(|mut conn, _| {
        while conn.request().is_some() {
            conn.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 3\r\nHost: no\r\n\r\n",
            );
        }
    });
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let stream = peer.open(&post("/"), false);
    peer.send(Frame::data(stream, b"abc", false));
    peer.send(Frame::headers(stream, hpack::block(&[("x-check", "7"), ("content-length", "9")]), true));
    let answer = peer.response(stream);
    assert_eq!((answer.text().as_str(), answer.trailers.first("x-sum")), ("ab", Some("3")));
    assert_eq!(answer.trailers.first("host"), None, "it may not stand there");
    let seen = origin.last();
    assert_eq!((seen.trailers.first("x-check"), seen.trailers.first("content-length")), (Some("7"), None));
}
