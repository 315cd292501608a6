//! How streams and connections end: cancelled, drained, told to go, cut; and what is recorded of it.

use rustix::process::Signal;
use weir_tests::h2::{Frame, PREFACE, Peer, code, get, post};
use weir_tests::origin::ok;
use weir_tests::{Config, Gate, Origin, wait};

/// An origin that holds its answers until the gate opens.
fn held() -> (Origin, Gate) {
    let gate = Gate::new();
    let shut = gate.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while conn.request().is_some() {
            shut.pass();
            if !conn.send(ok("late")) {
                return;
            }
        }
    });
    (origin, gate)
}

#[test]
fn a_stream_that_its_client_resets_ends_upstream_too_and_is_499() {
    let origin = Origin::scripted(|mut conn, _| {
        conn.request();
        // Until weir lets go of it.
        while conn.take(1).is_some() {}
    });
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let stream = peer.open(&get("/slow"), true);
    origin.wait_requests(1);
    peer.send(Frame::reset(stream, code::CANCEL));
    wait::until("the connection upstream is closed", || origin.open() == 0);
    weir.wait_reason("client_cancelled", 1);
    let line = weir.wait_log("the cancelled request", |line| line["path"] == "/slow");
    assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(499), Some("client_cancelled")));
    peer.ping();
}

#[test]
fn a_connection_that_is_lost_ends_its_requests() {
    let (origin, gate) = held();
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    for _ in 0..3 {
        peer.open(&get("/"), true);
    }
    origin.wait_requests(3);
    peer.reset();
    weir.wait_reason("client_cancelled", 3);
    gate.open();
    wait::until("nothing is active", || weir.metrics().sum("weir_connections_active", &[]) == 0.0);
}

#[test]
fn a_drain_lets_requests_end_and_takes_no_more() {
    let (origin, gate) = held();
    let mut weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let stream = peer.open(&get("/"), true);
    origin.wait_requests(1);
    weir.signal(Signal::TERM);
    peer.until("GOAWAY", |peer, _| peer.went_away().is_some());
    assert_eq!(peer.went_away(), Some((0x7fff_ffff, code::NO_ERROR)), "the first names no stream");
    peer.until("the second GOAWAY", |peer, _| peer.went_away() == Some((stream, code::NO_ERROR)));
    gate.open();
    let answer = peer.response(stream);
    assert_eq!((answer.status(), answer.text().as_str()), (200, "late"));
    peer.expect_end();
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
}

#[test]
fn an_idle_connection_is_told_to_go_when_weir_ends() {
    let origin = Origin::ok("x");
    let mut weir = Config::forwarding(origin.url()).h2c().start();
    let mut idle = weir.h2();
    assert_eq!(idle.get("/").status(), 200);
    weir.signal(Signal::TERM);
    idle.expect_goaway(&[code::NO_ERROR]);
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
}

#[test]
fn what_a_drain_does_not_wait_for_is_cut() {
    let (origin, gate) = held();
    let mut weir = Config::forwarding(origin.url()).h2c().tables("[drain]\ntimeout = \"500ms\"").start();
    let mut peer = weir.h2();
    peer.open(&get("/"), true);
    origin.wait_requests(1);
    weir.signal(Signal::TERM);
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
    gate.open();
    let lines = std::fs::read_to_string(weir.path("access.log")).expect("the access log");
    assert!(lines.contains("shutdown_cut"), "{lines}");
}

#[test]
fn requests_go_on_across_a_reload_and_later_ones_meet_the_new_routes() {
    let (origin, gate) = held();
    let mut weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let before = peer.open(&get("/"), true);
    origin.wait_requests(1);
    weir.reload(|config| config.replace("path_prefix = \"/\"", "path_prefix = \"/only\""));
    assert_eq!(peer.get("/").status(), 404);
    gate.open();
    assert_eq!(peer.response(before).text(), "late");
}

#[test]
fn every_stream_has_a_record_of_its_own() {
    let origin = Origin::echo();
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    for n in 1..=3 {
        let path = format!("/{n}");
        let stream = peer.open(&post(&path), false);
        assert!(peer.send_body(stream, &vec![b'x'; n * 1000], true));
        assert_eq!(peer.response(stream).status(), 200);
    }
    for n in 1..=3_u64 {
        let line = weir.wait_log("the request", |line| line["path"] == format!("/{n}"));
        assert_eq!((line["body_in"].as_u64(), line["body_out"].as_u64()), (Some(n * 1000), Some(n * 1000)));
        assert!(line["bytes_out"].as_u64() > line["body_out"].as_u64(), "{line}");
    }
    assert_eq!(weir.metrics().sum("weir_connections_active", &[]), 1.0);
}

#[test]
fn clients_without_http_2_are_served_on_the_same_port() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).h2c().start();
    assert_eq!(weir.get("/").text(), "x");
    for at in 1..14 {
        let client = weir.client();
        client.write_split(b"PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n", at);
        let mut client = client;
        assert_eq!(client.response().status, 200);
    }
    let mut client = weir.client();
    client.write("PRI * HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response().status, 400);
}

#[test]
fn the_preface_may_come_in_pieces() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).h2c().start();
    for at in 1..PREFACE.len() {
        let mut peer = Peer::connect(weir.web());
        peer.write_split(PREFACE, at);
        peer.send(Frame::settings(&[]));
        assert_eq!(peer.get("/").status(), 200, "cut at {at}");
    }
}
