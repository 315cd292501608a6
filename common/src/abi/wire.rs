//! Group wire: the map of the two cgroup_skb programs.

use super::plain::plain;

/// Names of the maps, as the object has them.
pub mod map {
    /// LRU hash cookie (u64) -> [`Wire`](super::Wire).
    pub const WIRE: &str = "WIRE";
}

/// The name of the program of what comes in.
pub const PROGRAM_IN: &str = "weir_wire_in";
/// The name of the program of what goes out.
pub const PROGRAM_OUT: &str = "weir_wire_out";

/// Entries of WIRE.
pub const WIRE_MAX: u32 = 65_536;

plain! {
    /// Packets of one connection since somebody looks; octets with the IP header.
    pub struct Wire: 32 {
        /// Packets received.
        pub packets_in: u64,
        /// Their octets.
        pub bytes_in: u64,
        /// Packets sent.
        pub packets_out: u64,
        /// Their octets.
        pub bytes_out: u64,
    }
}
