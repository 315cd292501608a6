//! The way from control to the data plane: one port per worker, and what the supervisor asks of the process.

use std::sync::Arc;
use std::time::Duration;

use crate::base::Instant;

/// What control tells a worker.
#[derive(Debug)]
pub enum Order<S, L> {
    /// New requests use this configuration.
    Snapshot(Arc<S>),
    /// Endpoints have changed.
    Live(Arc<L>),
    /// Stop accepting, close what is idle, finish the rest by the deadline and end; a later order moves the deadline.
    Drain {
        /// What is unfinished then is cut.
        deadline: Instant,
    },
}

/// A worker's mailbox. Bounded: what it does not take is given back, kept by control and offered again.
pub trait WorkerPort<S, L>: Send + Sync {
    /// Gives the worker an order, or gives it back.
    fn send(&self, order: Order<S, L>) -> Result<(), Order<S, L>>;
}

/// What a reload made, before any worker has seen it.
pub struct Loaded<S, P> {
    /// The configuration.
    pub snapshot: Arc<S>,
    /// Its generation.
    pub generation: u64,
    /// What control needs of it: names to resolve, endpoints to probe, routes to show.
    pub plan: P,
    /// How long to stay before a drain, and within it.
    pub drain: DrainTimes,
}

/// `[drain]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrainTimes {
    /// From not ready to not accepting.
    pub delay: Duration,
    /// From not accepting to cutting what is left.
    pub timeout: Duration,
}

impl Default for DrainTimes {
    fn default() -> Self {
        Self { delay: Duration::ZERO, timeout: Duration::from_secs(60) }
    }
}
