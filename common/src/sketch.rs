//! A count-min sketch of GCRA cells: limits for any number of keys in two rows of fixed size. Nothing is inserted or
//! evicted, so nobody gains by sending many keys; keys that share both cells share a limit, so it errs only towards
//! denial.

use crate::abi::Address;
use crate::abi::drop::{Limit, ROW_CELLS};
use crate::gcra::{Cell, Charge, TRIES, admit};

const _: () = assert!(ROW_CELLS == 1 << 16, "a place is the top 16 bits of a hash");

/// Where a row has a key. The seed is secret, so nobody can choose keys that meet.
#[inline(always)]
pub fn place(key: Address, seed: u64) -> u32 {
    let [a, b, c, d] = key.words();
    let high = u64::from(a) << 32 | u64::from(b);
    let low = u64::from(c) << 32 | u64::from(d);
    let mut hash = (low ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 32 ^ high).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 29).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash >> 48) as u32
}

/// Charges a key's two cells with one packet. The smaller tat is the estimate.
///
/// The larger cell is raised first, and only then the smaller exchanged, by which a packet is admitted. So whoever
/// finds the smaller as it was also finds every earlier charge of the key in both.
#[inline(always)]
pub fn charge<C: Cell>(cells: &[C; 2], now: u64, limit: Limit) -> Charge {
    for _ in 0..TRIES {
        let (first, second) = (cells[0].load(), cells[1].load());
        let (low, tat, high) =
            if second < first { (&cells[1], second, &cells[0]) } else { (&cells[0], first, &cells[1]) };
        let Some(new) = admit(tat, now, limit) else { return Charge::Denied };
        if raise(high, new) && low.exchange(tat, new) == tat {
            return Charge::Admitted;
        }
    }
    Charge::Contended
}

/// Makes a cell at least `new`; false if others were quicker, each time.
#[inline(always)]
fn raise(cell: &impl Cell, new: u64) -> bool {
    let mut tat = cell.load();
    for _ in 0..TRIES {
        if tat >= new {
            return true;
        }
        let held = cell.exchange(tat, new);
        if held == tat {
            return true;
        }
        tat = held;
    }
    false
}

#[cfg(test)]
mod tests;
