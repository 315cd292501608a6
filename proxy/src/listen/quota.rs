//! Process-wide caps (connections, requests in flight) that workers take from in batches, so that the shared cell is
//! not written for every request.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// At most this many units lie unused with one worker.
const BATCH_MAX: u64 = 64;

/// A cap on a count that all workers share. Never exceeded; up to a batch per worker may lie unused elsewhere while
/// another worker is refused.
#[derive(Clone, Debug)]
pub struct Quota {
    free: Arc<AtomicU64>,
    batch: u64,
}

impl Quota {
    /// A quota of `max` units for `workers` workers; 0 is no cap.
    pub fn new(max: u64, workers: usize) -> Self {
        let max = if max == 0 { u64::MAX / 2 } else { max };
        let batch = (max / (workers.max(1) as u64 * 16)).clamp(1, BATCH_MAX);
        Self { free: Arc::new(AtomicU64::new(max)), batch }
    }

    /// One worker's view of it.
    pub fn share(&self) -> Rc<Share> {
        Rc::new(Share { quota: self.clone(), held: Cell::new(0) })
    }

    fn take(&self) -> u64 {
        let taken = self.free.fetch_update(Relaxed, Relaxed, |free| Some(free - free.min(self.batch)));
        taken.unwrap_or_else(|free| free).min(self.batch)
    }
}

/// A worker's units of a [`Quota`] that are not in use.
#[derive(Debug)]
pub struct Share {
    quota: Quota,
    held: Cell<u64>,
}

impl Share {
    /// A unit, given back when the lease is dropped; none if the cap is reached.
    pub fn lease(self: &Rc<Self>) -> Option<Lease> {
        let held = match self.held.get() {
            0 => self.quota.take(),
            held => held,
        };
        self.held.set(held.checked_sub(1)?);
        Some(Lease(self.clone()))
    }

    fn give_back(&self) {
        let held = self.held.get() + 1;
        // With a batch of one, nothing may lie unused: another worker may be waiting for just this unit.
        if held >= 2 * self.quota.batch || self.quota.batch == 1 {
            let kept = if self.quota.batch == 1 { 0 } else { self.quota.batch };
            self.quota.free.fetch_add(held - kept, Relaxed);
            self.held.set(kept);
        } else {
            self.held.set(held);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.quota.free.fetch_add(self.held.get(), Relaxed);
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
            assert_eq!(quota.free.load(Relaxed), max);
        }
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
