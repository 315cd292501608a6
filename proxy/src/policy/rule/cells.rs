//! Counters per rule and worker: dense by the rule's slot in a generation, kept by kind and name across generations.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::metric::Counter;

/// One rule's counters on one worker.
#[derive(Default, Debug)]
#[repr(align(128))]
pub struct RuleCounters {
    /// Requests that it was asked about.
    pub evaluated: Counter,
    /// Those that it matched.
    pub matched: Counter,
    /// Those that it refused.
    pub denied: Counter,
    /// Those that it would have refused, had it not been a shadow.
    pub shadow: Counter,
    /// Those for which its expression failed.
    pub errors: Counter,
    /// Times that a bound of its own was met: a full table, a full queue.
    pub limits_hit: Counter,
}

/// A worker's view of one kind's rules in one generation.
#[derive(Clone, Debug)]
pub struct RuleCells {
    slots: Arc<[Arc<RuleCounters>]>,
    /// Of a slot that the generation does not have, which no caller asks for.
    none: Arc<RuleCounters>,
}

impl RuleCells {
    /// The counters of the rule at `slot`.
    pub fn slot(&self, slot: usize) -> &RuleCounters {
        self.slots.get(slot).unwrap_or(&self.none)
    }
}

/// What one rule has counted over all workers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuleTotals {
    /// The table it stands in: `rate_limit`.
    pub kind: &'static str,
    /// Its name.
    pub rule: String,
    /// See [`RuleCounters`].
    pub evaluated: u64,
    /// See [`RuleCounters`].
    pub matched: u64,
    /// See [`RuleCounters`].
    pub denied: u64,
    /// See [`RuleCounters`].
    pub shadow: u64,
    /// See [`RuleCounters`].
    pub errors: u64,
    /// See [`RuleCounters`].
    pub limits_hit: u64,
}

/// By kind and name: the counters of each worker.
type Named = HashMap<(&'static str, String), Vec<Arc<RuleCounters>>>;

/// All workers' counters of all rules, by kind and name. Locked when a generation is made and when someone looks, never
/// by a worker.
pub struct RuleTable {
    workers: usize,
    named: Mutex<Named>,
}

impl RuleTable {
    /// A table for so many workers.
    pub fn new(workers: usize) -> Self {
        Self { workers, named: Mutex::default() }
    }

    /// The cells of `kind` in a new generation, one view per worker, whose slots are `names` in order. A name that an
    /// earlier generation had keeps its counts; names that no generation in use has are forgotten.
    pub fn generation<'a>(&self, kind: &'static str, names: impl Iterator<Item = &'a str> + Clone) -> Vec<RuleCells> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: std::collections::HashSet<&str> = names.clone().collect();
        named.retain(|(other, name), cells| {
            *other != kind || wanted.contains(name.as_str()) || cells.iter().any(|cell| Arc::strong_count(cell) > 1)
        });
        let mut slots: Vec<Vec<Arc<RuleCounters>>> = vec![Vec::new(); self.workers];
        for name in names {
            let new = || (0..self.workers).map(|_| Arc::default()).collect();
            let cells = named.entry((kind, name.to_owned())).or_insert_with(new);
            slots.iter_mut().zip(cells.iter()).for_each(|(worker, cell)| worker.push(Arc::clone(cell)));
        }
        slots.into_iter().map(|slots| RuleCells { slots: slots.into(), none: Arc::default() }).collect()
    }

    /// What each rule has counted, by kind and name.
    pub fn totals(&self) -> Vec<RuleTotals> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cells: Vec<_> = named.iter().map(|(key, cells)| (key.clone(), cells.clone())).collect();
        drop(named);
        cells.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        cells.into_iter().map(|((kind, rule), cells)| totals_of(kind, rule, &cells)).collect()
    }
}

fn totals_of(kind: &'static str, rule: String, cells: &[Arc<RuleCounters>]) -> RuleTotals {
    let mut totals = RuleTotals { kind, rule, ..RuleTotals::default() };
    for worker in cells {
        totals.evaluated += worker.evaluated.value();
        totals.matched += worker.matched.value();
        totals.denied += worker.denied.value();
        totals.shadow += worker.shadow.value();
        totals.errors += worker.errors.value();
        totals.limits_hit += worker.limits_hit.value();
    }
    totals
}
