//! Words shared by every stage: reasons, faults, ids, the clock's values, metric names.

pub mod fault;
pub mod hash;
pub mod id;
pub mod instant;
pub mod metric;
pub mod reason;
mod regex;
pub mod tcp;

pub use fault::{Fault, Party, Retry};
pub use instant::Instant;
pub use reason::Reason;
pub use regex::regex;
pub use tcp::TcpInfo;

#[cfg(test)]
pub(crate) mod tests;
