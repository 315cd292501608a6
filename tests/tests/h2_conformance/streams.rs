//! RFC 9113 5.1: what a stream takes in each of its states, how streams are numbered, and how many there may be.

use weir_tests::h2::{Frame, Peer, code, get, hpack, post};

use super::stand::{CLOSED, PROTOCOL, Stand};

fn block() -> Vec<u8> {
    hpack::block(&get("/"))
}

#[test]
fn section_5_1_idle_streams_take_headers_and_priority_alone() {
    let stand = Stand::new();
    for frame in [
        Frame::data(1, b"x", true),
        Frame::reset(1, code::CANCEL),
        Frame::window_update(1, 100),
        Frame::continuation(1, block(), true),
    ] {
        stand.connection_error(&format!("idle: {frame:?}"), PROTOCOL, |peer| peer.send(frame));
    }
    stand.allowed("idle: PRIORITY", |peer| peer.send(Frame::priority(1, false, 0, 1)));
}

#[test]
fn section_5_1_half_closed_streams_take_no_more_of_a_request() {
    let stand = Stand::new();
    for (what, frame) in [
        ("DATA", Frame::data(1, b"x", true)),
        ("empty DATA", Frame::data(1, [], true)),
        ("HEADERS", Frame::headers(1, block(), true)),
        ("trailers", Frame::headers(1, hpack::block(&[("t", "v")]), true)),
    ] {
        stand.either_error(&format!("half-closed: {what}"), CLOSED, |peer| {
            let stream = stand.held(peer);
            peer.send(frame);
            stream
        });
    }
    stand.allowed("half-closed: PRIORITY, WINDOW_UPDATE", |peer| {
        let stream = stand.held(peer);
        peer.send(Frame::priority(stream, false, 0, 1));
        peer.send(Frame::window_update(stream, 1));
    });
}

#[test]
fn section_5_1_streams_that_have_ended_take_nothing() {
    let stand = Stand::new();
    let after = |what: &str, end: &dyn Fn(&mut Peer) -> u32| {
        for (name, frame) in [
            ("DATA", Frame::data(1, b"x", true)),
            ("HEADERS", Frame::headers(1, block(), true)),
            ("CONTINUATION", Frame::continuation(1, block(), true)),
        ] {
            stand.either_error(&format!("{what}: {name}"), CLOSED, |peer| {
                let stream = end(peer);
                assert_eq!(stream, 1);
                // What has ended in order must be told apart from what ends now.
                peer.send(frame.clone());
                stream
            });
        }
    };
    after("after both ends", &|peer| {
        let stream = peer.open(&get("/"), true);
        assert!(peer.response(stream).ended);
        stream
    });
    after("after the client's reset", &|peer| {
        let stream = peer.open(&post("/"), false);
        peer.send(Frame::reset(stream, code::CANCEL));
        peer.ping();
        stream
    });
}

#[test]
fn section_5_1_frames_on_their_way_to_a_reset_stream_are_ignored() {
    let stand = Stand::new();
    stand.allowed("DATA, HEADERS and more after weir's RST_STREAM", |peer| {
        let stream = peer.open(&[post("/"), vec![("connection", "close")]].concat(), false);
        // All of it leaves before the reset can have come back.
        peer.send(Frame::data(stream, b"on its way", false));
        peer.send(Frame::window_update(stream, 1));
        peer.send(Frame::headers(stream, hpack::block(&[("t", "v")]), true));
        peer.expect_reset(stream, PROTOCOL);
    });
    stand.allowed("a reset that meets weir's", |peer| {
        let stream = peer.open(&[post("/"), vec![("connection", "close")]].concat(), false);
        peer.send(Frame::reset(stream, code::CANCEL));
    });
}

#[test]
fn section_5_1_what_streams_that_have_ended_must_still_bear() {
    let stand = Stand::new();
    stand.allowed("WINDOW_UPDATE, RST_STREAM, PRIORITY after the end", |peer| {
        let stream = peer.open(&get("/"), true);
        assert!(peer.response(stream).ended);
        peer.send(Frame::window_update(stream, 10));
        peer.send(Frame::priority(stream, false, 0, 1));
        peer.send(Frame::reset(stream, code::NO_ERROR));
        peer.send(Frame::window_update(stream, 10));
    });
}

#[test]
fn section_5_1_1_clients_open_odd_streams_in_rising_order() {
    let stand = Stand::new();
    stand.connection_error("an even stream", PROTOCOL, |peer| peer.send(Frame::headers(2, block(), true)));
    stand.either_error("a lower stream", CLOSED, |peer| {
        peer.send(Frame::headers(5, block(), true));
        peer.response(5);
        peer.send(Frame::headers(3, block(), true));
        3
    });
    stand.allowed("streams left out", |peer| {
        for stream in [7, 9, 1001] {
            peer.send(Frame::headers(stream, block(), true));
            assert_eq!(peer.response(stream).status(), 200);
        }
        while peer.next_stream() < 1001 {}
    });
    let mut peer = stand.weir.h2();
    peer.send(Frame::headers((1 << 31) - 1, block(), true));
    assert_eq!(peer.response((1 << 31) - 1).status(), 200, "the last stream of all");
}

#[test]
fn section_5_1_2_streams_beyond_the_limit_are_refused() {
    let stand = Stand::with(|config| config.tables("[http2]\nstreams_max = 3"));
    let mut peer = stand.weir.h2();
    let held: Vec<u32> = (0..3).map(|_| stand.held(&mut peer)).collect();
    for _ in 0..5 {
        let beyond = peer.open(&get("/beyond"), true);
        peer.expect_reset(beyond, &[code::REFUSED_STREAM]);
    }
    stand.gate.open();
    for stream in held {
        assert_eq!(peer.response(stream).status(), 200);
    }
    assert_eq!(peer.get("/room").status(), 200);
    assert!(stand.origin.requests().iter().all(|request| request.target != "/beyond"));
}

#[test]
fn section_5_1_2_the_limit_holds_for_streams_that_wait_for_their_body_too() {
    let stand = Stand::with(|config| config.tables("[http2]\nstreams_max = 2"));
    let mut peer = stand.weir.h2();
    let waiting = [peer.open(&post("/"), false), peer.open(&post("/"), false)];
    let beyond = peer.open(&get("/beyond"), true);
    peer.expect_reset(beyond, &[code::REFUSED_STREAM]);
    for stream in waiting {
        peer.send(Frame::data(stream, b"late", true));
        assert_eq!(peer.response(stream).text(), "late");
    }
}

#[test]
fn section_5_4_1_goaway_names_the_last_stream_that_was_taken() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    assert_eq!(peer.get("/").status(), 200);
    assert_eq!(peer.get("/").status(), 200);
    peer.send(Frame::ping([0; 8]).padded(0, &[]));
    let last = peer.expect_goaway(super::stand::FRAME_SIZE);
    assert_eq!(last, 3);
}

#[test]
fn section_5_2_many_streams_at_once_are_all_answered() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    let streams: Vec<u32> = (0..100).map(|n| peer.open(&get(&format!("/{n}")), true)).collect();
    for stream in streams {
        assert_eq!(peer.response(stream).status(), 200);
    }
    assert_eq!(stand.weir.reason("ok"), 100);
}
