//! The generic cell rate algorithm: a limiter whose whole state is one number, the theoretical arrival time ("tat",
//! ITU-T I.371).
//!
//! `now` may be a coarse clock, in steps of some milliseconds: that can only deny early, so a burst has to cover a few
//! steps.

use crate::abi::drop::Limit;

/// How often a charge is tried against other CPUs, before it is denied.
pub const TRIES: usize = 4;

/// The tat after one more packet; None if the packet is over the limit.
#[inline(always)]
pub fn admit(tat: u64, now: u64, limit: Limit) -> Option<u64> {
    let base = if tat > now { tat } else { now };
    if base - now <= limit.tolerance { Some(base.saturating_add(limit.t)) } else { None }
}

/// A tat that others charge at the same time.
pub trait Cell {
    /// What it holds.
    fn load(&self) -> u64;

    /// Sets it to `new` if it holds `old`. Gives what it held.
    fn exchange(&self, old: u64, new: u64) -> u64;
}

/// What came of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Within the limit.
    Admitted,
    /// Over the limit. No cell was written.
    Denied,
    /// Others were quicker, each time: denied, since the limit comes first.
    Contended,
}

/// Charges a cell with one packet.
#[inline(always)]
pub fn charge(cell: &impl Cell, now: u64, limit: Limit) -> Charge {
    let mut tat = cell.load();
    for _ in 0..TRIES {
        let Some(new) = admit(tat, now, limit) else { return Charge::Denied };
        let held = cell.exchange(tat, new);
        if held == tat {
            return Charge::Admitted;
        }
        tat = held;
    }
    Charge::Contended
}

#[cfg(test)]
pub(crate) mod tests;
