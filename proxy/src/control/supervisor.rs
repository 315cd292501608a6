//! The one task that decides for the process: signals, reloads, drains, and the tables of endpoints that workers get.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::live::Owner;
use super::port::{Loaded, Order, Outbox, Process};
use super::probe::{ProbeResult, Prober};
use super::resolver::{self, DnsUpdate, Resolver, Wanted};
use super::signal::Signal;
use super::{Clock, Facts};
use crate::config::raw::Document;
use crate::files::Log;
use crate::target::{Live, Report};

/// How long news is collected, and how soon a full mailbox is offered again what it did not take.
const TURN: Duration = Duration::from_millis(5);
/// How soon time is looked at where something ends by it.
const SOON: Duration = Duration::from_millis(100);
/// From one try to bind what is unbound to the next.
const BIND_AGAIN: Duration = Duration::from_secs(1);
/// Events of one kind taken in a turn, so that no kind starves the others.
const EVENTS_AT_ONCE: usize = 1024;

/// The configuration in force, and its endpoints as they stand.
#[derive(Clone)]
pub(super) struct Standing {
    pub(super) document: Arc<Document>,
    pub(super) logs: Arc<[Log]>,
    pub(super) live: Arc<Live>,
}

/// What the supervisor lets the API see.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) ejections: Arc<Ejections>,
}

impl Seen {
    /// What stands now.
    pub(super) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }
}

/// Ejections so far, and those refused.
#[derive(Default)]
pub(super) struct Ejections {
    pub(super) made: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// What the supervisor is made of.
pub(super) struct Parts<S> {
    pub(super) facts: Arc<Facts>,
    pub(super) clock: Clock,
    pub(super) process: Arc<dyn Process<S>>,
    pub(super) outboxes: Vec<Outbox<S>>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) prober: Prober,
}

/// What the supervisor listens to.
pub(super) struct Events {
    pub(super) dns: mpsc::Receiver<DnsUpdate>,
    pub(super) probes: mpsc::Receiver<ProbeResult>,
    pub(super) reports: mpsc::Receiver<Report>,
}

/// The way of facts about endpoints from the workers to control. A full queue loses them; the caller counts.
#[derive(Clone)]
pub struct Reports(pub(super) mpsc::Sender<Report>);

impl Reports {
    /// Queues a report. On `false` it is lost: count it under [`crate::base::metric::Queue::Outlier`].
    pub fn send(&self, report: Report) -> bool {
        self.0.try_send(report).is_ok()
    }
}

pub(super) struct Supervisor<S> {
    parts: Parts<S>,
    owner: Owner,
    standing: watch::Sender<Standing>,
    ejections: Arc<Ejections>,
    drain: Drain,
    /// Every worker has taken all its orders.
    delivered: bool,
}

/// What was learned since the last table.
#[derive(Default)]
struct News {
    dns: Vec<DnsUpdate>,
    probes: Vec<ProbeResult>,
    reports: Vec<Report>,
}

impl News {
    /// Waits for the first.
    async fn begin(&mut self, events: &mut Events) {
        tokio::select! {
            Some(update) = events.dns.recv() => self.dns.push(update),
            Some(result) = events.probes.recv() => self.probes.push(result),
            Some(report) = events.reports.recv() => self.reports.push(report),
        }
    }

    /// Takes what else is there.
    fn take_rest(&mut self, events: &mut Events) {
        self.dns.extend(std::iter::from_fn(|| events.dns.try_recv().ok()).take(EVENTS_AT_ONCE));
        self.probes.extend(std::iter::from_fn(|| events.probes.try_recv().ok()).take(EVENTS_AT_ONCE));
        self.reports.extend(std::iter::from_fn(|| events.reports.try_recv().ok()).take(EVENTS_AT_ONCE));
    }
}

/// How far a drain has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Drain {
    No,
    /// Not ready, still accepting, until then.
    Announced(tokio::time::Instant),
    /// The workers have been told.
    Begun,
}

