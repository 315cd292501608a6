//! RFC 9113 5.2, 6.9: windows, both ways.

use std::time::Duration;

use weir_tests::h2::{Frame, Peer, code, get, kind, post, setting};
use weir_tests::wait;

use super::stand::{FRAME_SIZE, LARGE, PROTOCOL, Stand};

const FLOW: &[u32] = &[code::FLOW_CONTROL_ERROR];

/// A connection that gives nothing of its windows back by itself.
fn stingy(stand: &Stand, initial: u32) -> Peer {
    let mut peer = Peer::connect(stand.weir.web());
    peer.manners().windows = false;
    peer.greet(&[(setting::INITIAL_WINDOW_SIZE, initial)]);
    peer
}

/// Waits until `length` octets of a stream's body have come, and sees that no more follow.
#[track_caller]
fn exactly(peer: &mut Peer, stream: u32, length: usize) {
    if peer.message(stream).body.len() < length {
        peer.until(&format!("{length} octets"), |peer, _| peer.message(stream).body.len() >= length);
    }
    peer.ping();
    assert_eq!(peer.message(stream).body.len(), length);
}

#[test]
fn section_6_9_window_updates_of_the_wrong_form() {
    let stand = Stand::new();
    stand.connection_error("an increment of 0 for the connection", PROTOCOL, |peer| {
        peer.send(Frame::window_update(0, 0));
    });
    stand.either_error("an increment of 0 for a stream", PROTOCOL, |peer| {
        let stream = stand.held(peer);
        peer.send(Frame::window_update(stream, 0));
        stream
    });
    for length in [0, 3, 5] {
        stand.connection_error(&format!("WINDOW_UPDATE of {length} octets"), FRAME_SIZE, |peer| {
            peer.write(Frame::new(kind::WINDOW_UPDATE, 0, 0, vec![0; length]).octets());
        });
    }
    stand.allowed("an increment with the reserved bit", |peer| {
        peer.send(Frame::window_update(0, 1 | 1 << 31));
    });
}

#[test]
fn section_6_9_1_windows_beyond_2_31_are_errors() {
    let stand = Stand::new();
    stand.connection_error("the connection's window", FLOW, |peer| {
        peer.send(Frame::window_update(0, (1 << 31) - 1));
    });
    stand.connection_error("the connection's window in steps", FLOW, |peer| {
        peer.send_all([Frame::window_update(0, 1 << 30), Frame::window_update(0, 1 << 30)]);
    });
    stand.either_error("a stream's window", FLOW, |peer| {
        let stream = stand.held(peer);
        peer.send_all([Frame::window_update(stream, (1 << 31) - 1), Frame::window_update(stream, 1)]);
        stream
    });
    stand.connection_error("all windows, by SETTINGS", FLOW, |peer| {
        let stream = stand.held(peer);
        peer.send(Frame::window_update(stream, (1 << 31) - 1 - 65_535));
        peer.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, (1 << 31) - 1)]));
    });
    stand.allowed("the connection's window at its bound", |peer| {
        peer.send(Frame::window_update(0, (1 << 31) - 1 - 65_535));
    });
}

#[test]
fn section_6_9_1_no_more_is_sent_than_a_streams_window() {
    let stand = Stand::new();
    for initial in [1, 100, 16_383, 16_385] {
        let mut peer = stingy(&stand, initial);
        let stream = peer.open(&get("/large"), true);
        exactly(&mut peer, stream, initial as usize);
        peer.send(Frame::window_update(stream, 7));
        exactly(&mut peer, stream, initial as usize + 7);
    }
}

#[test]
fn section_6_9_1_no_more_is_sent_than_the_connections_window() {
    let stand = Stand::new();
    let mut peer = stingy(&stand, 1 << 20);
    let streams = [peer.open(&get("/large"), true), peer.open(&get("/large"), true)];
    let came = |peer: &Peer| streams.iter().map(|stream| peer.message(*stream).body.len()).sum::<usize>();
    peer.until("the window", |peer, _| came(peer) >= 65_535);
    peer.ping();
    assert_eq!(came(&peer), 65_535);
    // Heads and streams without a body need none.
    assert_eq!(peer.get("/").status(), 200);
    peer.send(Frame::window_update(0, 1000));
    peer.until("a thousand more", |peer, _| came(peer) >= 66_535);
    peer.ping();
    assert_eq!(came(&peer), 66_535);
    peer.send(Frame::window_update(0, 1 << 20));
    for stream in streams {
        assert_eq!(peer.response(stream).body.len(), LARGE);
    }
}

#[test]
fn section_6_9_2_open_streams_follow_the_initial_window() {
    let stand = Stand::new();
    let mut peer = stingy(&stand, 10);
    let stream = peer.open(&get("/large"), true);
    exactly(&mut peer, stream, 10);
    peer.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 30)]));
    exactly(&mut peer, stream, 30);
    // 30 are used: with 5 the window is at -25, and 26 more open it by one.
    peer.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 5)]));
    exactly(&mut peer, stream, 30);
    peer.send(Frame::window_update(stream, 25));
    exactly(&mut peer, stream, 30);
    peer.send(Frame::window_update(stream, 1));
    exactly(&mut peer, stream, 31);
    peer.send(Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20)]));
    peer.send(Frame::window_update(0, 1 << 20));
    assert_eq!(peer.response(stream).body.len(), LARGE);
}

