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

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
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
}

/// The running control plane.
pub struct Control {
    runtime: tokio::runtime::Runtime,
    signals: mpsc::Sender<Signal>,
    management: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    audit: Arc<audit::Audit>,
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
    pub fn start(settings: &Settings, wiring: Wiring, first: Document) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("weir-control")
            .enable_all()
            .build()
            .map_err(StartError::System)?;
        let guard = runtime.enter();
        let listeners = api::Listeners::bind(settings)?;
        let (management, metrics) = listeners.addresses();
        let (signals, signal_events) = mpsc::channel(16);
        signal::listen(&signals).map_err(StartError::System)?;
        let audit = tasks::run(settings, wiring, first, listeners, signal_events).map_err(StartError::Refused)?;
        drop(guard);
        Ok(Self { runtime, signals, management, metrics, audit })
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

    /// Ends the threads, once the workers have ended.
    pub fn stop(self) {
        self.runtime.shutdown_timeout(STOP_MAX);
        // The last that workers have denied.
        self.audit.finish();
    }
}
