//! RFC 9113 6.5: SETTINGS, what they may say, and that they are obeyed.

use weir_tests::h2::{Frame, code, flag, get, kind, setting};

use super::stand::{FRAME_SIZE, LARGE, PROTOCOL, Stand};

const FLOW: &[u32] = &[code::FLOW_CONTROL_ERROR, code::PROTOCOL_ERROR];

#[test]
fn section_6_5_settings_of_the_wrong_form() {
    let stand = Stand::new();
    stand.connection_error("an acknowledgement with settings", FRAME_SIZE, |peer| {
        peer.send(Frame::settings_ack());
        peer.write(Frame::settings(&[(1, 1)]).with(flag::ACK).octets());
    });
    stand.connection_error("SETTINGS on a stream", PROTOCOL, |peer| {
        peer.write(Frame::new(kind::SETTINGS, 0, 1, [0, 3, 0, 0, 0, 100]).octets());
    });
    for length in [1, 5, 7, 13] {
        stand.connection_error(&format!("SETTINGS of {length} octets"), FRAME_SIZE, |peer| {
            peer.write(Frame::new(kind::SETTINGS, 0, 0, vec![0; length]).octets());
        });
    }
}

#[test]
fn section_6_5_2_values_that_no_setting_may_have() {
    let stand = Stand::new();
    for (what, id, value, codes) in [
        ("ENABLE_PUSH 2", setting::ENABLE_PUSH, 2, PROTOCOL),
        ("INITIAL_WINDOW_SIZE 2^31", setting::INITIAL_WINDOW_SIZE, 1 << 31, FLOW),
        ("INITIAL_WINDOW_SIZE 2^32-1", setting::INITIAL_WINDOW_SIZE, u32::MAX, FLOW),
        ("MAX_FRAME_SIZE 2^14-1", setting::MAX_FRAME_SIZE, (1 << 14) - 1, PROTOCOL),
        ("MAX_FRAME_SIZE 2^24", setting::MAX_FRAME_SIZE, 1 << 24, PROTOCOL),
        ("MAX_FRAME_SIZE 0", setting::MAX_FRAME_SIZE, 0, PROTOCOL),
        ("ENABLE_CONNECT_PROTOCOL 2", setting::ENABLE_CONNECT_PROTOCOL, 2, PROTOCOL),
    ] {
        stand.connection_error(what, codes, |peer| peer.write(Frame::settings(&[(id, value)]).octets()));
    }
}

#[test]
fn section_6_5_2_values_at_their_bounds() {
    let stand = Stand::new();
    for settings in [
        &[(setting::ENABLE_PUSH, 0)][..],
        &[(setting::ENABLE_PUSH, 1)],
        &[(setting::INITIAL_WINDOW_SIZE, (1 << 31) - 1)],
        &[(setting::INITIAL_WINDOW_SIZE, 0), (setting::INITIAL_WINDOW_SIZE, 65_535)],
        &[(setting::MAX_FRAME_SIZE, 1 << 14)],
        &[(setting::MAX_FRAME_SIZE, (1 << 24) - 1)],
        &[(setting::HEADER_TABLE_SIZE, 0)],
        &[(setting::HEADER_TABLE_SIZE, u32::MAX)],
        &[(setting::MAX_CONCURRENT_STREAMS, 0)],
        &[(setting::MAX_HEADER_LIST_SIZE, u32::MAX)],
    ] {
        stand.allowed(&format!("{settings:?}"), |peer| peer.send(Frame::settings(settings)));
    }
}

#[test]
fn section_6_5_3_every_settings_frame_is_acknowledged_in_order() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    let before = peer.settings_acks();
    for size in [4096, 0, 100] {
        peer.send(Frame::settings(&[(setting::HEADER_TABLE_SIZE, size)]));
    }
    peer.until("three acknowledgements", |peer, _| peer.settings_acks() == before + 3);
}

#[test]
fn section_6_5_3_of_a_setting_given_twice_the_last_value_holds() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    peer.manners().windows = false;
    let twice = [(setting::INITIAL_WINDOW_SIZE, 100), (setting::INITIAL_WINDOW_SIZE, 1)];
    peer.send(Frame::settings(&twice));
    peer.ping();
    let stream = peer.open(&get("/large"), true);
    peer.until("the first octet", |peer, _| peer.message(stream).body.len() == 1);
    peer.ping();
    assert_eq!(peer.message(stream).body.len(), 1, "one octet is what the window allows");
}

#[test]
fn section_6_5_2_the_smallest_header_table_is_obeyed() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    assert_eq!(peer.get("/").status(), 200);
    // From its acknowledgement on, the decoder takes no block that uses a table, nor one without the update.
    peer.send(Frame::settings(&[(setting::HEADER_TABLE_SIZE, 0)]));
    peer.ping();
    for _ in 0..3 {
        assert_eq!(peer.get("/").status(), 200);
    }
    peer.send(Frame::settings(&[(setting::HEADER_TABLE_SIZE, 4096)]));
    peer.ping();
    for _ in 0..3 {
        assert_eq!(peer.get("/").status(), 200);
    }
}

#[test]
fn section_6_5_2_frames_are_no_larger_than_asked_for() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    // The harness refuses frames beyond what was announced last.
    peer.send(Frame::settings(&[(setting::MAX_FRAME_SIZE, 1 << 20), (setting::INITIAL_WINDOW_SIZE, 1 << 20)]));
    peer.ping();
    assert_eq!(peer.get("/large").body.len(), LARGE);
    peer.send(Frame::settings(&[(setting::MAX_FRAME_SIZE, 1 << 14)]));
    peer.ping();
    assert_eq!(peer.get("/large").body.len(), LARGE);
}

#[test]
fn section_6_5_2_push_is_not_used_whoever_allows_it() {
    let stand = Stand::new();
    let mut peer = stand.weir.h2();
    peer.send(Frame::settings(&[(setting::ENABLE_PUSH, 1)]));
    // A PUSH_PROMISE breaks off the reading.
    assert_eq!(peer.get("/").status(), 200);
}
