//! Upstream connections: pool, shared connections, dialling, retry budget.

mod budget;
mod pool;
mod secure;
mod session;
mod upstream;

pub use budget::Budget;
pub use pool::{Bounds, Dropped, Key, Parked, Pool, Seen};
pub use secure::secure;
pub use session::{Found, Lease, Session, Sessions, Terms};
pub use upstream::{Upstream, connect, exchange_fault};
