//! The verdict's tables as ordinary maps: what the kernel's maps are compared with.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::vec::Vec;

use crate::abi::drop::{Cpu, Denied, ROW_CELLS};
use crate::abi::{Address, Endpoint};
use crate::verdict::{Entry, Sketch, Tables};
use crate::{gcra, pressure};

/// Tables of one thread, for one CPU. Sources are remembered without end, and never evicted.
pub struct Ordinary {
    /// Ports of public listeners.
    pub ports: HashSet<u16>,
    /// Public listeners.
    pub scope: HashSet<Endpoint>,
    /// The allow set.
    pub allow: Vec<Prefix>,
    /// Entries by source.
    pub deny: HashMap<Address, Held<Denied>>,
    /// Banned prefixes and their rules.
    pub bans: Vec<(Prefix, u32)>,
    /// Sources that are remembered.
    pub sources: RefCell<HashMap<Address, Held<u64>>>,
    /// Until when sources are known.
    pub known: HashMap<Address, u64>,
    /// What the CPU remembers.
    pub cpu: RefCell<Cpu>,
    total: Held<u64>,
    parents: [Vec<Held<u64>>; 2],
    unremembered: [Vec<Held<u64>>; 2],
}

/// A value of a table.
#[derive(Clone, Default)]
pub struct Held<T: Copy>(Rc<Cell<T>>);

impl<T: Copy> Held<T> {
    /// A value.
    pub fn new(value: T) -> Self {
        Self(Rc::new(Cell::new(value)))
    }

    /// What it is now.
    pub fn value(&self) -> T {
        self.0.get()
    }
}

/// A prefix; bits within all 128.
#[derive(Clone, Copy, Debug)]
pub struct Prefix {
    /// Its address.
    pub address: Address,
    /// How many of its bits count.
    pub bits: u32,
}

impl Prefix {
    fn holds(&self, address: Address) -> bool {
        let mask = Address::mask(self.bits);
        address.masked(mask) == self.address.masked(mask)
    }
}

impl Default for Ordinary {
    fn default() -> Self {
        let row = || (0..ROW_CELLS).map(|_| Held::default()).collect();
        Self {
            ports: HashSet::new(),
            scope: HashSet::new(),
            allow: Vec::new(),
            deny: HashMap::new(),
            bans: Vec::new(),
            sources: RefCell::default(),
            known: HashMap::new(),
            cpu: RefCell::default(),
            total: Held::default(),
            parents: [row(), row()],
            unremembered: [row(), row()],
        }
    }
}

impl gcra::Cell for Held<u64> {
    fn load(&self) -> u64 {
        self.0.get()
    }

    fn exchange(&self, old: u64, new: u64) -> u64 {
        let held = self.0.get();
        if held == old {
            self.0.set(new);
        }
        held
    }
}

impl Entry for Held<Denied> {
    fn expires_ns(&self) -> u64 {
        self.0.get().expires_ns
    }

    fn hit(&self, bytes: u64) -> u32 {
        let entry = self.0.get();
        self.0.set(Denied { packets: entry.packets + 1, bytes: entry.bytes + bytes, ..entry });
        entry.rule
    }
}

impl Tables for Ordinary {
    type Cell = Held<u64>;
    type Entry = Held<Denied>;

    fn port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    fn listener(&self, endpoint: &Endpoint) -> bool {
        self.scope.contains(endpoint)
    }

    fn allowed(&self, src: Address) -> bool {
        self.allow.iter().any(|prefix| prefix.holds(src))
    }

    fn denied(&self, source: &Address) -> Option<Held<Denied>> {
        self.deny.get(source).cloned()
    }

    fn banned(&self, src: Address) -> Option<u32> {
        let found = self.bans.iter().filter(|(prefix, _)| prefix.holds(src));
        found.max_by_key(|(prefix, _)| prefix.bits).map(|(_, rule)| *rule)
    }

    fn source(&self, source: &Address) -> Option<Held<u64>> {
        self.sources.borrow().get(source).cloned()
    }

    fn remember(&self, source: &Address, tat: u64) -> bool {
        self.sources.borrow_mut().insert(*source, Held::new(tat)).is_none()
    }

    fn pressed(&self, now: u64, max: u64) -> bool {
        pressure::met(&mut self.cpu.borrow_mut(), now, max)
    }

    fn known(&self, source: &Address) -> Option<u64> {
        self.known.get(source).copied()
    }

    fn cells(&self, sketch: Sketch, places: [u32; 2]) -> Option<[Held<u64>; 2]> {
        let rows = match sketch {
            Sketch::Parent => &self.parents,
            Sketch::Source => &self.unremembered,
        };
        let cell = |row: usize| rows[row].get(places[row] as usize).cloned();
        Some([cell(0)?, cell(1)?])
    }

    fn total(&self) -> Option<Held<u64>> {
        Some(self.total.clone())
    }
}
