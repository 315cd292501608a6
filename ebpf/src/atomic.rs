//! Atomic access to map values: `core::sync` has no compare-exchange for BPF, so these are intrinsics, all of them here.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

/// Sets a cell to `new` if it holds `old`. Gives what it held.
///
/// # Safety
/// `cell` is a map value of 8 octets, aligned.
#[inline(always)]
pub(crate) unsafe fn exchange(cell: *mut u64, old: u64, new: u64) -> u64 {
    // SAFETY: a valid, aligned cell, says the caller.
    unsafe { atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(cell, old, new).0 }
}

/// Adds to a cell.
///
/// # Safety
/// `cell` is a map value of 8 octets, aligned.
#[inline(always)]
pub(crate) unsafe fn add(cell: *mut u64, n: u64) {
    // SAFETY: a valid, aligned cell, says the caller.
    unsafe {
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(cell, n);
    }
}
