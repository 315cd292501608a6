//! The control plane: management API, readiness, probes, DNS; ordinary tokio threads that never touch a worker but
//! through its port and the cells it stores into.

pub mod facts;
pub mod port;
pub mod resolver;

pub use facts::Facts;
pub use port::{DrainTimes, Loaded, Order, WorkerPort};

/// Reads CLOCK_MONOTONIC: the clock that workers' beats are stamped with.
pub type Clock = fn() -> crate::base::Instant;
