//! Upstream connections: pool, dialling, exchanges, retries.

mod budget;
mod pool;

pub use budget::Budget;
pub use pool::{Bounds, Dropped, Key, Parked, Pool, Seen};
