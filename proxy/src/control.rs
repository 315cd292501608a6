//! The control plane: management API, readiness, probes, DNS; ordinary tokio threads that never touch a worker but
//! through its port and the cells it stores into.

pub mod facts;
pub mod port;

pub use facts::Facts;
pub use port::{DrainTimes, Loaded, Order, WorkerPort};
