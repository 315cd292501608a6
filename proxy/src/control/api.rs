//! The management API: one file per resource.

mod answer;
mod bans;
mod dns_cache;
mod explain;
mod findings;
mod flows;
mod health;
mod kernel;
mod metrics;
mod ready;
mod routes;
mod server;
mod settings;
mod stats;
mod wiretap;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::routing::{get, post};
use tokio::sync::watch;

pub(super) use server::Listeners;
pub(super) use stats::Window;

use super::audit::Audit;
use super::bans::BanList;
use super::certificates::Certificates;
use super::clients::Clients;
use super::flows::Flows;
use super::live::FlipTable;
use super::performance::PerformanceMode;
use super::port::{Question, Unanswered};
use super::ready::Readiness;
use super::resolver::Resolver;
use super::supervisor::Seen;
use super::{Clock, Facts, probe};
use crate::base::Instant;
use crate::base::metric::{Class, Counters, RouteTable};
use crate::kernel::Kernel;
use crate::policy::rule::RuleTable;

/// Answers a question about a request.
pub(super) type Explain = Box<dyn Fn(&Question) -> Result<serde_json::Value, Unanswered> + Send + Sync>;

/// Everything that resources read. Nothing here is written by a worker under a lock, nor locked by one.
pub(super) struct State {
    pub(super) node_id: Arc<str>,
    pub(super) clock: Clock,
    pub(super) started: Instant,
    /// Lower case.
    pub(super) hosts: Vec<String>,
    pub(super) facts: Arc<Facts>,
    pub(super) counters: Arc<[Arc<Counters>]>,
    pub(super) routes: Arc<RouteTable>,
    pub(super) rules: Arc<RuleTable>,
    pub(super) seen: Seen,
    pub(super) flips: FlipTable,
    pub(super) resolver: Arc<Resolver>,
    pub(super) probe_counts: Arc<probe::Counts>,
    pub(super) readiness: watch::Receiver<Arc<Readiness>>,
    pub(super) bans: Arc<BanList>,
    pub(super) audit: Arc<Audit>,
    pub(super) clients: Arc<Clients>,
    pub(super) certificates: Arc<Certificates>,
    pub(super) kernel: Kernel,
    pub(super) explain: Explain,
    pub(super) flows: Arc<Flows>,
    pub(super) performance: Arc<PerformanceMode>,
    pub(super) window: Window,
    pub(super) answered: Answered,
}

impl State {
    /// A counter's sum over all workers.
    fn sum(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        self.counters.iter().map(|counters| of(counters)).fold(0, u64::wrapping_add)
    }
}

/// Management requests by class.
#[derive(Default)]
pub(super) struct Answered([AtomicU64; Class::COUNT]);

/// What everybody who looks after a fleet asks for; the same on both kinds of listeners.
fn open_resources() -> Router<Arc<State>> {
    Router::new()
        .route("/health", get(health::show))
        .route("/ready", get(ready::show))
        .route("/metrics", get(metrics::show))
}

fn all_resources() -> Router<Arc<State>> {
    open_resources()
        .route("/api/v1/stats", get(stats::show))
        .route("/api/v1/dns-cache", get(dns_cache::show))
        .route("/api/v1/kernel", get(kernel::show))
        .route("/api/v1/kernel/deny", get(kernel::list).post(kernel::add).delete(kernel::release))
        .route("/api/v1/routes", get(routes::list))
        .route("/api/v1/routes/{name}", get(routes::show))
        .route("/api/v1/explain", post(explain::answer))
        .route("/api/v1/bans", get(bans::list).post(bans::make).delete(bans::end))
        .route("/api/v1/audit/findings", get(findings::show))
        .route("/api/v1/audit/findings/local", get(findings::show_local))
        .route("/api/v1/flows", get(flows::list))
        .route("/api/v1/wiretap/stream", get(wiretap::stream))
        .route("/api/v1/settings/performance-mode", get(settings::show).put(settings::set))
}

/// Resources that are answered even where all other connections are taken.
fn is_reserved(path: &str) -> bool {
    matches!(path, "/health" | "/ready" | "/metrics" | "/api/v1/stats")
}

#[cfg(test)]
mod tests;
