//! The one task that keeps the programs and their maps: on news at once, else ten times a second.

mod dropping;
mod hand;

pub(super) use hand::Hand;

use std::sync::Arc;
use std::time::Duration;

use aya::maps::MapData;
use ipnet::IpNet;
use tokio::sync::{mpsc, watch};

use super::flow::Flows;
use super::network::Network;
use super::object::Failure;
use super::probe::Obstacle;
use super::samples::Samples;
use super::status::{self, Status, Warning};
use super::steer::Steer;
use super::{Order, Shown, Wanted, Workers};
use crate::base::Instant;
use crate::config::value::KernelSteer;
use crate::control::flows::source::FlowSource;
use crate::policy::tier::Promotion;
use dropping::Dropping;

/// Promotions and known sources wait so long at most.
const TURN: Duration = Duration::from_millis(100);
/// From one sweep of what has ended, and one status, to the next.
const SWEEP: Duration = Duration::from_secs(1);
/// From one look at the links to the next.
const VERIFY: Duration = Duration::from_secs(5);
/// How soon what could not be attached is tried again: doubled each time, to the second.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// The machine's interfaces are waited for so long; without them the rest begins.
const NETWORK_WAIT: Duration = Duration::from_secs(1);
/// How soon it is looked again whether workers serve.
const SOON: Duration = Duration::from_millis(5);
/// News of one kind taken in a turn.
const AT_ONCE: usize = 1024;

/// What the task listens to.
pub(super) struct Inputs {
    pub(super) wanted: watch::Receiver<Arc<Wanted>>,
    pub(super) network: watch::Receiver<Arc<Network>>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) promotions: mpsc::Receiver<Promotion>,
    pub(super) known: mpsc::Receiver<Vec<std::net::IpAddr>>,
}

/// What it works with.
pub(super) struct Beside {
    pub(super) clock: fn() -> Instant,
    pub(super) workers: Arc<dyn Workers>,
    pub(super) samples: Samples,
    pub(super) flows: Arc<Flows>,
    pub(super) obstacle: Option<Obstacle>,
    pub(super) status: watch::Sender<Arc<Status>>,
}

/// When something is tried again that has failed.
pub(super) struct Backoff {
    wait: Duration,
    due: Instant,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { wait: RETRY[0], due: Instant::default() }
    }
}

impl Backoff {
    /// Whether it is time.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    /// Whether it is time, if it falls short at all; what does not waits the shortest time when it does next.
    fn is_due_if(&mut self, short: bool, now: Instant) -> bool {
        if !short {
            *self = Self::default();
        }
        short && self.is_due(now)
    }

    /// It has failed again, or has not.
    pub(super) fn note(&mut self, failed: bool, now: Instant) {
        if failed {
            self.due = now + self.wait;
            self.wait = (self.wait * 2).min(RETRY[1]);
        } else {
            *self = Self::default();
        }
    }
}

/// Each group fails, and is tried again, by itself.
#[derive(Default)]
struct Backoffs {
    drop: Backoff,
    flow: Backoff,
    steer: Backoff,
}

/// The task.
pub(super) struct Driver {
    beside: Beside,
    dropping: Dropping,
    steer: Option<Steer>,
    steer_failure: Option<Failure>,
    wanted: Option<Arc<Wanted>>,
    backoffs: Backoffs,
    swept: Instant,
    verified: Instant,
    /// Sources whose connections each worker has not been told to reset yet.
    cuts: Vec<Vec<Arc<[IpNet]>>>,
    /// Nothing is done but what orders say: another process's programs run, or are about to.
    rests: bool,
    /// Another process still accepts on the listeners.
    steer_waits: bool,
    /// Its map of sockets.
    listeners_before: Option<MapData>,
}

impl Driver {
    /// With `held`, nothing is loaded before it is told what another process leaves.
    pub(super) fn new(beside: Beside, held: bool) -> Self {
        let workers = beside.workers.count();
        Self {
            dropping: Dropping::new(beside.obstacle.clone(), beside.samples.clone()),
            beside,
            steer: None,
            steer_failure: None,
            wanted: None,
            backoffs: Backoffs::default(),
            swept: Instant::default(),
            verified: Instant::default(),
            cuts: vec![Vec::new(); workers],
            rests: held,
            steer_waits: held,
            listeners_before: None,
        }
    }

