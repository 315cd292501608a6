//! Flows: every TCP connection of weir, what the kernel knows of it and what weir made of it.

mod feed;
mod filter;
mod flow;
mod hub;
mod shown;
pub mod source;
mod switch;
mod table;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use weir_common::abi::flow::Kind as EventKind;

use self::flow::{Figures, Flow, Life, Moment};
use self::hub::Hub;
use self::source::Kind;
use self::switch::Switch;
use self::table::{Bounds, Table, Told};
use super::Clock;
use super::performance::PerformanceMode;
use crate::base::Instant;
use crate::config::raw;
use crate::trace::flow::{Notes, Wanted};

pub(super) use feed::Feed;
pub(super) use filter::{BadValue, Filter, KEYS};
pub(super) use hub::Wish;
pub(super) use shown::Listed;
use source::FlowSource;
pub(super) use table::Sums;

/// How often notes and events are taken.
const TURN: Duration = Duration::from_millis(10);
/// How often open flows are looked at while somebody watches.
const LOOK: Duration = Duration::from_secs(1);
/// How long a list that was asked for counts as somebody who watches.
const LISTED: Duration = Duration::from_secs(10);

/// What flows are made of.
pub(super) struct Parts {
    pub(super) node_id: Arc<str>,
    pub(super) clock: Clock,
    pub(super) notes: Arc<Notes>,
    pub(super) source: Arc<dyn FlowSource>,
    pub(super) mode: Arc<PerformanceMode>,
    /// The bounds of the configuration in force.
    pub(super) limits: Box<dyn Fn() -> Limits + Send + Sync>,
    /// Notes that workers could not queue.
    pub(super) notes_lost: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Bounds of the table and of its readers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Limits {
    table: Bounds,
    readers_max: usize,
}

impl From<&raw::Flows> for Limits {
    fn from(raw: &raw::Flows) -> Self {
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let table = Bounds { open_max: count(raw.open_max), closed_max: count(raw.closed_max) };
        Self { table, readers_max: count(raw.readers_max) }
    }
}

/// The flow table and its readers.
pub(super) struct Flows {
    parts: Parts,
    table: Mutex<Table>,
    hub: Arc<Hub>,
    /// When a list was last asked for.
    listed_ns: AtomicU64,
    counts: watch::Sender<Counts>,
}

/// Which flows a list holds.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) filter: Filter,
    /// Open ones (true), closed ones (false), or both.
    pub(super) open: Option<bool>,
    pub(super) limit: usize,
    /// Only flows older than this one.
    pub(super) cursor: Option<u64>,
}

/// Some flows, newest first.
pub(super) struct Page {
    pub(super) flows: Vec<Listed>,
    /// Where the next page begins; none: this was the last.
    pub(super) cursor: Option<u64>,
    /// All open flows, whatever was asked for.
    pub(super) open: usize,
    pub(super) source: Kind,
}

/// Numbers for stats and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    pub(super) open: usize,
    /// Closed ones that are kept.
    pub(super) closed: usize,
    pub(super) readers: usize,
    pub(super) reader_lost: u64,
    pub(super) readers_refused: u64,
    pub(super) sums: Sums,
}

/// What the task remembers from turn to turn.
struct Turns {
    flow_programs: Switch,
    packet_programs: Switch,
    looked: Instant,
    lost: Lost,
}

/// Losses that readers have been told of.
#[derive(Default)]
struct Lost {
    seen: [u64; 3],
    since_s: u64,
}

