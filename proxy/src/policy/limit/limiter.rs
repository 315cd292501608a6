//! One rule's limiter: its key, its algorithm, and the table that both are for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::algorithm::{Algorithm, Charge, Standing};
use super::bucket::Bucket;
use super::fixed::Fixed;
use super::key::{Key, KeyPlan};
use super::sliding::Sliding;
use super::store::{Now, Store};
use super::tables::{Cells, Table, Tables};
use crate::base::Instant;
use crate::config::raw::RateLimit;
use crate::config::value::{LimitAlgorithm, OnFull};
use crate::policy::expr::Facts;
use crate::policy::rule::RuleCounters;

/// When a key that found no room in the table is asked to come again: by then a slot may have fallen free.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// See the module. All generations and workers that have the rule charge the same table.
pub struct Limiter {
    plan: KeyPlan,
    arithmetic: Arithmetic,
    table: Arc<Table>,
    limit: u64,
    idle: u64,
    on_full: OnFull,
}

enum Arithmetic {
    Bucket(Bucket),
    Fixed(Fixed),
    Sliding(Sliding),
}

/// A table's counts, for metrics and status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occupancy {
    /// Keys it holds.
    pub keys: u64,
    /// Keys that made room for others before they were idle.
    pub evicted: u64,
    /// Clients over the rule's kernel tier that were not given to the kernel.
    pub unpromoted: u64,
    /// Requests that wait.
    pub waiting: u32,
}

impl Limiter {
    /// The limiter of a checked rule, on the table that it had before, if it had one.
    pub fn build(rule: &RateLimit, tables: &Tables) -> Self {
        let table = tables.table(rule);
        let idle = rule.idle.unwrap_or_else(|| Duration::from_secs(15 * 60).max(rule.window * 2));
        Self {
            plan: KeyPlan::new(&rule.key, rule.ipv4_prefix, rule.ipv6_prefix, tables.secret()),
            arithmetic: Arithmetic::of(rule, &table, tables),
            table,
            limit: rule.limit,
            idle: nanos(idle),
            on_full: rule.on_full,
        }
    }

    /// The request's key.
    pub fn key(&self, facts: &Facts<'_>) -> Key {
        self.plan.key(facts)
    }

    /// Charges one request to a key. Bounds of its own that it meets are counted with the rule's.
    pub fn charge(&self, key: Key, now: Instant, counters: &RuleCounters) -> Charge {
        let now = Now { ns: now.nanos(), idle: self.idle };
        let charged = match (&self.arithmetic, &self.table.cells) {
            (Arithmetic::Bucket(bucket), Cells::Words(store)) => self.charge_in(bucket, store, key, now, counters),
            (Arithmetic::Fixed(fixed), Cells::Words(store)) => self.charge_in(fixed, store, key, now, counters),
            (Arithmetic::Sliding(sliding), Cells::Parts(store)) => self.charge_in(sliding, store, key, now, counters),
            // A table is made by the same algorithm as its arithmetic.
            _ => None,
        };
        let charge = charged.unwrap_or_else(|| self.uncounted());
        if let Charge::Denied { full: true, .. } = charge {
            counters.limits_hit.add(1);
        }
        charge
    }

    fn charge_in<A: Algorithm<Outcome = Charge>>(
        &self,
        algorithm: &A,
        store: &Store<A::Cell>,
        key: Key,
        now: Now,
        counters: &RuleCounters,
    ) -> Option<Charge> {
        store.charge(algorithm, key, now).or_else(|| match self.on_full {
            OnFull::Deny => None,
            OnFull::Allow => {
                counters.limits_hit.add(1);
                None
            }
            OnFull::Share => {
                counters.limits_hit.add(1);
                store.charge_common(algorithm, key, now)
            }
        })
    }

    /// What becomes of a request whose key has no cell.
    fn uncounted(&self) -> Charge {
        match self.on_full {
            OnFull::Deny => Charge::Denied { retry_after: FULL_RETRY_AFTER, full: true },
            _ => Charge::Admitted(Standing { remaining: self.limit, reset: Duration::ZERO }),
        }
    }

    pub(in crate::policy) fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// How its table fares.
    pub fn occupancy(&self) -> Occupancy {
        let counts = self.table.counts();
        let value = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Occupancy {
            keys: value(&counts.keys),
            evicted: value(&counts.evicted),
            unpromoted: value(&self.table.unpromoted),
            waiting: self.table.room.waiting(),
        }
    }
}

impl Arithmetic {
    fn of(rule: &RateLimit, table: &Table, tables: &Tables) -> Self {
        let (limit, window) = (rule.limit, nanos(rule.window));
        let burst = if rule.burst == 0 { limit } else { rule.burst };
        match rule.algorithm {
            LimitAlgorithm::TokenBucket => Self::Bucket(Bucket::token(limit, window, burst)),
            LimitAlgorithm::LeakyBucket => {
                Self::Bucket(Bucket::leaky(limit, window, burst, nanos(rule.delay_max), table.room.clone()))
            }
            LimitAlgorithm::FixedWindow => Self::Fixed(Fixed::new(limit, window, nanos(tables.epoch()))),
            LimitAlgorithm::SlidingWindow => Self::Sliding(Sliding::new(limit, window)),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
