//! One core: runtime, accept loops, per-core state, mailbox.

mod accept;
mod findings;
mod fleet;
mod handshakes;
mod kernel;
mod life;
mod message;
mod process;
mod wall;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::base::Instant;
use crate::base::hash::BuildMix;
use crate::base::metric::{Counters, RouteCells};
use crate::config::Snapshot;
use crate::config::raw::Listener;
use crate::control::Facts;
use crate::files::LogHandle;
use crate::listen::{Client, Crowd, Share, Teller, Told};
use crate::policy::ban::Bans;
use crate::policy::finding::{Findings, Outlet};
use crate::policy::geoip::GeoIp;
use crate::policy::identity::Trust;
use crate::policy::rule::RuleCells;
use crate::ring;
use crate::target::{Balancers, Live, Report};
use crate::tls::Stores;
use crate::transport::{Bounds, Budget, Pool, Sessions, Terms, Upstream};
use crate::wire::{Tls, Wire};

pub use fleet::{Fleet, FleetError, Shared, cores};
pub use handshakes::{Handshakes, UnderWay};
pub use message::{Adoption, Message, NewSocket, Quotas};
pub use process::{Heritage, Process};
pub use wall::Wall;

/// One worker's state. Everything here belongs to its thread; what is shared with others is named so.
pub struct Worker {
    /// Its number, from 0.
    pub number: usize,
    /// Shared with control: counters.
    pub counters: Arc<Counters>,
    /// Shared with control: signs of life.
    pub facts: Arc<Facts>,
    /// Wall time.
    pub wall: Wall,
    /// Shared with the other workers: what each client has at once.
    pub crowd: Rc<Crowd>,
    /// Random numbers.
    pub random: RefCell<fastrand::Rng>,
    /// Idle upstream connections.
    pub pool: RefCell<Pool<Box<Upstream>>>,
    /// Upstream connections that requests share.
    pub sessions: RefCell<Sessions>,
    /// The number given last to a client connection that has upstream connections to itself.
    pub announced_last: Cell<u64>,
    /// Balancing state of all routes.
    pub balancers: RefCell<Balancers>,
    /// Requests and retries of each route, by its number.
    pub budgets: RefCell<HashMap<u32, Budget, BuildMix>>,
    /// To control: what requests met at endpoints.
    pub reports: Box<dyn Fn(Report) -> bool>,
    /// To control: what became of connections.
    pub flows: Rc<Teller>,
    /// To control: denials, added up.
    findings_out: Arc<Outlet>,
    /// Denials of the moment.
    findings: RefCell<Findings>,
    /// The first of them is there.
    findings_begun: ring::Event,
    /// To the kernel half.
    kernel: kernel::Side,
    /// This node's name.
    pub node_id: Arc<str>,
    /// Whether a wake for this worker found its mailbox full since this was last asked.
    missed_wakes: Box<dyn Fn() -> bool>,
    current: RefCell<Rc<Current>>,
    /// Of each listener that is gone while clients of it are here: the last generation that had it.
    retired: RefCell<HashMap<Arc<str>, Rc<Current>>>,
    bound: RefCell<Vec<accept::Bound>>,
    clients: RefCell<Slab<Rc<Client>>>,
    active: Cell<usize>,
    /// Octets of request bodies that may still be kept for another try.
    pub replay_room: Cell<u64>,
    /// TLS handshakes with clients that are under way.
    pub handshakes: Handshakes,
    draining: Cell<bool>,
    /// Listening sockets that may still bring connections.
    accepting: Cell<usize>,
    /// Something that a drain waits for is over: a connection, or an accept.
    empty: ring::Event,
}

impl Worker {
    /// What a request that begins now goes by, to its end.
    pub fn current(&self) -> Rc<Current> {
        self.current.borrow().clone()
    }

    /// A request begins; it ends when the guard is dropped.
    pub fn enter(&self) -> InProgress<'_> {
        self.active(1);
        InProgress(self)
    }

    fn active(&self, by: isize) {
        let active = self.active.get().saturating_add_signed(by);
        self.active.set(active);
        self.counters.requests_active.set(active as u64);
        ring::expect(active);
    }

    /// What a request that begins now on a connection of `listener` goes by: the newest, or what had it last.
    pub fn current_of(&self, listener: &str) -> Rc<Current> {
        self.retired.borrow().get(listener).cloned().unwrap_or_else(|| self.current())
    }

    /// Whether it takes no further requests.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Sends a fact about an endpoint to control; a full queue loses it, and counts.
    pub fn report(&self, report: Option<Report>) {
        if let Some(report) = report
            && !(self.reports)(report)
        {
            self.counters.lost(crate::base::metric::Queue::Outlier);
        }
    }

    /// Enters a connection into the register that a drain walks; leaves it when the guard is dropped.
    pub fn register(self: &Rc<Self>, client: &Rc<Client>) -> Registered {
        let key = self.clients.borrow_mut().insert(client.clone());
        self.counters.connections.add(1);
        self.counters.connections_active.add(1);
        Registered { worker: self.clone(), key }
    }

    /// Whether nothing is left that a drain waits for.
    fn is_idle(&self) -> bool {
        self.accepting.get() == 0 && self.clients.borrow().is_empty()
    }

    fn tell_all(&self, told: Told, concerns: impl Fn(&Client) -> bool) {
        for (_, client) in self.clients.borrow().iter().filter(|(_, client)| concerns(client)) {
            client.tell(told);
        }
    }
}

/// A request in progress.
pub struct InProgress<'w>(&'w Worker);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.active(-1);
    }
}

