//! A leaky bucket says the same, and threads cannot get more.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Barrier;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

impl Cell for AtomicU64 {
    fn load(&self) -> u64 {
        AtomicU64::load(self, Ordering::Acquire)
    }

    fn exchange(&self, old: u64, new: u64) -> u64 {
        self.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).unwrap_or_else(|held| held)
    }
}

pub(crate) fn limit(t: u64, burst: u64) -> Limit {
    Limit { t, tolerance: (burst - 1) * t }
}

/// A bucket of `burst` packets that leaks one each `t`, in exact arithmetic.
pub(crate) struct Bucket {
    level: u128,
    at: u64,
}

impl Bucket {
    pub(crate) fn new() -> Self {
        Self { level: 0, at: 0 }
    }

    pub(crate) fn admits(&mut self, now: u64, t: u64, burst: u64) -> bool {
        self.level = self.level.saturating_sub(u128::from(now - self.at));
        self.at = now;
        let room = self.level + u128::from(t) <= u128::from(t) * u128::from(burst);
        self.level += if room { u128::from(t) } else { 0 };
        room
    }
}

/// How many at most may be admitted over a time, its ends included.
pub(crate) fn most(elapsed: u64, t: u64, burst: u64) -> u64 {
    burst + elapsed / t
}

/// Admits one charge from each of 8 threads, again and again, and counts.
pub(crate) fn admitted_by_eight(tries: u64, charge: impl Fn(u64) -> Charge + Sync) -> u64 {
    let (start, admitted) = (Barrier::new(8), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                let own = (0..tries).filter(|at| charge(*at) == Charge::Admitted).count();
                admitted.fetch_add(own as u64, Ordering::Relaxed);
            });
        }
    });
    admitted.into_inner()
}

proptest! {
    #[test]
    fn admits_what_a_leaky_bucket_admits_and_never_more_in_any_window(
        t in 1_u64..1000,
        burst in 1_u64..20,
        gaps in proptest::collection::vec(0_u64..3000, 1..200),
    ) {
        let cell = AtomicU64::new(0);
        let (mut bucket, mut now, mut times) = (Bucket::new(), 0, Vec::new());
        for gap in gaps {
            now += gap;
            let admitted = charge(&cell, now, limit(t, burst)) == Charge::Admitted;
            prop_assert_eq!(admitted, bucket.admits(now, t, burst));
            times.extend(admitted.then_some(now));
        }
        for (from, first) in times.iter().enumerate() {
            for (to, last) in times.iter().enumerate().skip(from) {
                prop_assert!((to - from + 1) as u64 <= most(last - first, t, burst));
            }
        }
    }

    #[test]
    fn no_numbers_overflow(tat: u64, now: u64, t: u64, tolerance: u64) {
        if let Some(new) = admit(tat, now, Limit { t, tolerance }) {
            prop_assert!(new >= now && new >= tat);
        }
    }
}

#[test]
fn a_denied_packet_writes_nothing() {
    let cell = AtomicU64::new(1_000);
    assert_eq!(charge(&cell, 100, limit(100, 2)), Charge::Denied);
    assert_eq!(cell.into_inner(), 1_000);
}

#[test]
fn eight_threads_on_one_cell_are_never_over() {
    let cell = AtomicU64::new(0);
    let limit = limit(7, 1_000);
    let admitted = admitted_by_eight(20_000, |at| charge(&cell, 1_000_000 + at, limit));
    assert!(admitted <= most(20_000, 7, 1_000), "{admitted}");
    assert!(admitted > 1_000, "time makes room: {admitted}");
}

#[test]
fn a_cell_that_always_moves_is_contended() {
    struct Moving(AtomicU64);
    impl Cell for Moving {
        fn load(&self) -> u64 {
            0
        }
        fn exchange(&self, old: u64, _: u64) -> u64 {
            self.0.fetch_add(1, Ordering::Relaxed);
            old + 1
        }
    }
    let cell = Moving(AtomicU64::new(0));
    assert_eq!(charge(&cell, 0, limit(1, 100)), Charge::Contended);
    assert_eq!(cell.0.into_inner(), TRIES as u64);
}
