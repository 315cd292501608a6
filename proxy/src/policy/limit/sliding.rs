//! Sliding window: never more than the limit in any stretch of the window's length.
//!
//! Time is cut into sixteenths of a window. A request is admitted if fewer than the limit were in the seventeen parts
//! that overlap the window before it: never over the limit in any window, and no denial unless as many as the limit came
//! in 17/16 of one.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::algorithm::{Algorithm, Charge, Standing, Start};
use super::store::spin;

/// Parts that overlap a window which ends within one of them.
const PARTS: usize = 17;

/// A window of sixteen parts.
#[derive(Debug)]
pub(super) struct Sliding {
    limit: u64,
    /// Nanoseconds.
    part: u64,
}

/// Counts of the last parts, each 48 bits wide: a part of the longest window at the highest rate needs 37. Only who
/// holds the lock touches them.
#[derive(Default, Debug)]
pub(super) struct Parts {
    /// The newest part's number; the lowest bit is the lock.
    newest: AtomicU64,
    low: [AtomicU32; PARTS],
    high: [AtomicU16; PARTS],
}

/// The parts, locked.
struct Held<'p> {
    parts: &'p Parts,
    newest: u64,
}

impl Sliding {
    /// `limit` requests in any `window` nanoseconds.
    pub(super) fn new(limit: u64, window: u64) -> Self {
        Self { limit, part: (window / (PARTS as u64 - 1)).max(1) }
    }

    /// Until enough parts have left the window for one more request.
    fn retry_after(&self, held: &Held<'_>, now: u64, mut sum: u64) -> u64 {
        let full = held.newest + PARTS as u64;
        // A part leaves when the seventeenth after it begins, which will lie where it lies now.
        let free = (held.newest + 1..full).find(|number| {
            sum -= held.count(*number);
            sum < self.limit
        });
        free.unwrap_or(full).saturating_mul(self.part).saturating_sub(now)
    }
}

impl Algorithm for Sliding {
    type Cell = Parts;
    type Outcome = Charge;

    fn begin(&self, cell: &Parts, start: Start, now: u64) {
        let mut held = cell.lock();
        held.begin(now / self.part);
        if start == Start::Half {
            held.set(held.newest, self.limit / 2);
        }
    }

    fn charge(&self, cell: &Parts, now: u64, held_by_key: impl Fn() -> bool) -> Option<Charge> {
        let mut held = cell.lock();
        if !held_by_key() {
            return None;
        }
        held.advance(now / self.part);
        let sum = held.sum();
        if sum >= self.limit {
            return Some(Charge::denied(self.retry_after(&held, now, sum)));
        }
        held.set(held.newest, held.count(held.newest) + 1);
        let window = Duration::from_nanos(self.part * (PARTS as u64 - 1));
        Some(Charge::Admitted(Standing { remaining: self.limit - sum - 1, reset: window }))
    }
}

impl Parts {
    fn lock(&self) -> Held<'_> {
        let newest = spin(|| {
            let newest = self.newest.load(Ordering::Relaxed);
            let free = newest & 1 == 0;
            let taken = free
                && self.newest.compare_exchange_weak(newest, newest | 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
            taken.then_some(newest >> 1)
        });
        Held { parts: self, newest }
    }
}

impl Held<'_> {
    /// Forgets all.
    fn begin(&mut self, number: u64) {
        (0..PARTS as u64).for_each(|part| self.set(part, 0));
        self.newest = number;
    }

    /// Forgets the parts that time has left behind. Time does not run back: an older reading counts as the newest part.
    fn advance(&mut self, number: u64) {
        let passed = number.saturating_sub(self.newest).min(PARTS as u64);
        (0..passed).for_each(|ahead| self.set(number - ahead, 0));
        self.newest = self.newest.max(number);
    }

    fn sum(&self) -> u64 {
        (0..PARTS as u64).map(|number| self.count(number)).sum()
    }

    /// Of the part with this number, which is one of the last.
    fn count(&self, number: u64) -> u64 {
        let (low, high) = self.cells(number);
        u64::from(low.load(Ordering::Relaxed)) | u64::from(high.load(Ordering::Relaxed)) << 32
    }

    fn set(&self, number: u64, count: u64) {
        let (low, high) = self.cells(number);
        low.store(count as u32, Ordering::Relaxed);
        high.store((count >> 32) as u16, Ordering::Relaxed);
    }

    fn cells(&self, number: u64) -> (&AtomicU32, &AtomicU16) {
        let at = (number % PARTS as u64) as usize;
        (&self.parts.low[at], &self.parts.high[at])
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.parts.newest.store(self.newest << 1, Ordering::Release);
    }
}
