//! GET /api/v1/stats: what the data plane does, in one small object.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::Uri;
use serde::Serialize;

use super::State;
use super::answer::{Query, Refusal};
use crate::base::metric::{Buckets, Class, Queue};
use crate::base::{Instant, Reason};

/// How far back latencies reach.
const WINDOW: Duration = Duration::from_secs(60);
/// From one remembered state to the next.
const STEP: Duration = Duration::from_secs(5);

#[derive(Serialize)]
pub(super) struct Stats {
    node_id: String,
    generation: u64,
    dataplane: Dataplane,
    http: Http,
    dns: Dns,
    /// Handshakes of clients.
    tls: Judged,
    lost: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Dataplane {
    workers: usize,
    active_flows: u64,
    flows_opened: u64,
    flows_closed: u64,
    /// Of all TCP connections of weir, as far as they are known.
    packets: Judged,
    bytes: Judged,
    kernel: Kernel,
}

/// What the kernel half drops.
#[derive(Serialize)]
struct Kernel {
    mode: &'static str,
    drops: u64,
    warnings: Vec<&'static str>,
}

/// What was let through, and what was not.
#[derive(Serialize)]
struct Judged {
    allow: u64,
    deny: u64,
}

#[derive(Serialize)]
struct Http {
    active: u64,
    requests: u64,
    status: BTreeMap<&'static str, u64>,
    /// Those that occurred.
    reasons: BTreeMap<&'static str, u64>,
    latency_us: Latency,
}

/// Of the last 60 s; null without a request.
#[derive(Serialize)]
struct Latency {
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
    p999: Option<u64>,
}

#[derive(Serialize)]
struct Dns {
    queries_allow: u64,
    queries_deny: u64,
    nxdomain_upstream: u64,
}

pub(super) async fn show(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Json<Stats>, Refusal> {
    Query::of(&uri, &[])?;
    Ok(Json(Stats {
        node_id: state.node_id.to_string(),
        generation: state.facts.applied(),
        dataplane: dataplane(&state),
        http: http(&state),
        dns: dns(&state),
        tls: tls(&state),
        lost: lost(&state).into_iter().collect(),
    }))
}

fn dataplane(state: &State) -> Dataplane {
    let active = state.sum(|counters| counters.connections_active.value());
    let opened = state.sum(|counters| counters.connections.value());
    let sums = state.flows.counts().sums;
    let kernel = state.kernel.status();
    let drops = kernel.drops();
    Dataplane {
        workers: state.counters.len(),
        active_flows: active,
        flows_opened: opened,
        flows_closed: opened.saturating_sub(active),
        packets: Judged { allow: sums.packets, deny: drops.0 },
        bytes: Judged { allow: sums.bytes, deny: drops.1 },
        kernel: Kernel {
            mode: kernel.mode,
            drops: drops.0,
            warnings: kernel.warnings.iter().map(|warning| warning.code).collect(),
        },
    }
}

fn http(state: &State) -> Http {
    let mut classes = [0; Class::COUNT];
    for route in state.routes.totals() {
        classes.iter_mut().zip(route.classes).for_each(|(sum, n)| *sum += n);
    }
    let reason = |&reason: &Reason| (reason.token(), state.sum(|counters| counters.reason_count(reason)));
    Http {
        active: state.sum(|counters| counters.requests_active.value()),
        requests: classes.iter().sum(),
        status: Class::ALL.iter().map(|class| (class.token(), classes[*class as usize])).collect(),
        reasons: Reason::ALL.iter().map(reason).filter(|(_, n)| *n > 0).collect(),
        latency_us: state.window.latency(state),
    }
}

fn dns(state: &State) -> Dns {
    let counts = state.resolver.counts();
    Dns {
        queries_allow: counts.answered.load(Ordering::Relaxed),
        queries_deny: counts.denied.load(Ordering::Relaxed),
        nxdomain_upstream: counts.absent.load(Ordering::Relaxed),
    }
}

fn tls(state: &State) -> Judged {
    Judged {
        allow: state.sum(|counters| counters.handshakes.value()),
        deny: state.sum(|counters| counters.handshakes_failed.value()),
    }
}

/// What each queue has lost.
pub(super) fn lost(state: &State) -> Vec<(&'static str, u64)> {
    let queue = |&queue: &Queue| {
        let own = match queue {
            Queue::Log => crate::control::log::lost(),
            Queue::KernelRing => state.kernel.status().lost,
            Queue::Wiretap => state.flows.counts().reader_lost,
            Queue::KeyLog => state.certificates.key_log_lost(),
            _ => 0,
        };
        (queue.token(), own + state.sum(|counters| counters.lost_count(queue)))
    };
    Queue::ALL.iter().map(queue).collect()
}

/// Latencies as they stood a minute ago, and since.
#[derive(Default)]
pub(in crate::control) struct Window(Mutex<VecDeque<(Instant, Buckets)>>);

impl Window {
    /// Remembers how latencies stand, so that a minute later the difference can be told.
    pub(in crate::control) fn remember(&self, now: Instant, standing: Buckets) {
        let mut past = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        past.push_back((now, standing));
        while past.len() > 1 && now.since(past[1].0) >= WINDOW {
            past.pop_front();
        }
    }

    /// Remembers for ever, each few seconds.
    pub(in crate::control) async fn run(state: Arc<State>) {
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            steps.tick().await;
            state.window.remember((state.clock)(), state.routes.latency());
        }
    }

    /// What was counted in the last minute, where `now` is how latencies stand.
    pub(super) fn since(&self, now: &Buckets) -> Buckets {
        let past = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        past.front().map_or_else(|| now.clone(), |(_, past)| now.since(past))
    }

    fn latency(&self, state: &State) -> Latency {
        let recent = self.since(&state.routes.latency());
        let at = |share| recent.quantile_us(share);
        Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999) }
    }
}
