//! The one task that decides for the process: signals, reloads, drains, and the tables of endpoints that workers get.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::bans::BanList;
use super::geoip::GeoFiles;
use super::live::Owner;
use super::notify::Notify;
use super::port::{Adopted, Beside, Kept, Outbox, Process, Refusal};
use super::probe::{ProbeResult, Prober};
use super::resolver::{self, DnsUpdate, Resolver, Wanted};
use super::signal::Signal;
use super::upgrade::Phase;
use super::{Clock, Facts};
use crate::config::Document;
use crate::policy::ban::Bans;
use crate::policy::geoip::GeoIp;
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
    pub(super) adopted: Arc<Adopted>,
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
pub(super) struct Parts {
    pub(super) facts: Arc<Facts>,
    pub(super) clock: Clock,
    pub(super) process: Arc<dyn Process>,
    pub(super) resolver: Arc<Resolver>,
    pub(super) prober: Prober,
    pub(super) bans: Arc<BanList>,
    pub(super) geoip: Arc<GeoFiles>,
    pub(super) notify: Arc<Notify>,
    /// Asks for an upgrade.
    pub(super) upgrades: mpsc::Sender<()>,
}

/// What the supervisor listens to.
pub(super) struct Events {
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) dns: mpsc::Receiver<DnsUpdate>,
    pub(super) probes: mpsc::Receiver<ProbeResult>,
    pub(super) reports: mpsc::Receiver<Report>,
}

/// The way of facts about endpoints from the workers to control. A full queue loses them; the caller counts.
#[derive(Clone)]
pub struct Reports(mpsc::Sender<Report>);

/// Its other end, for [`super::Control::start`].
pub struct Reported(pub(super) mpsc::Receiver<Report>);

/// Facts about endpoints that may wait.
const REPORTS_MAX: usize = 4096;

impl Reports {
    /// Makes the way.
    pub fn channel() -> (Self, Reported) {
        let (sender, receiver) = mpsc::channel(REPORTS_MAX);
        (Self(sender), Reported(receiver))
    }

    /// Queues a report. On `false` it is lost: count it under [`crate::base::metric::Queue::Outlier`].
    pub fn send(&self, report: Report) -> bool {
        self.0.try_send(report).is_ok()
    }
}

pub(super) struct Supervisor {
    parts: Parts,
    outboxes: Vec<Outbox>,
    owner: Owner,
    standing: watch::Sender<Standing>,
    ejections: Arc<Ejections>,
    drain: Drain,
    /// What the workers were told last, and how often there had been tables by then.
    bans: (Arc<Bans>, u64),
    /// Every worker has taken all its orders.
    delivered: bool,
    /// How far this process is with giving itself to another one.
    phase: Phase,
    /// A reload was asked for meanwhile.
    reload_due: bool,
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

impl Supervisor {
    /// Puts the first configuration in force.
    pub(super) fn new(parts: Parts, first: Document) -> Result<(Self, Seen), Refusal> {
        let workers = parts.facts.workers().len();
        let mut owner = Owner::new(workers, (parts.clock)());
        let adopted = adopt(&parts, &mut owner, first, true)?;
        let standing = Standing { adopted: Arc::new(adopted), live: Arc::clone(owner.live()) };
        let (standing, standing_seen) = watch::channel(standing);
        let ejections = Arc::<Ejections>::default();
        let seen = Seen { standing: standing_seen, ejections: Arc::clone(&ejections) };
        let outboxes = (0..workers).map(|_| Outbox::default()).collect();
        let mut supervisor = Self {
            parts,
            outboxes,
            owner,
            standing,
            ejections,
            drain: Drain::No,
            bans: Default::default(),
            delivered: true,
            phase: Phase::default(),
            reload_due: false,
        };
        supervisor.follow_adopted();
        Ok((supervisor, seen))
    }

    pub(super) fn flips(&self) -> super::live::FlipTable {
        self.owner.flips()
    }

