//! All flows that are open, and the last ones that are closed. Values only: notes, events and the time come in, what
//! is worth telling comes out.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use weir_common::abi::flow::Flow as Record;

use super::flow::{Figures, Flow, Life, Moment};
use crate::trace::flow::{News, Note};

/// Ends that the kernel told before a worker named the connection: those of others, and those of a moment ago.
const ORPHANS_MAX: usize = 1024;
/// How long such an end is kept.
const ORPHAN_AGE: Duration = Duration::from_secs(5);
/// How long the kernel may take over the last octets of a connection that weir has closed.
const KERNEL_END: Duration = Duration::from_secs(120);
/// How long a worker may take to notice what the kernel has closed.
const WORKER_END: Duration = Duration::from_secs(5);
/// How long the event of a close may be under way after the record is gone.
const EVENT_LAG: Duration = Duration::from_secs(1);

/// How many flows are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    pub(super) open_max: usize,
    pub(super) closed_max: usize,
}

/// Something worth telling: the flow of this number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Flow(u64),
    End(u64),
}

/// Sums over all flows since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::control) struct Sums {
    /// Connections that found the table full.
    pub(in crate::control) refused: u64,
    pub(in crate::control) closed: u64,
    /// Packets as TCP's segments, as far as they are known: packet counters come and go, and a sum never falls.
    pub(in crate::control) packets: u64,
    /// Their octets.
    pub(in crate::control) bytes: u64,
}

impl Sums {
    fn with(self, flow: &Flow) -> Self {
        let packets = flow.segments().unwrap_or_default();
        Self {
            packets: self.packets + packets.packets_in + packets.packets_out,
            bytes: self.bytes + packets.bytes_in + packets.bytes_out,
            ..self
        }
    }
}

pub(super) struct Table {
    flows: BTreeMap<u64, Box<Flow>>,
    /// Numbers of those that are not closed, by cookie.
    open: HashMap<u64, u64>,
    /// Numbers of the closed ones, oldest first.
    closed: VecDeque<u64>,
    /// Numbers of those of which one word is still awaited.
    closing: BTreeSet<u64>,
    orphans: VecDeque<(u64, Record, Moment)>,
    next: u64,
    bounds: Bounds,
    sums: Sums,
}