/// A generation and the endpoints of the moment, as one worker holds them: a request keeps one reference, which no
/// other worker writes.
#[derive(Clone)]
pub struct Current {
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// The endpoints.
    pub live: Arc<Live>,
    /// Whose word on the client counts.
    pub trust: Arc<Trust>,
    /// What listeners show and ask over TLS.
    pub tls: Arc<Stores>,
    /// Who is banned.
    pub bans: Arc<Bans>,
    /// Where addresses are.
    pub geoip: Arc<GeoIp>,
    /// Counters of its routes.
    pub cells: RouteCells,
    /// Counters of its rate limits.
    pub limit_cells: RuleCells,
    /// Open access logs, beside their formats in the snapshot.
    pub logs: Rc<[RefCell<LogHandle>]>,
    /// This worker's shares of the caps.
    pub shares: Rc<Shares>,
}

impl Current {
    fn of(new: &Adoption) -> Self {
        let share = |quota: &Option<crate::listen::Quota>| quota.as_ref().map(crate::listen::Quota::share);
        let shares = Shares {
            requests: new.quotas.requests.share(),
            connections: new.quotas.connections.share(),
            listeners: new.quotas.listeners.iter().map(|(r, c)| (share(r), share(c))).collect(),
        };
        Self {
            snapshot: new.snapshot.clone(),
            live: new.live.clone(),
            trust: new.snapshot.trust.clone(),
            tls: new.snapshot.tls.stores.clone(),
            bans: new.bans.clone(),
            geoip: new.geoip.clone(),
            cells: new.cells.clone(),
            limit_cells: new.limit_cells.clone(),
            logs: new.logs.iter().map(|log| RefCell::new(log.handle())).collect(),
            shares: Rc::new(shares),
        }
    }

    /// The listener that has an address, if that is an address which only one can have.
    fn listener_at(&self, address: &str) -> Option<Arc<str>> {
        let has = |raw: &Listener| raw.enabled && raw.bind.iter().any(|bind| bind.to_string() == address);
        let at = self.snapshot.document.listeners.iter().position(has).filter(|_| process::is_fixed(address))?;
        Some(self.snapshot.listeners.get(at)?.name.clone())
    }

    /// Whether a peer of this listener is a proxy that announces whose connection it brings.
    pub fn announces(&self, listener: &str, peer: Option<IpAddr>) -> bool {
        let plan = self.snapshot.listeners.iter().find(|plan| *plan.name == *listener);
        plan.is_some_and(|plan| plan.proxies.hold(peer))
    }

    /// Whether a peer of this listener speaks for others, so that neither bans nor bounds of one client concern it.
    pub fn is_trusted_proxy(&self, listener: &str, peer: Option<IpAddr>) -> bool {
        self.trust.trusts(peer) || self.announces(listener, peer)
    }

    /// The same with other endpoints.
    fn with_live(&self, live: Arc<Live>) -> Self {
        Self { live, ..self.clone() }
    }

    /// The same with other trusted peers.
    fn with_trust(&self, trust: Arc<Trust>) -> Self {
        Self { trust, ..self.clone() }
    }

    /// The same with other certificates.
    fn with_tls(&self, tls: Arc<Stores>) -> Self {
        Self { tls, ..self.clone() }
    }

    /// The same with other bans.
    fn with_bans(&self, bans: Arc<Bans>) -> Self {
        Self { bans, ..self.clone() }
    }

    /// Whether the kernel half tells known sources from others.
    fn knows_sources(&self) -> bool {
        let syn = &self.snapshot.document.kernel.syn;
        (syn.rate > 0 || syn.total > 0) && !syn.known_ttl.is_zero()
    }

    fn with_geoip(&self, geoip: Arc<GeoIp>) -> Self {
        Self { geoip, ..self.clone() }
    }

    /// How long and for how much a shared upstream connection is used.
    pub fn session_terms(&self) -> Terms {
        let pool = &self.snapshot.document.pool;
        let idle = if pool.idle_timeout.is_zero() { Duration::from_secs(86_400) } else { pool.idle_timeout };
        Terms { requests_max: pool.requests_max, age_max: pool.age_max, idle }
    }

    /// What carries the octets of a connection of `listener`.
    fn wire(&self, socket: ring::Socket, listener: &str) -> Wire {
        match self.tls.of(listener) {
            Some(_) => Wire::Tls(Box::new(Tls::new(socket))),
            None => Wire::Plain(socket),
        }
    }

    /// Bounds of the pool of idle upstream connections.
    pub fn pool_bounds(&self) -> Bounds {
        let pool = &self.snapshot.document.pool;
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        Bounds { idle_max: count(pool.idle_max), idle_total_max: count(pool.idle_total_max) }
    }
}

/// One worker's shares of the process's caps and of its listeners', by the listener's position.
pub struct Shares {
    /// Requests in flight in the process.
    pub requests: Rc<Share>,
    /// Connections of the process.
    pub connections: Rc<Share>,
    /// Requests in flight, and connections, of each listener that caps them.
    pub listeners: Vec<OwnShares>,
}

/// Of the caps that a listener sets itself: of requests in flight, and of connections.
pub type OwnShares = (Option<Rc<Share>>, Option<Rc<Share>>);

/// A connection's place in its worker's register.
pub struct Registered {
    worker: Rc<Worker>,
    key: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let client = self.worker.clients.borrow_mut().remove(self.key);
        match client.whence.number() {
            0 => {}
            number => self.worker.pool.borrow_mut().forget(number),
        }
        drop(client);
        self.worker.counters.connections_active.sub(1);
        if self.worker.clients.borrow().is_empty() {
            self.worker.empty.notify();
        }
    }
}

/// The clock's value now, for code that runs outside a loop turn.
pub fn clock() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Instant::from_nanos(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default())
}