impl Flows {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let table = Mutex::new(Table::new((parts.limits)().table));
        let hub = Hub::new(Arc::clone(&parts.node_id), parts.clock, unix_ns());
        Arc::new(Self { parts, table, hub, listed_ns: AtomicU64::new(0), counts: watch::Sender::default() })
    }

    /// Works until the runtime ends.
    pub(super) async fn run(self: Arc<Self>) {
        let mut turns = self.begin();
        let mut steps = tokio::time::interval(TURN);
        steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            steps.tick().await;
            self.turn(&mut turns);
        }
    }

    /// A new reader; none if there are as many as there may be.
    pub(super) fn watch(&self, wish: Wish) -> Option<Feed> {
        let now = self.now();
        self.tell_status(now.at);
        let feed = self.hub.join(wish, (self.parts.limits)().readers_max, now)?;
        // From its first octet on, the reader learns what requests come to.
        self.want(self.parts.mode.is_enabled(), true, now.at);
        Some(feed)
    }

    /// What the API lists. Figures of flows that are still open are read as they stand.
    pub(super) fn list(&self, ask: &Ask) -> Page {
        self.listed_ns.store(self.now().at.nanos(), Ordering::Relaxed);
        let (numbers, more) = self.choose(ask);
        let mut table = self.lock();
        let cookies: Vec<u64> = numbers.iter().filter_map(|&number| table.get(number)).map(|f| f.cookie).collect();
        for cookie in cookies {
            if let Some(record) = self.parts.source.record(cookie) {
                table.learned(cookie, Figures::Record(record), self.now());
            }
        }
        let shown = numbers.iter().filter_map(|&number| table.get(number));
        Page {
            flows: shown.map(|flow| Listed::of(flow, &self.parts.node_id)).collect(),
            cursor: numbers.last().copied().filter(|_| more),
            open: table.sizes().0,
            source: self.parts.source.kind(),
        }
    }

    /// Numbers of the flows of a page, and whether more follow.
    fn choose(&self, ask: &Ask) -> (Vec<u64>, bool) {
        let wanted = |flow: &&Flow| {
            let is_open = !matches!(flow.life, Life::Closed(_));
            let before = ask.cursor.is_none_or(|cursor| flow.number < cursor);
            before && ask.open.is_none_or(|open| open == is_open) && ask.filter.matches(&flow.subject())
        };
        let table = self.lock();
        let mut numbers: Vec<u64> = table.newest().filter(wanted).map(|flow| flow.number).take(ask.limit + 1).collect();
        let more = numbers.len() > ask.limit;
        numbers.truncate(ask.limit);
        (numbers, more)
    }

    /// How they stood a moment ago: no lock of the table's is waited for.
    pub(super) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    fn count(&self) -> Counts {
        let (readers, reader_lost, readers_refused) = self.hub.counts();
        let table = self.lock();
        let (open, closed) = table.sizes();
        Counts { open, closed, readers, reader_lost, readers_refused, sums: table.sums() }
    }

    fn begin(&self) -> Turns {
        let (of_flows, of_packets) = (Arc::clone(&self.parts.source), Arc::clone(&self.parts.source));
        Turns {
            flow_programs: Switch::new("flow programs", move |on| of_flows.enable(on)),
            packet_programs: Switch::new("packet counters", move |on| of_packets.count_packets(on)),
            looked: (self.parts.clock)(),
            lost: Lost { since_s: unix_ns() / 1_000_000_000, ..Lost::default() },
        }
    }

    fn turn(&self, turns: &mut Turns) {
        let now = self.now();
        let enabled = self.parts.mode.is_enabled();
        let watched = enabled && self.hub.is_watched(now.at);
        self.want(enabled, watched, now.at);
        turns.flow_programs.follow(enabled, now.at);
        if turns.packet_programs.follow(watched, now.at) == Some(false) {
            self.lock().uncounted();
        }
        if !enabled {
            return self.rest();
        }
        let looks = now.at.since(turns.looked) >= LOOK;
        let mut told = self.take(now, looks);
        if looks {
            turns.looked = now.at;
            self.counts.send_replace(self.count());
            if watched {
                self.look(turns.packet_programs.on_since(), now);
                told.extend(self.lock().changed());
            }
        }
        if watched {
            self.publish(&told, now.at);
            if looks {
                self.tell_losses(&mut turns.lost, now);
                self.tell_status(now.at);
            }
        }
        self.lock().trim();
    }

    /// Says to the workers what there is to tell.
    fn want(&self, enabled: bool, watched: bool, now: Instant) {
        let listed = Instant::from_nanos(self.listed_ns.load(Ordering::Relaxed));
        let looked_at = watched || (listed.nanos() != 0 && now.since(listed) < LISTED);
        self.parts.notes.want(Wanted {
            connections: enabled,
            requests: enabled && looked_at,
            tcp_info: enabled && self.parts.source.kind() != Kind::SockOps,
        });
    }

    /// Performance mode: streams end, nothing is known, and what still comes is not looked at.
    fn rest(&self) {
        self.hub.close();
        self.lock().clear();
        self.counts.send_replace(self.count());
        while self.parts.notes.take().is_some() {}
    }

    /// Takes what workers and the kernel tell; gives what is worth telling.
    fn take(&self, now: Moment, looks: bool) -> Vec<Told> {
        let source = &self.parts.source;
        let mut table = self.lock();
        let mut told: Vec<Told> =
            std::iter::from_fn(|| self.parts.notes.take()).filter_map(|note| table.note(note, now)).collect();
        source.drain(&mut |event, record| {
            if let (Some(EventKind::Close), Some(record)) = (EventKind::of(event.kind), record) {
                told.extend(table.kernel_closed(event.cookie, *record, now));
            }
        });
        if source.kind() == Kind::None {
            told.extend(table.kernel_is_silent(now));
        }
        if looks {
            table.bound((self.parts.limits)().table);
            told.extend(table.tick(now, |cookie| source.record(cookie).is_some()));
        }
        told
    }

    /// Reads how open flows stand, by the packet counters too while they count. The table is not held meanwhile: there may be many.
    fn look(&self, counted_since: Option<Instant>, now: Moment) {
        let source = &self.parts.source;
        let cookies = self.lock().cookies();
        let figures = |&cookie: &u64| {
            let record = source.record(cookie).map(Figures::Record);
            let wire = counted_since.and_then(|since| Some(Figures::Wire { wire: source.packets(cookie)?, since }));
            [record, wire].into_iter().flatten().map(move |figures| (cookie, figures))
        };
        let learned: Vec<(u64, Figures)> = cookies.iter().flat_map(figures).collect();
        let mut table = self.lock();
        learned.into_iter().for_each(|(cookie, figures)| table.learned(cookie, figures, now));
    }

    fn publish(&self, told: &[Told], now: Instant) {
        let table = self.lock();
        for told in told {
            let (kind, number) = match *told {
                Told::Flow(number) => ("flow", number),
                Told::End(number) => ("flow_end", number),
            };
            if let Some(flow) = table.get(number) {
                let shown = shown::Wiretapped::of(flow, &self.parts.node_id);
                self.hub.publish(kind, Some(flow.subject()), &shown, now);
            }
        }
    }

    /// Tells readers what this node has lost since it last told.
    fn tell_losses(&self, told: &mut Lost, now: Moment) {
        let refused = self.lock().refused();
        let lost = [("flow", (self.parts.notes_lost)()), ("kernel_ring", self.parts.source.lost()), ("table", refused)];
        for ((source, total), seen) in lost.into_iter().zip(&mut told.seen) {
            let count = total.saturating_sub(*seen);
            *seen = total;
            if count > 0 {
                let node_id = &*self.parts.node_id;
                let lost = json!({
                    "node_id": node_id, "source": source, "scope": "node", "count": count, "since": told.since_s,
                });
                self.hub.publish("lost", None, &lost, now.at);
            }
        }
        told.since_s = now.unix_ns / 1_000_000_000;
    }

    fn tell_status(&self, now: Instant) {
        let (state, error) = match self.parts.source.kind() {
            Kind::SockOps => ("up", None),
            Kind::Tracepoint => ("degraded", Some("no cgroup2: round trips and retransmissions are asked of TCP_INFO")),
            Kind::None => ("degraded", Some("the flow programs are not attached: TCP_INFO tells what it can")),
        };
        self.hub.tell_status(state, error, now);
    }

    fn now(&self) -> Moment {
        Moment { at: (self.parts.clock)(), unix_ns: unix_ns() }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
