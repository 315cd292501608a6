//! Many threads on one key, and more keys than there is room for.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::*;

const THREADS: usize = 8;

/// Every algorithm, with a limit of 1000 that no time gives back while a test runs.
const ALGORITHMS: [&str; 4] = [
    "algorithm = \"token_bucket\"",
    "algorithm = \"leaky_bucket\"",
    "algorithm = \"fixed_window\"",
    "algorithm = \"sliding_window\"",
];

fn thousand(algorithm: &str) -> Limiter {
    limiter(&format!("{algorithm}\nlimit = 1000\nwindow = \"24h\"\nkeys_max = 1024\nidle = \"48h\""))
}

#[test]
fn eight_threads_on_one_key_are_admitted_exactly_up_to_the_limit() {
    for algorithm in ALGORITHMS {
        let limiter = thousand(algorithm);
        for name in 0..100 {
            let (total, start) = (AtomicUsize::new(0), Barrier::new(THREADS));
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        start.wait();
                        total.fetch_add(admitted(&limiter, key(name), 0, 500), Ordering::Relaxed);
                    });
                }
            });
            assert_eq!(total.into_inner(), 1000, "{algorithm}, key {name}");
        }
        assert_eq!(limiter.occupancy().keys, 100, "{algorithm}: a key has one slot, whoever brings it first");
    }
}

#[test]
fn ten_times_as_many_keys_leave_the_hot_key_and_the_memory_as_they_are() {
    for algorithm in ALGORITHMS {
        let limiter = thousand(algorithm);
        let hot = key(u64::MAX);
        let mut passed = 0;
        for name in 0..10_240 {
            // Ten new keys in the time in which the hot one comes once.
            let now = name * 5_000_000;
            passed += usize::from(name % 10 == 0 && admits(&limiter, hot, now));
            assert!(admits(&limiter, key(name), now), "{algorithm}: a new key has half at least");
        }
        assert_eq!(passed, 1000, "{algorithm}");
        let occupancy = limiter.occupancy();
        assert_eq!(occupancy.keys, 1024, "{algorithm}");
        assert!(occupancy.evicted > 9000, "{algorithm}: {occupancy:?}");
    }
}

#[test]
fn threads_that_bring_new_keys_never_take_the_hot_keys_count() {
    for algorithm in ALGORITHMS {
        let limiter = thousand(algorithm);
        let (hot, clock, passed) = (key(u64::MAX), AtomicU64::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (limiter, clock, passed) = (&limiter, &clock, &passed);
                scope.spawn(move || {
                    for name in 0..4000 {
                        let now = clock.fetch_add(2_000_000, Ordering::Relaxed);
                        admits(limiter, key(name * 4 + thread), now);
                        passed.fetch_add(usize::from(admits(limiter, hot, now)), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.into_inner(), 1000, "{algorithm}");
    }
}

/// Eight keys of one set, and one more.
fn crowd(limiter: &Limiter, now: u64) -> (Vec<Key>, Key) {
    let key = |tag| Key { set: 1 << 40, tag };
    let keys: Vec<_> = (10..18).map(key).collect();
    keys.iter().for_each(|key| assert!(admits(limiter, *key, now)));
    (keys, key(99))
}

#[test]
fn key_unused_for_a_second_makes_room_for_one_that_begins_half_charged() {
    for algorithm in ALGORITHMS {
        let limiter = thousand(algorithm);
        let (keys, late) = crowd(&limiter, 0);
        keys[1..].iter().for_each(|key| assert!(admits(&limiter, *key, SECOND / 2)));
        assert_eq!(admitted(&limiter, late, SECOND, 2000), 500, "{algorithm}");
        assert_eq!(admitted(&limiter, keys[1], SECOND, 2000), 998, "{algorithm}: the others stay");
    }
}

#[test]
fn idle_key_makes_room_for_one_that_begins_anew() {
    for algorithm in ALGORITHMS {
        let limiter = limiter(&format!("{algorithm}\nlimit = 1000\nwindow = \"1s\"\nkeys_max = 1024\nidle = \"2s\""));
        let (_, late) = crowd(&limiter, 0);
        assert_eq!(admitted(&limiter, late, 2 * SECOND, 2000), 1000, "{algorithm}");
    }
}

#[test]
fn key_without_room_shares_passes_or_is_denied_as_the_rule_says() {
    for algorithm in ALGORITHMS {
        let full = |on_full: &str| {
            let limiter = limiter(&format!(
                "{algorithm}\nlimit = 10\nwindow = \"24h\"\nkeys_max = 1024\nidle = \"48h\"\non_full = \"{on_full}\""
            ));
            let (_, late) = crowd(&limiter, 0);
            let counters = RuleCounters::default();
            let passed = (0..100)
                .filter(|_| !matches!(limiter.charge(late, at(SECOND / 2), &counters), Charge::Denied { .. }))
                .count();
            // The cells that are shared are 64: a key of the same one finds what this one left.
            let sharer = Key { tag: late.tag + 64, ..late };
            (passed, admitted(&limiter, sharer, SECOND / 2, 100), counters.limits_hit.value())
        };
        assert_eq!(full("share"), (10, 0, 100), "{algorithm}");
        assert_eq!(full("allow"), (100, 100, 100), "{algorithm}");
        assert_eq!(full("deny"), (0, 0, 100), "{algorithm}");
    }
}

#[test]
fn only_so_many_requests_wait_and_places_fall_free() {
    let limiter = limiter(
        "algorithm = \"leaky_bucket\"\nlimit = 1_000_000\nwindow = \"1s\"\ndelay_max = \"10s\"\nkey = []\nburst = 10_000_000",
    );
    let counters = RuleCounters::default();
    assert!(matches!(limiter.charge(key(1), at(0), &counters), Charge::Admitted(_)));
    let wait = |_| match limiter.charge(key(1), at(0), &counters) {
        Charge::Delayed(_, wait) => Some(wait),
        _ => None,
    };
    let mut waits: Vec<_> = (0..10_000).filter_map(wait).collect();
    assert_eq!((waits.len(), limiter.occupancy().waiting), (10_000, 10_000));
    assert_eq!(waits[9].time, Duration::from_micros(10));
    assert!(matches!(limiter.charge(key(1), at(0), &counters), Charge::Denied { full: true, .. }));
    assert_eq!(counters.limits_hit.value(), 1);
    waits.pop();
    assert!(matches!(limiter.charge(key(1), at(0), &counters), Charge::Delayed(..)), "in the place that fell free");
    drop(waits);
    assert_eq!(limiter.occupancy().waiting, 0);
}
