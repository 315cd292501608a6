//! Whether a CPU meets so many new sources that remembering them would only evict the real ones.

use crate::abi::drop::Cpu;

/// What the counts are per, and how long pressure lasts.
pub const SECOND: u64 = 1_000_000_000;

/// Counts one new source. True if it should not be remembered: more than `max` came within a second, up to a second
/// ago.
#[inline(always)]
pub fn met(cpu: &mut Cpu, now: u64, max: u64) -> bool {
    if now.wrapping_sub(cpu.fresh_since) >= SECOND {
        cpu.fresh_since = now;
        cpu.fresh = 0;
    }
    cpu.fresh += 1;
    if cpu.fresh > max {
        let from = if cpu.pressed_until > now { cpu.pressed_until } else { now };
        cpu.pressed_ns = cpu.pressed_ns.wrapping_add((now + SECOND).wrapping_sub(from));
        cpu.pressed_until = now + SECOND;
    }
    now < cpu.pressed_until
}

/// Counts one event. True if it may be put into the ring: at most `max` within a second.
#[inline(always)]
pub fn sampled(cpu: &mut Cpu, now: u64, max: u64) -> bool {
    if now.wrapping_sub(cpu.sampled_since) >= SECOND {
        cpu.sampled_since = now;
        cpu.sampled = 0;
    }
    let take = cpu.sampled < max;
    cpu.sampled += u64::from(take);
    take
}

#[cfg(test)]
mod tests;
