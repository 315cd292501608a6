//! Behaviour of the whole part: algorithms beside oracles, the table under pressure, what generations share.

use std::time::Duration;

use super::*;
use crate::base::Instant;
use crate::config::{Table as _, raw};
use crate::policy::rule::RuleCounters;

mod keys;
mod models;
mod pressure;
mod tables;
mod told;

const SECOND: u64 = 1_000_000_000;

/// A rule as a document would have it.
fn rule(text: &str) -> raw::RateLimit {
    raw::RateLimit::from_toml(&format!("name = \"a\"\n{text}")).unwrap_or_else(|problems| panic!("{problems}{text}"))
}

fn limiter(text: &str) -> Limiter {
    Limiter::build(&rule(text), &Tables::default())
}

/// The key of number `n`: spread over the sets as hashes are.
fn key(n: u64) -> Key {
    let mix =
        |n: u64| (n ^ n >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    Key { set: mix(n.wrapping_add(1)), tag: mix(!n).max(2) }
}

/// Charges at `ns`, past the clock's origin: a machine is never as young as that.
fn charge(limiter: &Limiter, key: Key, ns: u64) -> Charge {
    limiter.charge(key, at(ns), &RuleCounters::default())
}

fn at(ns: u64) -> Instant {
    Instant::from_nanos(100_000 * SECOND + ns)
}

fn admits(limiter: &Limiter, key: Key, ns: u64) -> bool {
    !matches!(charge(limiter, key, ns), Charge::Denied { .. })
}

/// How many of `tries` requests at once are admitted.
fn admitted(limiter: &Limiter, key: Key, ns: u64, tries: usize) -> usize {
    (0..tries).filter(|_| admits(limiter, key, ns)).count()
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}