    /// Works until the runtime ends.
    pub(super) async fn run(mut self, mut signals: mpsc::Receiver<Signal>, mut events: Events) {
        let mut bans = self.parts.bans.tables();
        bans.mark_changed();
        let mut geoip = self.parts.geoip.tables();
        geoip.mark_changed();
        let mut phase = events.phase.clone();
        let mut bind_at = tokio::time::Instant::now() + BIND_AGAIN;
        loop {
            let mut news = News::default();
            tokio::select! {
                Some(signal) = signals.recv() => self.obey(signal),
                () = news.begin(&mut events) => {
                    tokio::time::sleep(TURN).await;
                    news.take_rest(&mut events);
                }
                Ok(()) = bans.changed() => self.follow_bans(&mut bans),
                Ok(()) = geoip.changed() => self.follow_geoip(&geoip.borrow_and_update()),
                Ok(()) = phase.changed() => {}
                () = tokio::time::sleep(self.pause()) => {}
            }
            self.follow_phase(&phase);
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
        let Parts { process, facts, clock, .. } = &self.parts;
        let now = clock();
        let left = self.outboxes.iter_mut().enumerate().filter_map(|(worker, outbox)| {
            let sent = outbox.flush(&**process, facts, worker, now);
            (!sent).then_some(())
        });
        self.delivered = left.count() == 0;
        if !self.outboxes.iter().any(Outbox::owes_bans) {
            self.parts.bans.deliver(self.bans.1);
        }
    }

    fn publish(&mut self, live: &Arc<Live>, moved: bool) {
        self.standing.send_modify(|standing| standing.live = Arc::clone(live));
        if moved {
            self.parts.prober.follow(live);
        }
        self.outboxes.iter_mut().for_each(|outbox| outbox.follow(live));
    }

    /// Has workers go by other tables. That bans have ended they know without being told.
    fn follow_bans(&mut self, tables: &mut watch::Receiver<Arc<Bans>>) {
        // Asked first: the tables are not older.
        let published = self.parts.bans.published();
        let bans = Arc::clone(&tables.borrow_and_update());
        if !bans.same(&self.bans.0) {
            self.outboxes.iter_mut().for_each(|outbox| outbox.ban(&bans));
        }
        self.bans = (bans, published);
    }

    fn follow_geoip(&mut self, geoip: &Arc<GeoIp>) {
        self.outboxes.iter_mut().for_each(|outbox| outbox.locate(geoip));
    }

    /// Has names resolved and endpoints probed as the configuration in force says.
    fn follow_adopted(&mut self) {
        let Standing { adopted, live } = self.standing.borrow().clone();
        // A worker whose mailbox had no room for the configuration is offered it again with this table.
        self.outboxes.iter_mut().for_each(|outbox| outbox.follow(&live));
        let document = &adopted.snapshot.document;
        self.parts.resolver.want(resolver::Settings::from(&document.resolver), wanted(document, &live));
        self.parts.prober.follow(&live);
        self.parts.facts.set_reload_refused(None);
        tracing::info!(generation = adopted.snapshot.generation, "configuration in force");
    }

    fn obey(&mut self, signal: Signal) {
        tracing::info!(signal = signal.name(), "signal received");
        match signal {
            Signal::Reload if self.drain != Drain::No => {}
            // The sockets that were given are to be those that stay.
            Signal::Reload if self.phase != Phase::Serving => self.reload_due = true,
            Signal::Reload => {
                self.parts.notify.reloading(self.parts.clock);
                self.reload();
                self.reopen_logs();
                // A document that was refused leaves the process as ready as it was.
                self.parts.notify.say("READY=1");
            }
            Signal::ReopenLogs => self.reopen_logs(),
            Signal::Stop => self.stop(),
            Signal::Upgrade => {
                if self.parts.upgrades.try_send(()).is_err() {
                    tracing::warn!("an upgrade is asked for already");
                }
            }
        }
    }

    /// Another process gets ready, serves, or does not after all.
    fn follow_phase(&mut self, phase: &watch::Receiver<Phase>) {
        let phase = phase.borrow().clone();
        if phase == self.phase {
            return;
        }
        self.phase = phase;
        let reload = self.phase != Phase::Giving && std::mem::take(&mut self.reload_due);
        match &self.phase {
            Phase::Serving if reload && self.drain == Drain::No => self.reload(),
            Phase::Given { pid, .. } => {
                if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()).filter(|_| reload) {
                    // It has read the document before that was changed.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::HUP);
                }
                self.parts.facts.drain();
                self.order_drain((self.parts.clock)() + self.drain_timeout());
            }
            _ => {}
        }
    }

