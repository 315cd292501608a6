//! Fixed window: so many requests from one round time to the next.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::algorithm::{Algorithm, Charge, Standing, Start, Step, exchange};

/// Windows that begin at multiples of their length since the Unix epoch, as it was told when the process began: setting
/// the wall clock moves none of them. A state is the window's number above the count.
#[derive(Debug)]
pub(super) struct Fixed {
    limit: u64,
    window: u64,
    /// The Unix time at which the monotonic clock was 0.
    epoch: u64,
    count_bits: u32,
}

impl Fixed {
    /// `limit` requests in each window of `window` nanoseconds.
    pub(super) fn new(limit: u64, window: u64, epoch: u64) -> Self {
        // With at most a million a second, the count and the number of any window since 1970 fit into a word.
        Self { limit, window, epoch, count_bits: u64::BITS - limit.leading_zeros() }
    }

    fn pack(&self, number: u64, count: u64) -> u64 {
        number << self.count_bits | count
    }

    fn step(&self, state: u64, now: u64) -> Step<Charge> {
        let unix = now.saturating_add(self.epoch);
        let (number, count) = (state >> self.count_bits, state & !(u64::MAX << self.count_bits));
        // A worker whose clock reading is older than another's is charged in the window that has begun.
        let current = unix / self.window;
        let (number, count) = if number < current { (current, 0) } else { (number, count) };
        let left = (number + 1).saturating_mul(self.window) - unix;
        if count >= self.limit {
            return Step::Stay(Charge::denied(left));
        }
        let standing = Standing { remaining: self.limit - count - 1, reset: Duration::from_nanos(left) };
        Step::To(self.pack(number, count + 1), Charge::Admitted(standing))
    }
}

impl Algorithm for Fixed {
    type Cell = AtomicU64;
    type Outcome = Charge;

    fn begin(&self, cell: &AtomicU64, start: Start, now: u64) {
        let number = now.saturating_add(self.epoch) / self.window;
        let count = if start == Start::Half { self.limit / 2 } else { 0 };
        cell.store(self.pack(number, count), Ordering::Relaxed);
    }

    fn charge(&self, cell: &AtomicU64, now: u64, held: impl Fn() -> bool) -> Option<Charge> {
        exchange(cell, held, |state| self.step(state, now))
    }
}
