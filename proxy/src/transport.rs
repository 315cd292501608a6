//! Upstream connections: pool, dialling, exchanges, retries.

mod pool;

pub use pool::{Bounds, Dropped, Key, Parked, Pool, Seen};