    fn drain_timeout(&self) -> Duration {
        self.standing.borrow().adopted.snapshot.document.drain.timeout
    }

    /// A document that does not build changes nothing. While it is built, this task's thread does nothing else; the
    /// API and the probes go on.
    fn reload(&mut self) {
        let (parts, owner) = (&self.parts, &mut self.owner);
        let adopted = tokio::task::block_in_place(|| match parts.process.read() {
            Ok(document) => adopt(parts, owner, document, false),
            Err(problems) => Err(problems.into()),
        });
        match adopted {
            Ok(adopted) => {
                let live = Arc::clone(self.owner.live());
                self.standing.send_replace(Standing { adopted: Arc::new(adopted), live });
                self.follow_adopted();
            }
            Err(refusal) => {
                let why = refusal.to_string();
                why.lines().for_each(|problem| tracing::error!(problem, "the reload changed nothing"));
                self.parts.facts.set_reload_refused(why.lines().next().map(str::to_owned));
            }
        }
    }

    /// Files may be slow to open: off this task.
    fn reopen_logs(&self) {
        super::log::reopen();
        let process = Arc::clone(&self.parts.process);
        drop(tokio::task::spawn_blocking(move || process.reopen_logs()));
    }

    /// The first signal drains, a second ends it now.
    fn stop(&mut self) {
        if self.drain != Drain::No {
            return self.order_drain((self.parts.clock)());
        }
        self.parts.facts.drain();
        let delay = self.standing.borrow().adopted.snapshot.document.drain.delay;
        self.drain = Drain::Announced(tokio::time::Instant::now() + delay);
        self.go_on_draining();
    }

    /// Tells the workers, once the delay is over.
    fn go_on_draining(&mut self) {
        if let Drain::Announced(until) = self.drain
            && tokio::time::Instant::now() >= until
        {
            self.order_drain((self.parts.clock)() + self.drain_timeout());
        }
    }

    fn order_drain(&mut self, deadline: crate::base::Instant) {
        self.drain = Drain::Begun;
        let kept = match &self.phase {
            Phase::Given { kept, .. } => Arc::clone(kept),
            _ => Kept::default(),
        };
        self.outboxes.iter_mut().for_each(|outbox| outbox.drain(deadline, &kept));
        self.flush();
    }

    /// Has what is unbound tried again, off this task: binding may wait for a name service or a file system.
    fn bind_again(&self) {
        let may = self.drain == Drain::No && self.phase == Phase::Serving;
        if may && !self.parts.facts.unbound().is_empty() {
            let process = Arc::clone(&self.parts.process);
            drop(tokio::task::spawn_blocking(move || process.bind()));
        }
    }
}

/// Puts a configuration in force, with the tables beside it.
fn adopt(parts: &Parts, owner: &mut Owner, document: Document, first: bool) -> Result<Adopted, Refusal> {
    parts.process.adopt(document, &mut |snapshot| {
        owner.follow_destinations(destinations(&snapshot.document).map(|(name, _)| name.into()));
        Beside {
            live: owner.adopt(&snapshot.groups, first, (parts.clock)()),
            bans: parts.bans.adopt(snapshot),
            geoip: parts.geoip.adopt(snapshot),
        }
    })
}

/// The names that clients may ask to be connected to, and at which listener.
fn destinations(document: &Document) -> impl Iterator<Item = (&str, &str)> {
    let enabled = document.listeners.iter().filter(|listener| listener.enabled);
    enabled.flat_map(|listener| {
        let names = listener.connect_allow.iter().filter_map(|destination| destination.name());
        names.map(|name| (name, listener.name.as_str()))
    })
}

/// The names of a configuration's targets, and those that clients may ask for, and who uses them.
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
    for (name, listener) in destinations(document) {
        let user = format!("{listener}/connect_allow");
        let users = wanted.entry(name).or_default();
        if !users.contains(&user) {
            users.push(user);
        }
    }
    wanted.into_iter().map(|(name, used_by)| Wanted { hostname: name.into(), used_by }).collect()
}

#[cfg(test)]
mod tests;