    /// Runs for as long as somebody wants something.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        self.publish();
        while !self.beside.workers.serve() {
            tokio::time::sleep(SOON).await;
        }
        if tokio::time::timeout(NETWORK_WAIT, inputs.network.changed()).await.is_err() {
            tracing::warn!("netlink has not told of any interface yet: nothing is dropped until it does");
        }
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut news = true;
        loop {
            if !self.rests {
                let Some(next) = self.step(&mut inputs, news).await else { return };
                (self, news) = (next, false);
            }
            news |= tokio::select! {
                changed = inputs.wanted.changed() => if changed.is_err() { return } else { true },
                Ok(()) = inputs.network.changed() => true,
                Some(order) = inputs.orders.recv() => {
                    let Some(next) = self.obey(order, &mut inputs).await else { return };
                    self = next;
                    false
                }
                _ = turns.tick() => false,
            };
        }
    }

    /// One turn; what takes its time is done off this runtime's threads. None: the runtime ends.
    async fn step(mut self, inputs: &mut Inputs, news: bool) -> Option<Self> {
        if news {
            let wanted = Arc::clone(&inputs.wanted.borrow_and_update());
            let network = Arc::clone(&inputs.network.borrow_and_update());
            self = self.apart(move |driver| driver.follow(&wanted, network)).await?;
        }
        self.turn(inputs);
        let now = (self.beside.clock)();
        if now.since(self.verified) >= VERIFY {
            self.verified = now;
            self = self.apart(Self::verify).await?;
        }
        if self.is_due(now) {
            self = self.apart(Self::try_again).await?;
        }
        Some(self)
    }

    /// Whether a group that falls short is to be tried again. What does not begins anew with the shortest wait.
    fn is_due(&mut self, now: Instant) -> bool {
        let steer = self.steer_falls_short();
        let Self { dropping, beside, backoffs, .. } = self;
        let each = [
            (dropping.falls_short(), &mut backoffs.drop),
            (beside.flows.falls_short(), &mut backoffs.flow),
            (steer, &mut backoffs.steer),
        ];
        each.into_iter().fold(false, |due, (short, backoff)| backoff.is_due_if(short, now) || due)
    }

    async fn apart(mut self, work: impl FnOnce(&mut Self) + Send + 'static) -> Option<Self> {
        let done = tokio::task::spawn_blocking(move || {
            work(&mut self);
            self
        });
        done.await.ok()
    }

    /// Does what a new configuration, a new listener or a new address asks for.
    fn follow(&mut self, wanted: &Arc<Wanted>, network: Arc<Network>) {
        self.wanted = Some(Arc::clone(wanted));
        self.follow_steer(wanted);
        self.beside.flows.configure(&wanted.kernel);
        self.dropping.follow(Arc::clone(wanted), network, (self.beside.clock)());
        self.cut();
        self.publish();
    }

    fn follow_steer(&mut self, wanted: &Wanted) {
        let workers = &*self.beside.workers;
        if self.steer_waits {
            return;
        }
        if wanted.kernel.steer == KernelSteer::Off || workers.count() < 2 || self.beside.obstacle.is_some() {
            self.steer_failure = None;
            self.steer.take().into_iter().for_each(|steer| steer.detach(workers));
            return;
        }
        if self.steer.is_none() {
            match Steer::load(workers.count()) {
                Ok(steer) => (self.steer, self.steer_failure) = (Some(steer), None),
                Err(failure) => self.steer_failure = Some(failure),
            }
        }
        if let Some(steer) = &mut self.steer {
            steer.follow(workers, &wanted.bound);
        }
    }

    /// What takes microseconds.
    fn turn(&mut self, inputs: &mut Inputs) {
        let now = (self.beside.clock)();
        let promotions = std::iter::from_fn(|| inputs.promotions.try_recv().ok()).take(AT_ONCE);
        promotions.for_each(|promotion| self.dropping.promote(promotion, now));
        let known = std::iter::from_fn(|| inputs.known.try_recv().ok()).take(AT_ONCE);
        known.for_each(|sources| self.dropping.know(sources, now));
        self.cut();
        if let Some(steer) = &mut self.steer {
            let workers = &*self.beside.workers;
            steer.follow_stalls(&workers.cores(), workers);
        }
        if now.since(self.swept) >= SWEEP {
            self.swept = now;
            self.sweep(now);
        }
    }

    fn verify(&mut self) {
        self.beside.flows.verify();
        if self.dropping.verify() {
            self.backoffs.drop = Backoff::default();
        }
        self.publish();
    }

    /// Tries each group again that falls short and whose time has come.
    fn try_again(&mut self) {
        let now = (self.beside.clock)();
        if self.dropping.falls_short() && self.backoffs.drop.is_due(now) {
            self.dropping.attach(now);
            self.backoffs.drop.note(self.dropping.falls_short(), now);
        }
        if self.beside.flows.falls_short() && self.backoffs.flow.is_due(now) {
            self.beside.flows.try_again();
            self.backoffs.flow.note(self.beside.flows.falls_short(), now);
        }
        if self.steer_falls_short() && self.backoffs.steer.is_due(now) {
            self.wanted.clone().into_iter().for_each(|wanted| self.follow_steer(&wanted));
            self.backoffs.steer.note(self.steer_falls_short(), now);
        }
        self.cut();
        self.publish();
    }

    fn steer_falls_short(&self) -> bool {
        self.steer_failure.is_some() || self.steer.as_ref().is_some_and(Steer::falls_short)
    }

    fn sweep(&mut self, now: Instant) {
        self.dropping.sweep(now);
        if let Some(steer) = &mut self.steer {
            let workers = &*self.beside.workers;
            let by = self.wanted.as_ref().map_or(KernelSteer::Off, |wanted| wanted.kernel.steer);
            steer.decide(by, &workers.cores(), workers, now);
        }
        self.publish();
    }

    /// None: the runtime ends.
    async fn obey(mut self, order: Order, inputs: &mut Inputs) -> Option<Self> {
        match order {
            Order::Hand(turn) => self.hand(turn, inputs).await,
            order => {
                self.serve(order);
                Some(self)
            }
        }
    }

    fn serve(&mut self, order: Order) {
        let now = (self.beside.clock)();
        // Whoever asked may have gone.
        match order {
            Order::Deny { source, ttl, reason, reply } => {
                let _ = reply.send(self.dropping.deny(source, ttl, reason, now));
            }
            Order::Release { source, reply } => {
                let released = self.dropping.release(source);
                let _ = reply.send(released.map(|entry| Shown { source, entry }));
            }
            Order::Show { source, reply } => {
                let _ = reply.send(self.dropping.show(source));
            }
            Order::List { offset, limit, reply } => {
                let _ = reply.send(self.dropping.list(offset, limit));
            }
            Order::Hand(_) => {}
        }
        self.cut();
    }

    /// Tells workers whose connections to reset.
    fn cut(&mut self) {
        if let Some(denied) = self.dropping.take_cuts() {
            self.cuts.iter_mut().for_each(|waiting| waiting.push(Arc::clone(&denied)));
        }
        for (worker, waiting) in self.cuts.iter_mut().enumerate() {
            let told = waiting.iter().take_while(|denied| self.beside.workers.cut(worker, denied)).count();
            waiting.drain(..told);
            // A worker that stands still has no connection served meanwhile: what is denied longest is cut by time.
            let excess = waiting.len().saturating_sub(AT_ONCE);
            waiting.drain(..excess);
        }
    }

    fn publish(&self) {
        let (mut status, mut warnings) = self.dropping.status();
        let (flows, flow_warnings) = self.beside.flows.status();
        status.groups.extend(flows);
        status.groups.push(self.steer_status());
        warnings.extend(flow_warnings);
        let failure = self.steer_failure.iter();
        warnings.extend(failure.map(|it| Warning { code: it.code, hint: format!("steer: {}", it.why) }));
        if let Some(obstacle) = &self.beside.obstacle {
            // Said once, not once for each group.
            warnings.retain(|warning| warning.code != obstacle.code());
            warnings.insert(0, obstacle_warning(obstacle));
        }
        status.lost += self.beside.flows.lost();
        status.warnings = warnings;
        self.beside.status.send_replace(Arc::new(status));
    }

    fn steer_status(&self) -> status::Group {
        let name = "steer";
        match (&self.steer, &self.steer_failure, &self.beside.obstacle) {
            (Some(steer), ..) => steer.status(),
            (None, Some(failure), _) => status::Group::failed(name, failure.why.clone()),
            (None, None, Some(obstacle)) => status::Group::failed(name, obstacle.to_string()),
            _ if self.steer_waits => status::Group::unwanted(name, "another process still accepts"),
            _ if self.beside.workers.count() < 2 => status::Group::unwanted(name, "there is one worker"),
            _ => status::Group::unwanted(name, "kernel.steer is off"),
        }
    }
}

fn obstacle_warning(obstacle: &Obstacle) -> Warning {
    let cure = match obstacle {
        Obstacle::TooOld(_) => "the kernel half needs Linux 6.1",
        Obstacle::Missing(_) => "give weir all of CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, as its systemd unit does",
        Obstacle::Blocked(_) => "let the container's seccomp profile and the host's lockdown permit bpf(2)",
    };
    Warning { code: obstacle.code(), hint: format!("{obstacle}; {cure}; limits hold in weir alone") }
}

#[cfg(test)]
mod tests;
