//! Upstream connections: pool, dialling, retry budget.

mod budget;
mod pool;
mod secure;
mod upstream;

pub use budget::Budget;
pub use pool::{Bounds, Dropped, Key, Parked, Pool, Seen};
pub use secure::secure;
pub use upstream::{Upstream, exchange_fault};