impl<S: Send + Sync + 'static> Supervisor<S> {
    pub(super) fn new(parts: Parts<S>, first: Loaded<S>) -> (Self, Seen) {
        let owner = Owner::new(parts.facts.workers().len(), (parts.clock)());
        let standing =
            Standing { document: Arc::clone(&first.document), logs: Arc::default(), live: Arc::clone(owner.live()) };
        let (standing, seen) = watch::channel(standing);
        let ejections = Arc::<Ejections>::default();
        let seen = Seen { standing: seen, ejections: Arc::clone(&ejections) };
        let mut supervisor = Self { parts, owner, standing, ejections, drain: Drain::No, delivered: true };
        supervisor.adopt(first, true);
        (supervisor, seen)
    }

    pub(super) fn flips(&self) -> super::live::FlipTable {
        self.owner.flips()
    }

    /// Works until the runtime ends.
    pub(super) async fn run(mut self, mut signals: mpsc::Receiver<Signal>, mut events: Events) {
        let mut bind_at = tokio::time::Instant::now() + BIND_AGAIN;
        loop {
            let mut news = News::default();
            tokio::select! {
                Some(signal) = signals.recv() => self.obey(signal).await,
                () = news.begin(&mut events) => {
                    tokio::time::sleep(TURN).await;
                    news.take_rest(&mut events);
                }
                () = tokio::time::sleep(self.pause()) => {}
            }
            self.learn(news);
            self.go_on_draining();
            self.flush();
            if bind_at <= tokio::time::Instant::now() {
                bind_at = tokio::time::Instant::now() + BIND_AGAIN;
                self.bind_again();
            }
        }
    }

    /// How long nothing is to be done unless something happens.
    fn pause(&self) -> Duration {
        if !self.delivered {
            TURN
        } else if matches!(self.drain, Drain::Announced(_)) || self.owner.has_ejected() {
            SOON
        } else {
            BIND_AGAIN
        }
    }

    /// Makes one table of all that is new, so that a burst is one message per worker.
    fn learn(&mut self, news: News) {
        let now = (self.parts.clock)();
        let moved = !news.dns.is_empty();
        news.dns.into_iter().for_each(|update| self.owner.resolved(update));
        news.probes.iter().for_each(|result| self.owner.probed(result, now));
        news.reports.into_iter().for_each(|report| self.owner.reported(report, now));
        self.owner.tick(now);
        if let Some(live) = self.owner.publish(now) {
            self.publish(&live, moved);
        }
        let (made, refused) = self.owner.ejections();
        self.ejections.made.store(made, Ordering::Relaxed);
        self.ejections.refused.store(refused, Ordering::Relaxed);
    }

    /// Sends what the workers take. One that stalls holds up no other.
    fn flush(&mut self) {
        let left = self.parts.outboxes.iter_mut().filter_map(|outbox| (!outbox.flush()).then_some(())).count();
        self.delivered = left == 0;
    }

    fn publish(&mut self, live: &Arc<Live>, moved: bool) {
        self.standing.send_modify(|standing| standing.live = Arc::clone(live));
        if moved {
            self.parts.prober.follow(live);
        }
        self.parts.outboxes.iter_mut().for_each(|outbox| outbox.put(Order::Live(Arc::clone(live))));
    }

    /// Puts a configuration in force.
    fn adopt(&mut self, loaded: Loaded<S>, first: bool) {
        let now = (self.parts.clock)();
        let live = self.owner.adopt(&loaded.groups, first, now);
        self.parts.resolver.want(resolver::Settings::from(&loaded.document.resolver), wanted(&loaded.document, &live));
        self.parts.prober.follow(&live);
        for outbox in &mut self.parts.outboxes {
            outbox.put(Order::Snapshot(Arc::clone(&loaded.snapshot), Arc::clone(&live)));
        }
        self.flush();
        self.parts.facts.publish(loaded.generation, now);
        self.parts.facts.set_reload_refused(None);
        self.standing.send_replace(Standing { document: loaded.document, logs: loaded.logs.into(), live });
        tracing::info!(generation = loaded.generation, "configuration in force");
    }

    async fn obey(&mut self, signal: Signal) {
        tracing::info!(signal = signal.name(), "signal received");
        match signal {
            Signal::Reload if self.drain != Drain::No => {}
            Signal::Reload => {
                self.reload().await;
                self.reopen_logs();
            }
            Signal::ReopenLogs => self.reopen_logs(),
            Signal::Stop => self.stop(),
        }
    }

    /// A document that does not build changes nothing.
    async fn reload(&mut self) {
        let process = Arc::clone(&self.parts.process);
        match tokio::task::spawn_blocking(move || process.load()).await {
            Ok(Ok(loaded)) => self.adopt(loaded, false),
            Ok(Err(problems)) => {
                problems.iter().for_each(|problem| tracing::error!(%problem, "the configuration does not build"));
                let first = problems.iter().find(|problem| !problem.warning).map(ToString::to_string);
                self.parts.facts.set_reload_refused(Some(first.unwrap_or_else(|| "it does not build".to_owned())));
            }
            Err(panic) => {
                tracing::error!(%panic, "the reload failed");
                self.parts.facts.set_reload_refused(Some("the reload failed; see the log".to_owned()));
            }
        }
    }

    fn reopen_logs(&self) {
        super::log::reopen();
        for log in &*self.standing.borrow().logs {
            if !log.reopen() {
                tracing::warn!(log = %log.settings().name, "access log not reopened: its writer is too far behind");
            }
        }
    }

    /// The first signal drains, a second ends it now.
    fn stop(&mut self) {
        if self.drain != Drain::No {
            return self.order_drain((self.parts.clock)());
        }
        self.parts.facts.drain();
        let delay = self.standing.borrow().document.drain.delay;
        self.drain = Drain::Announced(tokio::time::Instant::now() + delay);
        self.go_on_draining();
    }

    /// Tells the workers, once the delay is over.
    fn go_on_draining(&mut self) {
        if let Drain::Announced(until) = self.drain
            && tokio::time::Instant::now() >= until
        {
            let timeout = self.standing.borrow().document.drain.timeout;
            self.order_drain((self.parts.clock)() + timeout);
        }
    }

    fn order_drain(&mut self, deadline: crate::base::Instant) {
        self.drain = Drain::Begun;
        self.parts.outboxes.iter_mut().for_each(|outbox| outbox.put(Order::Drain { deadline }));
        self.flush();
    }

    /// Has what is unbound tried again, off this task: binding may wait for a name service or a file system.
    fn bind_again(&self) {
        if self.drain == Drain::No && !self.parts.facts.unbound().is_empty() {
            let process = Arc::clone(&self.parts.process);
            drop(tokio::task::spawn_blocking(move || process.bind()));
        }
    }
}

/// The names of a configuration's targets, and who uses them.
fn wanted(document: &Document, live: &Live) -> Vec<Wanted> {
    let route_names: std::collections::HashMap<u32, &str> =
        document.routes.iter().map(|route| (route.id, route.name.as_str())).collect();
    let mut wanted: std::collections::BTreeMap<&str, Vec<String>> = std::collections::BTreeMap::new();
    for route in live.routes() {
        let groups = route.groups();
        for (target, name, _) in groups.names() {
            let route = route_names.get(&groups.route).copied().unwrap_or_default();
            wanted.entry(name).or_default().push(format!("{route}/{}", groups.targets[target].name));
        }
    }
    wanted.into_iter().map(|(name, used_by)| Wanted { hostname: name.into(), used_by }).collect()
}

#[cfg(test)]
mod tests;
