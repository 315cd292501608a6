//! The maps between weir's eBPF programs and its user space: names, keys, values, entries. One file per group.
//!
//! Everything is in the machine's byte order but for addresses, which are as they stand on the wire. No type has
//! padding, so each is as good as its octets: user space keeps maps of [`Plain::Octets`] and needs no unsafe code.

pub mod address;
pub mod drop;
pub mod flow;
pub mod plain;
pub mod steer;
pub mod wire;

pub use address::{Address, Endpoint};
pub use plain::Plain;
