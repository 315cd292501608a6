//! Attacks by waiting: every phase of a connection and of a stream has its clock.

use std::time::{Duration, Instant};

use weir_tests::h2::{Frame, PREFACE, Peer, code, flag, get, hpack, post, setting};
use weir_tests::wait;

use super::attack::Target;

/// How long something took, in multiples of what it may.
#[track_caller]
fn within(start: Instant, least: Duration, most: Duration) {
    let took = start.elapsed();
    assert!(took >= least && took < most, "{took:?} is not within {least:?} and {most:?}");
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_preface_that_does_not_come_ends_the_connection() {
    let target = Target::new("[timeouts]\nhead = \"1s\"");
    let settled = [PREFACE, &Frame::settings(&[]).octets()].concat();
    for said in [&b""[..], &PREFACE[..3], &PREFACE[..20], PREFACE, &settled] {
        let start = Instant::now();
        let mut client = target.weir.client();
        client.write(said);
        client.drain();
        within(start, SECOND / 2, 5 * SECOND);
    }
}

#[test]
fn a_head_that_does_not_end_is_cut_off() {
    let target = Target::new("[timeouts]\nhead = \"1s\"");
    let mut peer = target.weir.h2();
    let start = Instant::now();
    let block = hpack::block(&get("/"));
    peer.send(Frame::headers(1, &block[..2], true).without(flag::END_HEADERS));
    while peer.try_until(|_, _| false).is_ok() {}
    within(start, SECOND / 2, 5 * SECOND);
    target.weir.wait_reason("request_header_timeout", 1);
    target.serves();
}

#[test]
fn a_head_that_drips_is_not_given_more_time() {
    let target = Target::new("[timeouts]\nhead = \"2s\"");
    let peer = target.weir.h2();
    let start = Instant::now();
    let frame = Frame::headers(1, hpack::block(&[get("/"), vec![("x-long", &"v".repeat(200))]].concat()), true);
    // An octet of the frame each 50 ms: as a whole it would take ten seconds.
    let mut octets = frame.octets().into_iter();
    wait::until("the connection ends", || {
        std::thread::sleep(Duration::from_millis(50));
        peer.try_write(&[octets.next().unwrap_or(0)]).is_err()
    });
    within(start, SECOND, 6 * SECOND);
}

#[test]
fn a_connection_without_a_stream_is_ended_after_keepalive() {
    let target = Target::new("[timeouts]\nkeepalive = \"1s\"");
    let mut peer = target.weir.h2();
    assert_eq!(peer.get("/").status(), 200);
    let start = Instant::now();
    let last = peer.expect_goaway(&[code::NO_ERROR]);
    within(start, SECOND / 2, 5 * SECOND);
    assert_eq!(last, 1);
}

#[test]
fn pings_do_not_keep_an_idle_connection() {
    let target = Target::new("[timeouts]\nkeepalive = \"1s\"");
    let mut peer = target.weir.h2();
    assert_eq!(peer.get("/").status(), 200);
    let start = Instant::now();
    while peer.try_send([Frame::ping([0; 8])]).is_ok() && peer.read().is_ok() {
        assert!(start.elapsed() < 6 * SECOND, "PINGs keep it alive");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(peer.went_away().map(|(_, code)| code), Some(code::NO_ERROR));
}

#[test]
fn an_open_stream_keeps_the_connection() {
    let target = Target::new("[timeouts]\nkeepalive = \"500ms\"");
    let mut peer = target.weir.h2();
    let stream = peer.open(&get("/held"), true);
    // What weir says by itself at the beginning has come.
    peer.ping();
    assert!(peer.silent_for(2 * SECOND), "{:?}", peer.seen());
    target.gate.open();
    assert_eq!(peer.response(stream).status(), 200);
}

#[test]
fn a_body_that_does_not_come_is_408() {
    let target = Target::new("[timeouts]\nbody = \"1s\"");
    let mut peer = target.weir.h2();
    let (silent, start) = (peer.open(&post("/"), false), Instant::now());
    peer.send(Frame::data(silent, b"a little", false));
    assert_eq!(peer.response(silent).status(), 408);
    within(start, SECOND / 2, 5 * SECOND);
    target.weir.wait_reason("request_body_timeout", 1);
    assert_eq!(peer.get("/").status(), 200, "the other streams are not its business");
}

#[test]
fn a_window_that_stays_shut_ends_the_stream_alone() {
    let target = Target::new("[timeouts]\nsend = \"1s\"");
    let mut peer = Peer::connect(target.weir.web());
    peer.greet(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    let (stalled, start) = (peer.open(&get("/large"), true), Instant::now());
    assert_eq!(peer.head(stalled).status(), 200);
    peer.until("a reset", |peer, _| peer.message(stalled).reset.is_some());
    within(start, SECOND / 2, 4 * SECOND);
    target.weir.wait_reason("client_too_slow", 1);
    peer.ping();
    let other = peer.open(&get("/"), true);
    peer.send(Frame::window_update(other, 100));
    assert_eq!(peer.response(other).status(), 200);
}

#[test]
fn a_window_that_opens_by_an_octet_a_time_is_no_progress() {
    let target = Target::new("[timeouts]\nsend = \"1s\"");
    let mut peer = Peer::connect(target.weir.web());
    peer.greet(&[(setting::INITIAL_WINDOW_SIZE, 0)]);
    peer.patience(Duration::from_millis(100));
    let (stalled, start) = (peer.open(&get("/large"), true), Instant::now());
    // Within twice `send`.
    while peer.message(stalled).reset.is_none() {
        assert!(start.elapsed() < 4 * SECOND, "the drip goes on");
        let _ = peer.try_send([Frame::window_update(stalled, 1)]);
        let _ = peer.try_until(|_, _| false);
    }
    target.weir.wait_reason("client_too_slow", 1);
}

#[test]
fn a_client_that_reads_nothing_is_let_go() {
    let target = Target::new("[timeouts]\nsend = \"1s\"");
    let mut peer = target.weir.h2();
    peer.send(Frame::window_update(0, 1 << 30));
    peer.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 30)]));
    for _ in 0..5 {
        peer.open(&get("/large"), true);
    }
    // What the sockets hold may be whole responses; the rest is given up, and the connection with it.
    wait::until("streams are given up", || target.weir.reason("client_too_slow") > 0);
    wait::until("it is let go", || target.weir.metrics().sum("weir_connections_active", &[]) == 0.0);
    target.serves();
}

#[test]
fn a_request_that_takes_too_long_is_504() {
    let target = Target::new("[timeouts]\nrequest = \"1s\"");
    let mut peer = target.weir.h2();
    let stream = peer.open(&get("/held"), true);
    assert_eq!(peer.response(stream).status(), 504);
    target.weir.wait_reason("request_timeout", 1);
    assert_eq!(peer.get("/").status(), 200);
}

#[test]
fn a_connection_is_ended_after_its_last_request() {
    let target = Target::new("[limits]\nrequests_per_connection = 3");
    let mut peer = target.weir.h2();
    let streams: Vec<_> = (0..3).map(|_| peer.open(&get("/"), true)).collect();
    for stream in streams {
        assert_eq!(peer.response(stream).status(), 200);
    }
    assert_eq!(peer.expect_goaway(&[code::NO_ERROR]), 5);
}
