//! What gRPC asks of a proxy: directions that live until each ends, deadlines of the client, errors that are no pages.

use std::time::{Duration, Instant};

use weir_tests::h2::{Frame, post};
use weir_tests::origin::ok;
use weir_tests::{Config, Origin, wait};

fn call(path: &str) -> Vec<(&str, &str)> {
    [post(path), vec![("content-type", "application/grpc"), ("te", "trailers")]].concat()
}

/// A service that says each piece of the call again as it comes, and its status in the trailers.
fn service() -> Origin {
    Origin::scripted(|mut conn, _| {
        if conn.request_head().is_none() {
            return;
        }
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n");
        // A chunk's size line, five octets, the end of the line.
        while let Some(size) = conn.take(3) {
            if size.starts_with(b"0") {
                break;
            }
            let Some(piece) = conn.take(7) else { return };
            conn.send([&size[..], &piece[..]].concat());
        }
        conn.send("0\r\ngrpc-status: 0\r\n\r\n");
    })
}

#[test]
fn both_directions_live_until_each_ends() {
    let origin = service();
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let stream = peer.open(&call("/s/m"), false);
    assert_eq!(peer.head(stream).status(), 200, "before an octet of the body");
    for round in 1..=3 {
        peer.send(Frame::data(stream, b"hello", false));
        peer.until("the echo", |peer, _| peer.message(stream).body.len() == 5 * round);
    }
    peer.send(Frame::data(stream, [], true));
    let answer = peer.response(stream);
    assert_eq!((answer.text().as_str(), answer.trailers.first("grpc-status")), ("hellohellohello", Some("0")));
}

#[test]
fn silence_is_bounded_as_in_a_tunnel() {
    let origin = service();
    let times = "[timeouts]\nbody = \"300ms\"\nread = \"300ms\"\ntunnel = \"1500ms\"";
    let weir = Config::forwarding(origin.url()).h2c().tables(times).start();
    let mut peer = weir.h2();
    let stream = peer.open(&call("/s/m"), false);
    assert_eq!(peer.head(stream).status(), 200);
    assert!(peer.silent_for(Duration::from_millis(800)), "{:?}", peer.seen());
    peer.send(Frame::data(stream, b"hello", false));
    peer.until("the echo", |peer, _| peer.message(stream).body.len() == 5);
    let start = Instant::now();
    peer.until("the end of it", |peer, _| peer.message(stream).reset.is_some());
    assert!(start.elapsed() > Duration::from_millis(1000), "{:?}", start.elapsed());
    weir.wait_reason("tunnel_idle", 1);
}

#[test]
fn errors_are_trailers_alone() {
    let weir = Config::new().route(1, "path_prefix = \"/dead\"", &["http://127.0.0.1:1"]).h2c().start();
    let mut peer = weir.h2();
    for (path, status, message) in [("/none", "12", "no_route"), ("/dead", "14", "upstream_connect_refused")] {
        let stream = peer.open(&call(path), true);
        let answer = peer.response(stream);
        let field = |name| answer.fields.first(name).map(str::to_owned);
        assert_eq!(answer.status(), 200);
        assert_eq!(field("grpc-status").as_deref(), Some(status), "{answer:?}");
        assert_eq!(field("grpc-message").as_deref(), Some(message));
        assert_eq!(field("content-type").as_deref(), Some("application/grpc"));
        assert!(answer.body.is_empty() && answer.trailers.0.is_empty() && field("content-length").is_none());
        weir.wait_reason(message, 1);
    }
    let plain = peer.open(&post("/none"), true);
    assert_eq!(peer.response(plain).status(), 404, "who does not speak gRPC gets a page");
}

#[test]
fn the_deadline_of_the_client_holds() {
    let origin = Origin::scripted(|mut conn, _| {
        while conn.request().is_some() {
            if !conn.silent_for(wait::SOON) {
                return;
            }
        }
    });
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let start = Instant::now();
    let stream = peer.open(&[call("/s/m"), vec![("grpc-timeout", "300m")]].concat(), true);
    let answer = peer.response(stream);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!((answer.status(), answer.fields.first("grpc-status")), (200, Some("4")));
    weir.wait_reason("request_timeout", 1);
    assert_eq!(origin.last().fields.first("grpc-timeout"), Some("300m"));
}

#[test]
fn te_trailers_goes_along() {
    let origin = Origin::answering(ok("x"));
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let stream = peer.open(&call("/s/m"), true);
    assert_eq!(peer.response(stream).status(), 200);
    assert_eq!(origin.last().fields.first("te"), Some("trailers"));
}
