//! RFC 9113 6.7, 6.8, 7: PING, GOAWAY and error codes.

use weir_tests::h2::{Frame, code, flag, get, kind, post};
use weir_tests::{Ended, wait};

use super::stand::{FRAME_SIZE, PROTOCOL, Stand};

#[test]
fn section_6_7_ping_is_answered_with_its_own_octets() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    for opaque in [[0; 8], [0xff; 8], *b"\x00any\r\n\x80\x7f"] {
        peer.send(Frame::ping(opaque));
        let answer = peer.until("an answer", |_, frame| frame.kind == kind::PING);
        assert_eq!(answer, Frame::pong(opaque));
    }
}

#[test]
fn section_6_7_an_answer_that_nobody_asked_for_has_no_answer() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    peer.send(Frame::pong(*b"unasked!"));
    peer.send(Frame::ping(*b"question"));
    let answer = peer.until("an answer", |_, frame| frame.kind == kind::PING);
    assert_eq!(answer, Frame::pong(*b"question"));
}

#[test]
fn section_6_7_pings_of_the_wrong_form() {
    let stand = Stand::new();
    stand.connection_error("PING on a stream", PROTOCOL, |peer| {
        peer.write(Frame::new(kind::PING, 0, 1, [0; 8]).octets());
    });
    for length in [0, 6, 7, 9, 100] {
        for flags in [0, flag::ACK] {
            stand.connection_error(&format!("PING of {length} octets, flags {flags}"), FRAME_SIZE, |peer| {
                peer.write(Frame::new(kind::PING, flags, 0, vec![0; length]).octets());
            });
        }
    }
}

#[test]
fn section_6_8_goaway_of_the_wrong_form() {
    let stand = Stand::new();
    stand.connection_error("GOAWAY on a stream", PROTOCOL, |peer| {
        peer.write(Frame::new(kind::GOAWAY, 0, 1, [0; 8]).octets());
    });
    for length in [0, 4, 7] {
        stand.connection_error(&format!("GOAWAY of {length} octets"), FRAME_SIZE, |peer| {
            peer.write(Frame::new(kind::GOAWAY, 0, 0, vec![0; length]).octets());
        });
    }
}

#[test]
fn section_6_8_streams_that_are_open_at_a_goaway_are_finished() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    let (waiting, sending) = (stand.held(&mut peer), peer.open(&post("/"), false));
    let debug = [Frame::goaway(0, code::NO_ERROR).payload, b"debug".to_vec()].concat();
    peer.send(Frame::new(kind::GOAWAY, 0, 0, debug));
    peer.send(Frame::data(sending, b"late", true));
    assert_eq!(peer.response(sending).text(), "late");
    stand.gate.open();
    assert_eq!(peer.response(waiting).status(), 200);
    assert_eq!(peer.expect_end(), Ended::Closed, "nothing more can come on this connection");
}

#[test]
fn section_6_8_a_goaway_on_an_idle_connection_ends_it() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    assert_eq!(peer.get("/").status(), 200);
    peer.send(Frame::goaway(0, code::NO_ERROR));
    assert_eq!(peer.expect_end(), Ended::Closed);
}

#[test]
fn section_7_unknown_error_codes_mean_nothing_special() {
    let stand = Stand::new();
    stand.allowed("RST_STREAM with an unknown code", |peer| {
        let stream = stand.held(peer);
        peer.send(Frame::reset(stream, 0xff));
    });
    let mut peer = stand.weir.h2();
    let stream = peer.open(&post("/"), false);
    peer.send(Frame::goaway(0, 0xff));
    peer.send(Frame::data(stream, b"x", true));
    assert_eq!(peer.response(stream).text(), "x");
}

#[test]
fn section_5_4_1_a_client_that_closes_or_resets_cancels_its_streams() {
    for reset in [false, true] {
        let stand = Stand::new();
        let mut peer = stand.weir.h2();
        for _ in 0..3 {
            stand.held(&mut peer);
        }
        if reset {
            peer.reset();
        } else {
            drop(peer);
        }
        wait::until("all three are cancelled", || stand.weir.reason("client_cancelled") == 3);
        wait::until("the connection is forgotten", || stand.weir.metrics().sum("weir_connections_active", &[]) == 0.0);
        stand.serves("a client that went");
    }
}

#[test]
fn section_5_4_1_a_client_that_half_closes_still_gets_its_answers() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    let stream = peer.open(&get("/large"), true);
    peer.head(stream);
    peer.pipe().half_close().expect("FIN");
    peer.manners().windows = false;
    // What the windows hold may still come; then the connection ends and nothing hangs.
    while peer.read().is_ok() {}
    wait::until("the connection is forgotten", || stand.weir.metrics().sum("weir_connections_active", &[]) == 0.0);
}
