//! Group steer: the maps of the sk_reuseport program.

/// Names of the maps, as the object has them.
pub mod map {
    /// Hash [`Endpoint`](crate::abi::Endpoint) of a listening socket -> base in LISTENERS (u32).
    pub const GROUPS: &str = "GROUPS";
    /// Array by CPU of [`slot`](super::slot)s (u32).
    pub const SLOTS: &str = "SLOTS";
    /// Array of sockets at base + worker.
    pub const LISTENERS: &str = "LISTENERS";
    /// Per-CPU array of one u64: connections that asked.
    pub const STEER_COUNT: &str = "STEER_COUNT";
}

/// The program's name.
pub const PROGRAM: &str = "weir_steer";

/// Entries of GROUPS.
pub const GROUPS_MAX: u32 = 1024;
/// Entries of SLOTS: CPUs.
pub const SLOTS_MAX: u32 = 1024;
/// Entries of LISTENERS.
pub const LISTENERS_MAX: u32 = 16_384;

/// A slot that selects nothing: the kernel's hash decides. What an array holds at first.
pub const SLOT_EMPTY: u32 = 0;

/// The slot of a worker.
pub const fn slot(worker: u32) -> u32 {
    worker + 1
}

/// The worker of a slot.
#[inline(always)]
pub const fn worker(slot: u32) -> Option<u32> {
    slot.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_slot_is_no_worker() {
        assert_eq!((worker(SLOT_EMPTY), worker(slot(0)), worker(slot(7))), (None, Some(0), Some(7)));
    }
}
