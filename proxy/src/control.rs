//! The control plane: management API, readiness, probes, DNS, signals; ordinary tokio threads that never touch a worker
//! but through its port and the cells it stores into.

mod api;
mod audit;
mod bans;
mod certificates;
mod clients;
pub mod facts;
pub mod flows;
mod geoip;
mod kernel;
mod live;
pub mod log;
mod notify;
mod performance;
pub mod port;
mod probe;
mod ready;
pub mod resolver;
mod signal;
pub mod state;
mod supervisor;
mod tasks;
#[cfg(test)]
mod testing;
mod trust;
pub mod upgrade;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

pub use facts::Facts;
pub use port::{Adopted, Beside, FirstTables, Ground, Process, Question, Refusal, Unanswered, Values};
pub use signal::Signal;
pub use supervisor::{Reported, Reports};

use crate::base::Instant;
use crate::base::metric::{Counters, RouteTable};
use crate::config::Document;
use crate::config::tls::Kept;
use crate::kernel::{Fed, Home};
use crate::policy::finding::Outlet;
use crate::policy::rule::RuleTable;
use crate::trace::flow::Notes;

/// Reads CLOCK_MONOTONIC: the clock that workers' beats are stamped with.
pub type Clock = fn() -> Instant;

/// Control's own threads.
const THREADS: usize = 2;
/// How long answers under way may take once the process ends.
const STOP_MAX: Duration = Duration::from_secs(1);

/// What stays the same for the life of the process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses of the management API; loopback.
    pub management: Vec<SocketAddr>,
    /// Hosts it answers to, beside addresses and localhost.
    pub hosts: Vec<String>,
    /// Address of /health, /ready and /metrics alone.
    pub metrics: Option<SocketAddr>,
    /// This node's name.
    pub node_id: String,
    /// Where the next process finds this one.
    pub upgrade_socket: Option<PathBuf>,
    /// How the next one is started.
    pub command: upgrade::Command,
}

/// What control works with.
pub struct Wiring {
    /// Where workers say that they live, and listeners that they are bound.
    pub facts: Arc<Facts>,
    /// Reads the workers' clock.
    pub clock: Clock,
    /// Each worker's counters.
    pub counters: Arc<[Arc<Counters>]>,
    /// The counters of routes.
    pub routes: Arc<RouteTable>,
    /// The counters of rules.
    pub rules: Arc<RuleTable>,
    /// What workers report of endpoints.
    pub reports: Reported,
    /// Where what outlives the process is kept.
    pub state: Arc<state::StateDir>,
    /// What workers have denied.
    pub findings: Arc<Outlet>,
    /// What they tell of connections.
    pub flows: Arc<Notes>,
    /// The cgroup of weir's sockets.
    pub home: Option<Home>,
    /// What they tell the kernel half.
    pub fed: Fed,
    /// What the TLS of listeners keeps over configurations.
    pub tls: Arc<Kept>,
    /// The rest of the process.
    pub process: Arc<dyn Process>,
    /// What the process before has given.
    pub taking: Option<upgrade::Taking>,
}

/// The running control plane.
pub struct Control {
    runtime: tokio::runtime::Runtime,
    signals: mpsc::Sender<Signal>,
    management: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    finish: tasks::Finish,
}

/// Why control cannot start.
#[derive(Debug)]
pub enum StartError {
    /// An address of the management API is not loopback: without users, everybody who reaches it may do everything.
    NotLoopback(SocketAddr),
    /// An address cannot be bound.
    Bind(SocketAddr, io::Error),
    /// The first configuration was refused.
    Refused(Refusal),
    /// Threads or signal handlers cannot be had.
    System(io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotLoopback(address) => {
                write!(f, "management: {address} is not a loopback address, and the API knows no users")
            }
            Self::Bind(address, error) if error.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "management: cannot listen on {address}: another process does, perhaps another weir; end it, or change \
                 management.listen or metrics.listen"
            ),
            Self::Bind(address, error) => write!(f, "management: cannot listen on {address}: {error}"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::System(error) => write!(f, "control threads: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl Control {
    /// Binds the management API, puts the first configuration in force and begins to listen to signals.
    pub fn start(settings: &Settings, mut wiring: Wiring, first: Document) -> Result<Self, StartError> {
        let mut taking = wiring.taking.take();
        let started = Self::try_start(settings, wiring, first, &mut taking);
        if let (Err(error), Some(taking)) = (&started, taking) {
            taking.fail(&error.to_string());
        }
        started
    }

    fn try_start(
        settings: &Settings,
        wiring: Wiring,
        first: Document,
        taking: &mut Option<upgrade::Taking>,
    ) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("weir-control")
            .enable_all()
            .build()
            .map_err(StartError::System)?;
        let guard = runtime.enter();
        wiring.facts.freeze(taking.is_some());
        let wanted = settings.upgrade_socket.as_deref();
        let (given, (own, left)) = match taking {
            Some(taking) => (taking.management(), taking.upgrade_socket(wanted)),
            None => (Vec::new(), (None, None)),
        };
        let listeners = api::Listeners::bind(settings, given)?;
        let (management, metrics) = listeners.addresses();
        let (signals, signal_events) = mpsc::channel(16);
        signal::listen(&signals).map_err(StartError::System)?;
        let own = own.or_else(|| upgrade::open(wanted, &wiring.facts));
        let made = own.as_ref().and_then(upgrade::OwnSocket::made);
        let open = tasks::Open { listeners, own, left, signals: (signals.clone(), signal_events) };
        let finish = tasks::run(settings, wiring, first, open, taking).map_err(|refusal| {
            made.iter().for_each(|path| upgrade::OwnSocket::remove(path));
            StartError::Refused(refusal)
        })?;
        drop(guard);
        Ok(Self { runtime, signals, management, metrics, finish })
    }

    /// Does what the signal would.
    pub fn signal(&self, signal: Signal) {
        let _ = self.signals.try_send(signal);
    }

    /// A way to do so from elsewhere.
    pub fn signals(&self) -> mpsc::Sender<Signal> {
        self.signals.clone()
    }

    /// Where the management API listens.
    pub fn management(&self) -> &[SocketAddr] {
        &self.management
    }

    /// Where the metrics alone are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Ends the threads, once the workers have ended. False: this process was to take over from another, and did not.
    pub fn stop(self) -> bool {
        self.runtime.shutdown_timeout(STOP_MAX);
        // The last that workers have denied.
        let tasks::Finish { audit, giver, failed } = self.finish;
        audit.finish();
        let served = !failed.load(Ordering::Acquire);
        giver.finish(audit.unwritten(), served);
        served
    }
}
