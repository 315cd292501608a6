//! Process-wide caps (connections, requests in flight) that workers take from in batches, so that the shared cell is
//! not written for every request.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// At most this many units lie unused with one worker.
const BATCH_MAX: i64 = 64;

/// A cap on a count that all workers share. Never exceeded; up to a batch per worker may lie unused elsewhere while
/// another worker is refused.
#[derive(Clone, Debug)]
pub struct Quota(Arc<Cells>);

#[derive(Debug)]
struct Cells {
    /// Units that no worker holds; below zero while more are in use than a lowered cap allows.
    free: AtomicI64,
    max: AtomicI64,
    workers: i64,
}

impl Quota {
    /// A quota of `max` units for `workers` workers; 0 is no cap.
    pub fn new(max: u64, workers: usize) -> Self {
        let max = units(max);
        let workers = i64::try_from(workers.max(1)).unwrap_or(i64::MAX);
        Self(Arc::new(Cells { free: AtomicI64::new(max), max: AtomicI64::new(max), workers }))
    }

    /// Changes the cap; what is in use stays in use.
    pub fn resize(&self, max: u64) {
        let max = units(max);
        let before = self.0.max.swap(max, Relaxed);
        self.0.free.fetch_add(max - before, Relaxed);
    }

    /// One worker's view of it.
    pub fn share(&self) -> Rc<Share> {
        Rc::new(Share { quota: self.clone(), held: Cell::new(0) })
    }

    fn batch(&self) -> i64 {
        (self.0.max.load(Relaxed) / self.0.workers / 16).clamp(1, BATCH_MAX)
    }

    fn take(&self) -> i64 {
        let batch = self.batch();
        let taken = |free: i64| free.min(batch).max(0);
        let update = self.0.free.fetch_update(Relaxed, Relaxed, |free| Some(free - taken(free)));
        update.map_or_else(taken, taken)
    }
}

fn units(max: u64) -> i64 {
    const NO_CAP: i64 = i64::MAX / 4;
    if max == 0 { NO_CAP } else { i64::try_from(max).unwrap_or(NO_CAP).min(NO_CAP) }
}

/// A worker's units of a [`Quota`] that are not in use.
#[derive(Debug)]
pub struct Share {
    quota: Quota,
    held: Cell<i64>,
}

impl Share {
    /// A unit, given back when the lease is dropped; none if the cap is reached.
    pub fn lease(self: &Rc<Self>) -> Option<Lease> {
        let held = match self.held.get() {
            0 => self.quota.take(),
            held => held,
        };
        if held == 0 {
            return None;
        }
        self.held.set(held - 1);
        Some(Lease(self.clone()))
    }

    fn give_back(&self) {
        let (held, batch) = (self.held.get() + 1, self.quota.batch());
        // With a batch of one, nothing may lie unused: another worker may be waiting for just this unit. Nor while a
        // lowered cap is exceeded.
        let kept = if batch == 1 || self.quota.0.free.load(Relaxed) < 0 { 0 } else { batch };
        if held >= 2 * kept.max(1) - i64::from(kept == 0) {
            self.quota.0.free.fetch_add(held - kept, Relaxed);
            self.held.set(kept);
        } else {
            self.held.set(held);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.quota.0.free.fetch_add(self.held.get(), Relaxed);
    }
}

/// One unit in use.
#[derive(Debug)]
pub struct Lease(Rc<Share>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_never_exceeded_and_returns_whole() {
        for (max, workers) in [(1, 1), (1, 4), (100, 4), (5000, 2)] {
            let quota = Quota::new(max, workers);
            let shares: Vec<_> = (0..workers).map(|_| quota.share()).collect();
            let mut leases: Vec<Lease> = Vec::new();
            let mut random = fastrand::Rng::with_seed(max);
            for _ in 0..20_000 {
                if random.bool() {
                    leases.extend(random.choice(&shares).and_then(|share| share.lease()));
                } else if !leases.is_empty() {
                    leases.swap_remove(random.usize(..leases.len()));
                }
                assert!(leases.len() as u64 <= max);
            }
            drop((leases, shares));
            assert_eq!(quota.0.free.load(Relaxed), max as i64);
        }
    }

    #[test]
    fn a_lowered_cap_holds_as_soon_as_enough_came_back() {
        let quota = Quota::new(1000, 1);
        let share = quota.share();
        let mut leases: Vec<_> = (0..1000).map_while(|_| share.lease()).collect();
        quota.resize(10);
        assert!(share.lease().is_none());
        leases.truncate(9);
        assert!(share.lease().is_some());
        leases.extend((0..100).map_while(|_| share.lease()));
        assert_eq!(leases.len(), 10);
    }

    #[test]
    fn one_worker_alone_reaches_the_cap_exactly() {
        let share = Quota::new(1000, 1).share();
        let leases: Vec<_> = (0..1000).map_while(|_| share.lease()).collect();
        assert_eq!(leases.len(), 1000);
        assert!(share.lease().is_none());
        drop(leases);
        assert!(share.lease().is_some());
    }
}