#[test]
fn section_6_9_2_a_window_of_0_lets_heads_through_alone() {
    let stand = Stand::new();
    let mut peer = stingy(&stand, 0);
    let stream = peer.open(&get("/large"), true);
    assert_eq!(peer.head(stream).status(), 200);
    exactly(&mut peer, stream, 0);
    let empty = peer.open(&get("/"), true);
    assert!(peer.response(empty).ended, "an empty body needs no window");
    peer.send_all([Frame::window_update(stream, LARGE as u32), Frame::window_update(0, LARGE as u32)]);
    assert_eq!(peer.response(stream).body.len(), LARGE);
}

#[test]
fn section_6_9_1_a_client_that_sends_more_than_its_window_is_stopped() {
    let keys = "[http2]\nstream_window = \"64KiB\"\nconnection_window = \"1MiB\"";
    let stand = Stand::with(|config| config.tables(keys));
    stand.either_error("a stream's window", FLOW, |peer| {
        // Far more than it could give back in between.
        let stream = peer.open(&post("/"), false);
        let body = vec![0; 16_384];
        let _ = peer.try_send((0..100).map(|_| Frame::data(stream, &body, false)));
        stream
    });
}

#[test]
fn section_6_9_1_the_connections_window_binds_the_client_too() {
    let keys = "[http2]\nstream_window = \"64KiB\"\nconnection_window = \"64KiB\"";
    let stand = Stand::with(|config| config.tables(keys));
    stand.connection_error("the connection's window", FLOW, |peer| {
        let body = vec![0; 16_384];
        // Within each stream's window, at once, and far beyond what may have been given back meanwhile.
        let streams: Vec<_> = (0..40).map(|_| peer.open(&post("/"), false)).collect();
        let frames = streams.iter().flat_map(|stream| (0..3).map(|_| Frame::data(*stream, &body, false)));
        let _ = peer.try_send(frames.collect::<Vec<_>>());
    });
}

#[test]
fn section_6_9_what_is_taken_of_the_windows_is_given_back() {
    let keys = "[http2]\nstream_window = \"64KiB\"\nconnection_window = \"64KiB\"";
    let stand = Stand::with(|config| config.tables(keys));
    let mut peer = stand.weir.h2();
    let body: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    for _ in 0..2 {
        let stream = peer.open(&post("/"), false);
        assert!(peer.send_body(stream, &body, true));
        assert!(peer.response(stream).body == body);
    }
}

#[test]
fn section_6_9_padding_is_given_back() {
    let keys = "[http2]\nstream_window = \"64KiB\"\nconnection_window = \"64KiB\"";
    let stand = Stand::with(|config| config.tables(keys));
    let mut peer = stand.weir.h2();
    let stream = peer.open(&post("/"), false);
    for _ in 0..200 {
        let frame = Frame::data(stream, [b'x'; 1000], false).padded(255, &[0; 255]);
        while peer.room(stream) < frame.payload.len() {
            peer.read().expect("a WINDOW_UPDATE");
        }
        peer.send(frame);
    }
    peer.send(Frame::data(stream, [], true));
    assert_eq!(peer.response(stream).body.len(), 200_000);
}

#[test]
fn section_6_9_data_of_streams_that_are_reset_is_given_back_to_the_connection() {
    let keys = "[http2]\nstream_window = \"64KiB\"\nconnection_window = \"64KiB\"";
    let stand = Stand::with(|config| config.tables(keys));
    let mut peer = stand.weir.h2();
    for _ in 0..20 {
        let stream = peer.open(&post("/held"), false);
        assert!(peer.send_body(stream, &vec![0; 30_000], false));
        peer.send(Frame::reset(stream, code::CANCEL));
    }
    let stream = peer.open(&post("/"), false);
    assert!(peer.send_body(stream, &vec![1; 200_000], true), "the connection's window has leaked away");
    assert_eq!(peer.response(stream).body.len(), 200_000);
}

#[test]
fn a_slow_reader_on_one_stream_does_not_slow_another() {
    let stand = Stand::new();
    let mut peer = stingy(&stand, 65_535);
    peer.send(Frame::window_update(0, 1 << 30));
    let slow = peer.open(&get("/large"), true);
    exactly(&mut peer, slow, 65_535);
    for _ in 0..20 {
        let stream = peer.open(&get("/large"), true);
        peer.send(Frame::window_update(stream, LARGE as u32));
        assert_eq!(peer.response(stream).body.len(), LARGE);
    }
    peer.send(Frame::window_update(slow, LARGE as u32));
    assert_eq!(peer.response(slow).body.len(), LARGE);
}

#[test]
fn a_slow_reader_holds_no_more_upstream_than_its_windows() {
    let stand = Stand::new();
    let mut peer = stingy(&stand, 0);
    let before = stand.weir.process().resident_bytes();
    let streams: Vec<u32> = (0..50).map(|_| peer.open(&get("/large"), true)).collect();
    for stream in &streams {
        assert_eq!(peer.head(*stream).status(), 200);
    }
    let grown = || stand.weir.process().resident_bytes().saturating_sub(before);
    let held = !wait::holds_within(Duration::from_secs(1), || grown() > 16 << 20);
    assert!(held, "{} KiB are held for 50 streams that nobody reads", grown() >> 10);
}
