//! What the meter charges and notes.

use std::time::Duration;

use super::*;

const BUDGET: u64 = 1000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn start() -> Instant {
    Instant::from_nanos(1_000_000_000)
}

/// A meter whose client has said hello.
fn meter() -> Meter {
    let mut meter = Meter::new(BUDGET, 100, start());
    meter.received(&[b'x'; PREFACE], start());
    meter.received(&frame(4, 0, 0, &[]), start());
    meter
}

/// Points that these octets of the client cost.
fn cost(meter: &mut Meter, octets: &[u8]) -> u64 {
    let before = meter.left;
    meter.received(octets, start());
    (before - meter.left) / POINT
}

fn headers(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, &[0x82])
}

fn reset(stream: u32, code: u8) -> Vec<u8> {
    frame(3, 0, stream, &[0, 0, 0, code])
}

#[test]
fn each_attack_has_its_price() {
    let mut meter = meter();
    for (what, octets, points) in [
        ("SETTINGS", frame(4, 0, 0, &[]), 10),
        ("an acknowledgement", frame(4, 1, 0, &[]), 0),
        ("PING", frame(6, 0, 0, &[0; 8]), 10),
        ("an answer that nobody asked for", frame(6, 1, 0, &[0; 8]), 1),
        ("PRIORITY", frame(2, 0, 9, &[0; 5]), 1),
        ("an unknown frame", frame(99, 0, 0, b"x"), 1),
        ("empty DATA", frame(0, 0, 1, &[]), 10),
        ("DATA of padding", frame(0, 8, 1, &[1, 0]), 10),
        ("empty DATA that ends", frame(0, 1, 1, &[]), 0),
        ("DATA", frame(0, 0, 1, b"x"), 0),
        ("a block in parts", [frame(1, 0, 11, &[0x82]), frame(9, 0, 11, &[]), frame(9, 4, 11, &[])].concat(), 5),
        ("a reset at once", [headers(13), reset(13, 8)].concat(), 10),
        ("a reset of what is not open", reset(13, 8), 0),
    ] {
        assert_eq!(cost(&mut meter, &octets), points, "{what}");
    }
    assert_eq!(meter.take_noted(), []);
}

#[test]
fn a_reset_after_our_head_costs_nothing() {
    let mut meter = meter();
    meter.received(&headers(1), start());
    meter.accepted(1);
    meter.sent(&frame(1, 4, 1, &[0x88]));
    assert_eq!(cost(&mut meter, &reset(1, 8)), 0);
}

#[test]
fn a_ping_is_free_after_what_we_said() {
    let mut meter = meter();
    meter.sent(&frame(0, 0, 1, b"x"));
    assert_eq!(cost(&mut meter, &frame(6, 0, 0, &[0; 8])), 0);
    assert_eq!(cost(&mut meter, &frame(6, 0, 0, &[0; 8])), 10);
}

#[test]
fn windows_may_be_updated_ten_times_for_each_frame_of_ours() {
    let mut meter = meter();
    let update = frame(8, 0, 0, &[0, 0, 0, 1]);
    assert_eq!(cost(&mut meter, &update.repeat(10)), 0);
    assert_eq!(cost(&mut meter, &update.repeat(3)), 3);
    meter.sent(&frame(0, 0, 1, b"x"));
    assert_eq!(cost(&mut meter, &update.repeat(11)), 1);
}

#[test]
fn our_reset_for_its_error_costs_fifty_and_is_noted() {
    let mut meter = meter();
    meter.received(&[headers(1), headers(3), headers(5)].concat(), start());
    meter.accepted(1);
    let before = meter.left;
    meter.sent(&[reset(1, 1), reset(3, 1), reset(5, 7), reset(7, 2)].concat());
    assert_eq!((before - meter.left) / POINT, 100);
    assert_eq!(meter.take_noted(), [Noted::Malformed], "the exchange tells of its own");
    assert_eq!(meter.take_noted(), []);
}

#[test]
fn what_the_codec_answers_is_noted() {
    let mut meter = meter();
    meter.received(&[headers(1), headers(3)].concat(), start());
    meter.accepted(3);
    meter.sent(&[frame(1, 5, 1, &[0x88]), frame(1, 4, 3, &[0x88])].concat());
    let goaway = |code: u8| frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, code]);
    meter.sent(&[goaway(0), goaway(11), goaway(1)].concat());
    assert_eq!(meter.take_noted(), [Noted::TooLarge, Noted::Flood, Noted::Malformed]);
}

#[test]
fn the_budget_regains_a_tenth_a_second_and_no_more_than_it_was() {
    let mut meter = meter();
    let ping = frame(6, 0, 0, &[0; 8]);
    assert_eq!(cost(&mut meter, &ping.repeat(99)), 990);
    assert!(!meter.is_empty());
    meter.received(&ping, start());
    assert!(meter.is_empty());
    meter.received(&[], start() + Duration::from_millis(500));
    assert_eq!(meter.left / POINT, 50);
    meter.received(&[], start() + Duration::from_secs(3600));
    assert_eq!(meter.left / POINT, BUDGET);
}

#[test]
fn what_a_client_keeps_open_is_bounded() {
    let mut meter = meter();
    for stream in 0..=UNANSWERED_MAX as u32 {
        assert!(!meter.is_empty());
        meter.received(&headers(2 * stream + 1), start());
    }
    assert!(meter.is_empty());
}

#[test]
fn acknowledgements_and_open_blocks_are_known() {
    let mut meter = meter();
    meter.sent(&frame(4, 1, 0, &[]));
    assert!(meter.is_ack_unsent());
    meter.ack_left();
    assert!(!meter.is_ack_unsent());
    meter.received(&frame(1, 0, 1, &[0x82]), start());
    assert_eq!(meter.head_since(), Some(start()));
    meter.received(&frame(9, 4, 1, &[]), start());
    assert_eq!(meter.head_since(), None);
}

#[test]
fn a_head_that_drips_is_awaited_since_its_first_octet() {
    let mut meter = meter();
    let octets = frame(1, 5, 1, &[0x82; 60]);
    for (at, octet) in octets.iter().enumerate() {
        assert_eq!(meter.head_since(), (at > 0).then(start), "before octet {at}");
        meter.received(&[*octet], start() + Duration::from_secs(at as u64));
    }
    assert_eq!(meter.head_since(), None);
}

#[test]
fn a_codec_that_stands_no_more_resets_gets_no_more_octets() {
    let mut meter = Meter::new(BUDGET, 2, start());
    meter.received(&[b'x'; PREFACE], start());
    let pair = |stream: u32| [headers(stream), reset(stream, 8)].concat();
    let all = [pair(1), pair(3), pair(5)].concat();
    let used = meter.received(&all, start());
    assert_eq!((used, meter.is_choked()), (2 * pair(1).len(), true));
    meter.begin();
    assert_eq!(meter.received(&all[used..], start()), all.len() - used);
    assert!(!meter.is_choked());
}

#[test]
fn a_head_that_is_too_large_to_skip_is_no_flood() {
    let mut meter = meter();
    meter.sent(&frame(7, 0, 0, &[&[0, 0, 0, 0, 0, 0, 0, 11], &b"header_list_way_too_large"[..]].concat()));
    assert_eq!(meter.take_noted(), [Noted::TooLarge]);
    meter.received(&frame(1, 0, 1, &[0x82]), start());
    let goaway = frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 9]);
    meter.sent(&goaway);
    assert_eq!(meter.take_noted(), [Noted::Flood]);
    meter.set_recorded();
    meter.sent(&goaway);
    assert_eq!(meter.take_noted(), []);
}
