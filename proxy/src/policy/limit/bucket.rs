//! Token bucket and leaky bucket, as the generic cell rate algorithm: a state is the time at which the bucket is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir_common::abi::drop::Limit as Gcra;
use weir_common::gcra::admit;

use super::algorithm::{Algorithm, Charge, Standing, Start, Step, exchange};
use super::wait::WaitingRoom;

/// A bucket: `burst` requests at once, then one in each `period`.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Nanoseconds for a request, and how far ahead of the clock the state may run when one is admitted.
    gcra: Gcra,
    /// Where requests wait that came ahead of their time; none: they go on at once.
    room: Option<Arc<WaitingRoom>>,
}

impl Bucket {
    /// `limit` requests in `window` nanoseconds, `burst` at once.
    pub(super) fn token(limit: u64, window: u64, burst: u64) -> Self {
        let period = window.div_ceil(limit.max(1)).max(1);
        let tolerance = burst.saturating_sub(1).saturating_mul(period);
        Self { gcra: Gcra { t: period, tolerance }, room: None }
    }

    /// The same, but a request that comes ahead of its time waits for it, `delay_max` nanoseconds at most.
    pub(super) fn leaky(limit: u64, window: u64, burst: u64, delay_max: u64, room: Arc<WaitingRoom>) -> Self {
        let bucket = Self::token(limit, window, burst);
        match delay_max {
            0 => bucket,
            _ => {
                let tolerance = bucket.gcra.tolerance.min(delay_max);
                Self { gcra: Gcra { tolerance, ..bucket.gcra }, room: Some(room) }
            }
        }
    }

    fn step(&self, tat: u64, now: u64) -> Step<Charge> {
        let ahead = tat.saturating_sub(now);
        let Some(next) = admit(tat, now, self.gcra) else {
            return Step::Stay(Charge::denied(ahead - self.gcra.tolerance));
        };
        let standing = self.standing(next - now);
        match &self.room {
            Some(room) if ahead > 0 => match room.enter(Duration::from_nanos(ahead)) {
                Some(wait) => Step::To(next, Charge::Delayed(standing, wait)),
                None => Step::Stay(Charge::Denied { retry_after: Duration::from_nanos(ahead), full: true }),
            },
            _ => Step::To(next, Charge::Admitted(standing)),
        }
    }

    fn standing(&self, ahead: u64) -> Standing {
        let left = self.gcra.tolerance.checked_sub(ahead);
        let remaining = left.map_or(0, |left| left / self.gcra.t + 1);
        Standing { remaining, reset: Duration::from_nanos(ahead) }
    }
}

impl Algorithm for Bucket {
    type Cell = AtomicU64;
    type Outcome = Charge;

    fn begin(&self, cell: &AtomicU64, start: Start, now: u64) {
        let half = (self.gcra.tolerance / self.gcra.t).div_ceil(2);
        let charged = if start == Start::Half { half * self.gcra.t } else { 0 };
        cell.store(now + charged, Ordering::Relaxed);
    }

    fn charge(&self, cell: &AtomicU64, now: u64, held: impl Fn() -> bool) -> Option<Charge> {
        exchange(cell, held, |tat| self.step(tat, now))
    }
}
