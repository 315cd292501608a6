//! What workers share about an endpoint or a group while requests run: a few counters, nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// Names one endpoint (a target's address) for the life of the process, across epochs and generations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EndpointId(u64);

impl EndpointId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Relaxed))
    }

    /// The number itself: unique, never zero, of no meaning.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// An endpoint's counters over all workers. On its own cache lines, as every worker writes to it.
#[derive(Debug)]
#[repr(align(128))]
pub struct Cells {
    id: EndpointId,
    inflight: AtomicU32,
    connections: AtomicU32,
    suspect: AtomicBool,
}

impl Cells {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            id: EndpointId::next(),
            inflight: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            suspect: AtomicBool::new(false),
        })
    }

    /// Whose counters these are.
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// Requests in flight.
    pub fn inflight(&self) -> u32 {
        self.inflight.load(Relaxed)
    }

    /// Open connections, idle ones included.
    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    pub(super) fn enter(&self, max: u32) -> bool {
        reserve(&self.inflight, max)
    }

    pub(super) fn leave(&self) {
        self.inflight.fetch_sub(1, SeqCst);
    }

    pub(super) fn open(&self, max: u32) -> bool {
        reserve(&self.connections, max)
    }

    pub(super) fn close(&self) {
        self.connections.fetch_sub(1, SeqCst);
    }

    /// Marks that the last attempt, on whichever worker, failed: the next success is worth a report.
    pub(super) fn suspect(&self) {
        self.suspect.store(true, Relaxed);
    }

    /// True once after [`Cells::suspect`]; without a failure before it, a plain load.
    pub(super) fn cleared(&self) -> bool {
        self.suspect.load(Relaxed) && self.suspect.swap(false, Relaxed)
    }
}

/// Adds one unless that passes `max` (0: no limit). Never overshoots, so a refused reservation frees nothing and
/// needs no wake. SeqCst: see [`Waiting`].
fn reserve(cell: &AtomicU32, max: u32) -> bool {
    if max == 0 {
        cell.fetch_add(1, SeqCst);
        return true;
    }
    cell.fetch_update(SeqCst, SeqCst, |now| (now < max).then(|| now + 1)).is_ok()
}

/// How many requests wait for a slot of one group, by worker. A waiter is announced here before its last look at the
/// slots, and a slot is freed before this is read; both sequentially consistent, so one of the two sees the other.
#[derive(Debug)]
pub struct Waiting {
    id: u64,
    total: AtomicU32,
    by_worker: Box<[AtomicU32]>,
}

impl Waiting {
    pub(super) fn new(workers: usize) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let by_worker = (0..workers.max(1)).map(|_| AtomicU32::new(0)).collect();
        Arc::new(Self { id: NEXT.fetch_add(1, Relaxed), total: AtomicU32::new(0), by_worker })
    }

    /// Names the group's queues for the life of the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Requests that wait, over all workers.
    pub fn total(&self) -> u32 {
        self.total.load(SeqCst)
    }

    pub(super) fn workers(&self) -> usize {
        self.by_worker.len()
    }

    pub(super) fn announce(&self, worker: usize) {
        self.by_worker[worker % self.by_worker.len()].fetch_add(1, SeqCst);
        self.total.fetch_add(1, SeqCst);
    }

    pub(super) fn withdraw(&self, worker: usize) {
        self.total.fetch_sub(1, SeqCst);
        self.by_worker[worker % self.by_worker.len()].fetch_sub(1, SeqCst);
    }

    /// The next worker after `worker` that has somebody waiting.
    pub(super) fn heir(&self, worker: usize) -> Option<usize> {
        let n = self.by_worker.len();
        (1..n).map(|step| (worker + step) % n).find(|&at| self.by_worker[at].load(SeqCst) > 0)
    }
}
