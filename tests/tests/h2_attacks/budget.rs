//! What each frame costs: just below the budget a connection lives, beyond it the connection ends, booked as a flood.

use weir_tests::h2::{Frame, code, get, hpack, post};
use weir_tests::wait;

use super::attack::{ALL, Attack, MADE_YOU_RESET, PING, Target, WINDOW_UPDATE};

/// The budget of the config's default.
const BUDGET: u32 = 1000;
const CALM: &[u32] = &[code::ENHANCE_YOUR_CALM];

#[track_caller]
fn flooded(target: &Target, attack: &Attack, rounds: u32) {
    eprintln!("{rounds} x {}", attack.name);
    let booked = target.weir.reason("h2_flood");
    let mut peer = target.prepared(attack);
    let frames: Vec<_> = (0..rounds).flat_map(|_| (attack.again)(&mut peer)).collect();
    // It may be stopped before all of it has left.
    let _ = peer.try_send(frames);
    peer.expect_goaway(CALM);
    target.weir.wait_reason("h2_flood", booked + 1);
}

#[test]
fn each_attack_is_stopped_beyond_its_budget() {
    let target = Target::new("");
    for attack in ALL {
        // Thrice the budget, for what it regains meanwhile and for what is free.
        flooded(&target, attack, 3 * BUDGET / attack.points);
        target.serves();
    }
}

#[test]
fn each_frame_is_taken_within_the_budget() {
    for attack in ALL {
        let target = Target::new("");
        eprintln!("within the budget: {}", attack.name);
        let mut peer = target.prepared(attack);
        let rounds = BUDGET * 7 / 10 / attack.points;
        let frames: Vec<_> = (0..rounds).flat_map(|_| (attack.again)(&mut peer)).collect();
        peer.send_all(frames);
        peer.ping();
        assert_eq!(peer.get("/").status(), 200);
        assert_eq!((peer.went_away(), target.weir.reason("h2_flood")), (None, 0), "{}", attack.name);
    }
}

#[test]
fn the_budget_is_that_of_the_config() {
    let target = Target::new("[http2]\nabuse_budget = 100");
    flooded(&target, &PING, 30);
    let target = Target::new("[http2]\nabuse_budget = 100000");
    let mut peer = target.weir.h2();
    peer.send_all((0..5000).map(|_| Frame::ping([1; 8])));
    peer.ping();
}

#[test]
fn the_budget_comes_back_in_time() {
    let target = Target::new("[http2]\nabuse_budget = 200");
    let mut peer = target.weir.h2();
    let start = std::time::Instant::now();
    // 20 points a second come back: two PINGs a second for ever, twenty at once.
    for round in 1..=8 {
        peer.ping();
        peer.ping();
        wait::until("the next second", || start.elapsed().as_secs() >= round);
    }
    assert!(start.elapsed().as_secs() < 12, "the test itself was too slow to tell");
    assert_eq!(peer.get("/").status(), 200);
}

#[test]
fn pings_between_answers_are_free() {
    let target = Target::new("[http2]\nabuse_budget = 100");
    let mut peer = target.weir.h2();
    for _ in 0..50 {
        assert_eq!(peer.get("/").status(), 200);
        peer.ping();
    }
    assert_eq!(target.weir.reason("h2_flood"), 0);
}

#[test]
fn window_updates_that_follow_data_are_free() {
    let target = Target::new("[http2]\nabuse_budget = 100");
    let mut peer = target.weir.h2();
    // The harness gives back two for each frame of DATA.
    assert_eq!(peer.get("/large").body.len(), 4 << 20);
    assert_eq!((peer.went_away(), target.weir.reason("h2_flood")), (None, 0));
    drop(peer);
    flooded(&target, &WINDOW_UPDATE, 1000);
}

#[test]
fn a_thousand_resets_of_ours_are_the_most_whatever_the_budget() {
    let target = Target::new("[http2]\nabuse_budget = 100000");
    flooded(&target, &MADE_YOU_RESET, 1200);
}

#[test]
fn continuations_without_an_end_are_stopped() {
    let target = Target::new("");
    for piece in [0, 100, 10_000] {
        let booked = target.weir.reason("h2_flood");
        let mut peer = target.weir.h2();
        let frames = super::attack::endless(&mut peer, piece);
        for frame in frames.take(3000) {
            if peer.try_send([frame]).is_err() {
                break;
            }
        }
        peer.expect_goaway(&[code::ENHANCE_YOUR_CALM, code::COMPRESSION_ERROR]);
        target.weir.wait_reason("h2_flood", booked + 1);
        target.serves();
    }
    assert!(target.origin.requests().iter().all(|request| request.target == "/"));
}

#[test]
fn resets_do_not_make_room_before_the_work_upstream_has_ended() {
    let target = Target::new("[http2]\nstreams_max = 5\nabuse_budget = 100000");
    let mut peer = target.weir.h2();
    for _ in 0..200 {
        let stream = peer.next_stream();
        let request = Frame::headers(stream, hpack::block(&get("/held")), true);
        peer.send_all([request, Frame::reset(stream, code::CANCEL)]);
        // One at a time: those that have not even been accepted have a bound of their own.
        peer.ping();
    }
    // The origin may have been asked as often as slots came free, but by no more than five at once, give or take those
    // whose end it has not met yet.
    assert!(target.origin.open() <= 20, "{} connections upstream", target.origin.open());
    wait::until("a slot", || peer.get("/").status() == 200);
}

#[test]
fn bodies_in_single_octets_are_served_while_the_origin_reads_them() {
    let target = Target::new("");
    let mut peer = target.weir.h2();
    let stream = peer.open(&post("/"), false);
    for _ in 0..300 {
        peer.send(Frame::data(stream, b"x", false));
        peer.pipe().wait_taken();
    }
    peer.send(Frame::data(stream, [], true));
    assert_eq!(peer.response(stream).status(), 200);
    assert_eq!(target.weir.reason("h2_flood"), 0);
}