impl Table {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            flows: BTreeMap::new(),
            open: HashMap::new(),
            closed: VecDeque::new(),
            closing: BTreeSet::new(),
            orphans: VecDeque::new(),
            next: 1,
            bounds,
            sums: Sums::default(),
        }
    }

    pub(super) fn bound(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Sums with what is known of open flows.
    pub(super) fn sums(&self) -> Sums {
        let open = self.open.values().filter_map(|number| self.flows.get(number));
        open.fold(self.sums, |sums, flow| sums.with(flow))
    }

    /// Connections that found the table full.
    pub(super) fn refused(&self) -> u64 {
        self.sums.refused
    }

    /// How many are open, and how many closed ones are kept.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.open.len(), self.closed.len())
    }

    /// All, newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Flow> {
        self.flows.values().rev().map(|flow| &**flow)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Flow> {
        self.flows.get(&number).map(|flow| &**flow)
    }

    /// Cookies of those that are not closed.
    pub(super) fn cookies(&self) -> Vec<u64> {
        self.open.keys().copied().collect()
    }

    /// Takes a worker's note.
    pub(super) fn note(&mut self, note: Note, now: Moment) -> Option<Told> {
        match note.news {
            News::Opened(opened) => self.opened(note.cookie, *opened, now.back_to(note.at)),
            News::Request(verdict) => {
                self.by_cookie(note.cookie)?.judged(*verdict);
                None
            }
            News::Sample(info) => {
                self.by_cookie(note.cookie)?.learned(Figures::Info(*info), now);
                None
            }
            News::Closed(closed) => {
                let flow = self.by_cookie(note.cookie)?;
                flow.let_go(*closed, now);
                let number = flow.number;
                self.awaiting(number, now)
            }
        }
    }

    fn opened(&mut self, cookie: u64, opened: crate::trace::flow::Opened, begun: Moment) -> Option<Told> {
        if self.open.len() >= self.bounds.open_max {
            self.sums.refused += 1;
            return None;
        }
        let mut flow = Flow::new(self.next, cookie, opened, begun);
        if let Some(at) = self.orphans.iter().position(|(orphan, ..)| *orphan == cookie)
            && let Some((_, record, closed)) = self.orphans.remove(at)
        {
            flow.kernel_closed(record, closed);
            self.closing.insert(flow.number);
        }
        let number = flow.number;
        self.next += 1;
        self.open.insert(cookie, number);
        self.flows.insert(number, Box::new(flow));
        Some(Told::Flow(number))
    }

    /// Takes the kernel's word that a connection is closed.
    pub(super) fn kernel_closed(&mut self, cookie: u64, record: Record, now: Moment) -> Option<Told> {
        let Some(flow) = self.by_cookie(cookie) else {
            if self.orphans.len() >= ORPHANS_MAX {
                self.orphans.pop_front();
            }
            self.orphans.push_back((cookie, record, now));
            return None;
        };
        flow.kernel_closed(record, now);
        let number = flow.number;
        self.awaiting(number, now)
    }

    /// Takes figures of an open flow.
    pub(super) fn learned(&mut self, cookie: u64, figures: Figures, now: Moment) {
        if let Some(flow) = self.by_cookie(cookie) {
            flow.learned(figures, now);
        }
    }

    /// Packets are counted no more: what is open is known by its segments again.
    pub(super) fn uncounted(&mut self) {
        for number in self.open.values() {
            if let Some(flow) = self.flows.get_mut(number) {
                flow.partial = false;
                flow.wire = None;
            }
        }
    }

    /// Flows of which readers have not been told how they stand.
    pub(super) fn changed(&mut self) -> Vec<Told> {
        let changed = |flow: &mut Box<Flow>| std::mem::take(&mut flow.changed).then_some(Told::Flow(flow.number));
        let numbers: Vec<u64> = self.open.values().copied().collect();
        numbers.iter().filter_map(|number| self.flows.get_mut(number).and_then(changed)).collect()
    }

    /// Closes flows whose awaited word will not come. `known`: whether the kernel half still has a record.
    pub(super) fn tick(&mut self, now: Moment, known: impl Fn(u64) -> bool) -> Vec<Told> {
        while self.orphans.front().is_some_and(|(.., since)| now.at.since(since.at) >= ORPHAN_AGE) {
            self.orphans.pop_front();
        }
        let flows = &self.flows;
        let hopeless = |number: &u64| {
            let Some(flow) = flows.get(number) else { return false };
            let Life::Closing(since) = flow.life else { return false };
            let waited = now.at.since(since);
            match flow.is_let_go() {
                true => waited >= KERNEL_END || (waited >= EVENT_LAG && !known(flow.cookie)),
                false => waited >= WORKER_END,
            }
        };
        let over: Vec<u64> = self.closing.iter().copied().filter(hopeless).collect();
        over.into_iter().map(|number| self.end(number, now)).collect()
    }

    /// Ends all flows that only wait for the kernel's word: it has none to say.
    pub(super) fn kernel_is_silent(&mut self, now: Moment) -> Vec<Told> {
        let flows = &self.flows;
        let over = |number: &u64| flows.get(number).is_some_and(|flow| flow.is_let_go());
        let over: Vec<u64> = self.closing.iter().copied().filter(over).collect();
        over.into_iter().map(|number| self.end(number, now)).collect()
    }

    /// Forgets everything but the sums.
    pub(super) fn clear(&mut self) {
        self.sums = self.sums();
        self.flows.clear();
        self.open.clear();
        self.closed.clear();
        self.closing.clear();
        self.orphans.clear();
    }

    /// Forgets the oldest closed flows beyond the bound, once what is worth telling of them is told.
    pub(super) fn trim(&mut self) {
        while self.closed.len() > self.bounds.closed_max {
            let oldest = self.closed.pop_front();
            oldest.and_then(|number| self.flows.remove(&number));
        }
    }

    fn by_cookie(&mut self, cookie: u64) -> Option<&mut Flow> {
        let number = self.open.get(&cookie)?;
        self.flows.get_mut(number).map(|flow| &mut **flow)
    }

    /// One word of its end has come: with the other it is over.
    fn awaiting(&mut self, number: u64, now: Moment) -> Option<Told> {
        if self.flows.get(&number).is_some_and(|flow| flow.is_over()) {
            return Some(self.end(number, now));
        }
        self.closing.insert(number);
        None
    }

    fn end(&mut self, number: u64, now: Moment) -> Told {
        self.closing.remove(&number);
        if let Some(flow) = self.flows.get_mut(&number) {
            let at = flow.record.as_ref().map(|record| record.close_ns).filter(|&ns| ns != 0);
            flow.life = Life::Closed(at.map_or(now, |ns| now.back_to(crate::base::Instant::from_nanos(ns))));
            self.open.remove(&flow.cookie);
            self.sums = self.sums.with(flow);
            self.sums.closed += 1;
            self.closed.push_back(number);
        }
        Told::End(number)
    }
}

#[cfg(test)]
mod tests;
