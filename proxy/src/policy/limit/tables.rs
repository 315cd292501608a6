//! Which tables there are: a rule's is kept from generation to generation while what its counts mean stays the same.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use super::sliding::Parts;
use super::store::{self, Counts, Store};
use super::wait::WaitingRoom;
use crate::config::raw::RateLimit;
use crate::config::value::{Expression, KeyPart, LimitAlgorithm, Matching};

/// The tables of a process: one of it builds every generation.
pub struct Tables {
    kept: Mutex<HashMap<String, Vec<Kept>>>,
    secret: [u8; 16],
    /// The Unix time at which the monotonic clock was 0, as it was told when the process began.
    epoch: Duration,
}

struct Kept {
    settings: Settings,
    /// Generations own it: with the last one that has the rule, it goes.
    table: Weak<Table>,
}

/// What a table's counts mean.
#[derive(Clone, PartialEq)]
struct Settings {
    matching: Option<Matching>,
    when: Option<Expression>,
    algorithm: LimitAlgorithm,
    limit: u64,
    window: Duration,
    burst: u64,
    key: Vec<KeyPart>,
    ipv4_prefix: u8,
    ipv6_prefix: u8,
    keys_max: u64,
}

/// One rule's.
pub(in crate::policy) struct Table {
    pub(super) cells: Cells,
    pub(super) room: Arc<WaitingRoom>,
    /// Denials of clients, if the rule has a kernel tier.
    denials: OnceLock<Store<AtomicU64>>,
    /// Clients over that tier which the kernel was not given, because a proxy named them.
    pub(in crate::policy) unpromoted: AtomicU64,
}

/// By what a key's state is.
pub(super) enum Cells {
    Words(Store<AtomicU64>),
    Parts(Store<Parts>),
}

impl Default for Tables {
    /// For documents that serve nobody.
    fn default() -> Self {
        Self::new([0; 16], Duration::ZERO)
    }
}

impl Tables {
    /// None yet. `secret` keys their hashes; `epoch` is the Unix time at the monotonic clock's origin.
    pub fn new(secret: [u8; 16], epoch: Duration) -> Self {
        Self { kept: Mutex::default(), secret, epoch }
    }

    pub(in crate::policy) fn secret(&self) -> [u8; 16] {
        self.secret
    }

    pub(super) fn epoch(&self) -> Duration {
        self.epoch
    }

    /// The rule's table, as it was left if an earlier generation had it.
    pub(super) fn table(&self, rule: &RateLimit) -> Arc<Table> {
        let settings = Settings::of(rule);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, tables| {
            tables.retain(|kept| kept.table.strong_count() > 0);
            !tables.is_empty()
        });
        let tables = kept.entry(rule.name.clone()).or_default();
        let found = tables.iter().filter(|kept| kept.settings == settings).find_map(|kept| kept.table.upgrade());
        found.unwrap_or_else(|| {
            let table = Arc::new(Table::new(rule));
            tables.push(Kept { settings, table: Arc::downgrade(&table) });
            table
        })
    }
}

impl Settings {
    fn of(rule: &RateLimit) -> Self {
        Self {
            matching: rule.matching.clone(),
            when: rule.when.clone(),
            algorithm: rule.algorithm,
            limit: rule.limit,
            window: rule.window,
            burst: rule.burst,
            key: rule.key.clone(),
            ipv4_prefix: rule.ipv4_prefix,
            ipv6_prefix: rule.ipv6_prefix,
            keys_max: rule.keys_max,
        }
    }
}

impl Table {
    fn new(rule: &RateLimit) -> Self {
        let cells = match rule.algorithm {
            LimitAlgorithm::SlidingWindow => Cells::Parts(Store::new(rule.keys_max)),
            _ => Cells::Words(Store::new(rule.keys_max)),
        };
        Self { cells, room: Arc::default(), denials: OnceLock::new(), unpromoted: AtomicU64::new(0) }
    }

    /// The denials of `keys` clients.
    pub(in crate::policy) fn denials(&self, keys: u64) -> &Store<AtomicU64> {
        self.denials.get_or_init(|| Store::new(keys))
    }

    pub(super) fn counts(&self) -> &Counts {
        match &self.cells {
            Cells::Words(store) => store.counts(),
            Cells::Parts(store) => store.counts(),
        }
    }
}

/// Octets of the rule's table.
pub fn bytes(rule: &RateLimit) -> u64 {
    match rule.algorithm {
        LimitAlgorithm::SlidingWindow => store::bytes::<Parts>(rule.keys_max),
        _ => store::bytes::<AtomicU64>(rule.keys_max),
    }
}
