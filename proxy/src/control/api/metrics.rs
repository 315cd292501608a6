//! GET /metrics: everything in the table of metrics, in the Prometheus text format.

mod text;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State as Shared;
use axum::http::Uri;
use axum::http::header::{CONTENT_TYPE, HeaderName};

use super::answer::{Query, Refusal};
use super::{State, stats};
use crate::base::Reason;
use crate::base::metric::{self, Buckets, Class, Coding, Counters, Limit, Metric, Phase};
use crate::policy::limit::Occupancy;
use crate::target::live::Live;
use text::Text;

type Answer = ([(HeaderName, &'static str); 1], String);

pub(super) async fn show(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Answer, Refusal> {
    Query::of(&uri, &[])?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render(&state)))
}

/// The whole page, in the order of the table.
pub(super) fn render(state: &State) -> String {
    let mut text = Text::default();
    node(&mut text, state);
    requests(&mut text, state);
    rate_limits(&mut text, state);
    connections(&mut text, state);
    ring(&mut text, state);
    flows(&mut text, state);
    kernel(&mut text, state);
    rest(&mut text, state);
    text.finish()
}

fn node(text: &mut Text, state: &State) {
    let readiness = Arc::clone(&state.readiness.borrow());
    text.one(metric::READY, u64::from(readiness.ready));
    text.rows(metric::READY_CHECK, readiness.checks.iter().map(|check| ([check.name], u64::from(check.ok))));
    let revision = readiness.revision;
    text.rows(metric::CONFIG_REVISION, [(["desired"], revision.desired), (["applied"], revision.applied)]);
    text.one(metric::WORKERS, state.counters.len() as u64);
    text.one(metric::UPTIME, (state.clock)().since(state.started).as_secs());
}

fn requests(text: &mut Text, state: &State) {
    let routes = state.routes.totals();
    text.head(metric::REQUESTS);
    for route in &routes {
        for &class in Class::ALL {
            text.row(metric::REQUESTS, [route.route.as_str(), class.token()], route.classes[class as usize]);
        }
    }
    let reasons = Reason::ALL.iter().map(|&reason| ([reason.token()], state.sum(|c| c.reason_count(reason))));
    text.rows(metric::REASONS, reasons);
    text.head(metric::REQUEST_SECONDS);
    routes.iter().for_each(|route| text.histogram(metric::REQUEST_SECONDS, &route.route, &route.seconds));
    text.head(metric::STAGE_SECONDS);
    for &phase in Phase::ALL {
        let mut times = Buckets::default();
        state.counters.iter().for_each(|counters| times.add(counters.stage_times(phase)));
        text.histogram(metric::STAGE_SECONDS, phase.token(), &times);
    }
    text.one(metric::REQUESTS_ACTIVE, state.sum(|counters| counters.requests_active.value()));
    text.rows(metric::LIMIT_HITS, Limit::ALL.iter().map(|&limit| ([limit.token()], limit_hits(state, limit))));
    rules(text, state);
    text.one(metric::RETRIES, state.sum(|counters| counters.retries.value()));
    compression(text, state);
}

fn compression(text: &mut Text, state: &State) {
    let responses = |coding| state.sum(|counters| counters.compressed_count(coding));
    text.rows(metric::COMPRESSED, Coding::ALL.iter().map(|&coding| ([coding.token()], responses(coding))));
    text.head(metric::COMPRESSED_BYTES);
    for &coding in Coding::ALL {
        let came = state.sum(|counters| counters.compressed_octets_count(coding).0);
        let sent = state.sum(|counters| counters.compressed_octets_count(coding).1);
        text.row(metric::COMPRESSED_BYTES, [coding.token(), "in"], came);
        text.row(metric::COMPRESSED_BYTES, [coding.token(), "out"], sent);
    }
}

fn rules(text: &mut Text, state: &State) {
    text.head(metric::RULE_REQUESTS);
    for rule in state.rules.totals() {
        let outcomes = [
            ("evaluated", rule.evaluated),
            ("matched", rule.matched),
            ("denied", rule.denied),
            ("shadow", rule.shadow),
            ("error", rule.errors),
            ("limit_hit", rule.limits_hit),
        ];
        for (outcome, requests) in outcomes {
            text.row(metric::RULE_REQUESTS, [rule.kind, rule.rule.as_str(), outcome], requests);
        }
    }
}

/// Limits of workers, and those that control keeps.
fn limit_hits(state: &State, limit: Limit) -> u64 {
    let own = match limit {
        Limit::EjectionPercent => state.seen.ejections.refused.load(Ordering::Relaxed),
        Limit::Bans => state.bans.refused(),
        Limit::Findings => state.audit.evicted.number.load(Ordering::Relaxed),
        Limit::FindingsDisk => state.audit.evicted.disk.load(Ordering::Relaxed),
        Limit::FlowsOpen => state.flows.counts().sums.refused,
        Limit::FlowsReaders => state.flows.counts().readers_refused,
        _ => 0,
    };
    own + state.sum(|counters| counters.limit_count(limit))
}

/// A metric that is one cell of each worker's counters.
type Cell = (Metric, fn(&Counters) -> &metric::Counter);

fn cells<const N: usize>(text: &mut Text, state: &State, cells: [Cell; N]) {
    for (metric, cell) in cells {
        text.one(metric, state.sum(|counters| cell(counters).value()));
    }
}

fn connections(text: &mut Text, state: &State) {
    cells(
        text,
        state,
        [
            (metric::CONNECTIONS_ACTIVE, |c| &c.connections_active),
            (metric::CONNECTIONS, |c| &c.connections),
            (metric::CONNECTIONS_RESET, |c| &c.connections_reset),
        ],
    );
    let sum = |cell: fn(&Counters) -> &metric::Counter| state.sum(|counters| cell(counters).value());
    tls(text, state);
    let received = [(["client"], sum(|c| &c.client_received)), (["upstream"], sum(|c| &c.upstream_received))];
    text.rows(metric::RECEIVED_BYTES, received);
    let sent = [(["client"], sum(|c| &c.client_sent)), (["upstream"], sum(|c| &c.upstream_sent))];
    text.rows(metric::SENT_BYTES, sent);
    cells(
        text,
        state,
        [
            (metric::UPSTREAM_CONNECTS, |c| &c.upstream_connects),
            (metric::UPSTREAM_REUSES, |c| &c.upstream_reuses),
            (metric::UPSTREAM_IDLE, |c| &c.upstream_idle),
            (metric::UPSTREAM_UNEXPECTED, |c| &c.upstream_unexpected),
        ],
    );
}

fn tls(text: &mut Text, state: &State) {
    let sum = |cell: fn(&Counters) -> &metric::Counter| state.sum(|counters| cell(counters).value());
    let results = [(["done"], sum(|c| &c.handshakes)), (["failed"], sum(|c| &c.handshakes_failed))];
    text.rows(metric::TLS_HANDSHAKES, results);
    let expiries = state.certificates.expiries();
    text.rows(metric::CERTIFICATE_EXPIRY, expiries.iter().map(|(file, left)| ([file.as_str()], *left)));
    text.rows(metric::OCSP_UNSTAPLED, state.certificates.unstapled().map(|(why, times)| ([why], times)));
}

fn ring(text: &mut Text, state: &State) {
    cells(
        text,
        state,
        [
            (metric::RING_SUBMISSION_FULL, |c| &c.ring_submission_full),
            (metric::RING_COMPLETION_OVERFLOW, |c| &c.ring_completion_overflow),
            (metric::RING_NO_BUFFERS, |c| &c.ring_no_buffers),
            (metric::RING_NO_DESCRIPTORS, |c| &c.ring_no_descriptors),
            (metric::OPERATIONS_IN_FLIGHT, |c| &c.ring_operations),
            (metric::BUFFERS_OUT, |c| &c.ring_buffers_out),
        ],
    );
}

fn flows(text: &mut Text, state: &State) {
    let counts = state.flows.counts();
    text.rows(metric::FLOWS, [(["open"], counts.open as u64), (["closed"], counts.closed as u64)]);
    text.one(metric::FLOWS_CLOSED, counts.sums.closed);
    text.one(metric::WIRETAP_READERS, counts.readers as u64);
}

fn kernel(text: &mut Text, state: &State) {
    let status = state.kernel.status();
    let packets = status.packets.iter().map(|row| ([row.cause, row.action], row.packets));
    text.rows(metric::KERNEL_PACKETS, packets);
    text.rows(metric::KERNEL_SKIPPED, status.skipped.iter().map(|row| ([row.why], row.packets)));
    let maps = || status.groups.iter().flat_map(|group| &group.maps);
    text.rows(metric::KERNEL_ENTRIES, maps().filter_map(|map| Some(([map.name], map.entries?))));
    text.rows(metric::KERNEL_FULL, maps().map(|map| ([map.name], map.full)));
    let links = status.groups.iter().flat_map(|group| group.links.iter().map(move |link| (group.name, link)));
    let attached = links.filter_map(|(group, link)| Some(([group, &link.place, link.mode?], 1)));
    text.rows(metric::KERNEL_ATTACHED, attached);
    text.one(metric::KERNEL_PRESSURE, status.pressure_s);
    let refused = status.promotions.refused.iter().map(|row| ([row.why], row.count));
    text.rows(metric::KERNEL_PROMOTIONS, std::iter::once((["denied"], status.promotions.made)).chain(refused));
}

fn rest(text: &mut Text, state: &State) {
    text.rows(metric::LOST, stats::lost(state).into_iter().map(|(queue, n)| ([queue], n)));
    access_logs(text, state);
    let load = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
    let [of_document, of_api] = state.bans.counts();
    text.rows(metric::BANS, [(["document"], of_document as u64), (["api"], of_api as u64)]);
    text.one(metric::FINDINGS, state.audit.count());
    let dns = state.resolver.counts();
    let results =
        [("answered", &dns.answered), ("denied", &dns.denied), ("absent", &dns.absent), ("failed", &dns.failed)];
    text.rows(metric::DNS_QUERIES, results.map(|(result, cell)| ([result], load(cell))));
    let probes = [("passed", &state.probe_counts.passed), ("failed", &state.probe_counts.failed)];
    text.rows(metric::PROBES, probes.map(|(result, cell)| ([result], load(cell))));
    text.rows(metric::ENDPOINTS, endpoints(&state.seen.standing().live, (state.clock)()));
    text.one(metric::EJECTIONS, load(&state.seen.ejections.made));
    let answered = Class::ALL.iter().map(|&class| ([class.token()], load(&state.answered.0[class as usize])));
    text.rows(metric::MANAGEMENT_REQUESTS, answered);
    text.one(metric::ROUTES_FOLDED, state.routes.folded_routes() as u64);
}

/// A metric that is one number of a rate limit's table.
type TableCell = (Metric, fn(&Occupancy) -> u64);

fn rate_limits(text: &mut Text, state: &State) {
    let standing = state.seen.standing();
    let tables = standing.adopted.snapshot.rate_limits.iter();
    let tables: Vec<_> = tables.map(|rule| (&*rule.name, rule.action.limiter.occupancy())).collect();
    let cells: [TableCell; 4] = [
        (metric::RATE_LIMIT_KEYS, |table| table.keys),
        (metric::RATE_LIMIT_EVICTED, |table| table.evicted),
        (metric::RATE_LIMIT_WAITING, |table| u64::from(table.waiting)),
        (metric::RATE_LIMIT_UNPROMOTED, |table| table.unpromoted),
    ];
    for (metric, cell) in cells {
        text.rows(metric, tables.iter().map(|(rule, table)| ([*rule], cell(table))));
    }
}

fn access_logs(text: &mut Text, state: &State) {
    text.head(metric::ACCESS_LOG_DROPPED);
    for log in &state.seen.standing().adopted.logs {
        let (name, drops) = (log.settings().name.as_str(), log.drops());
        for (why, cell) in [("full", &drops.full), ("io", &drops.io), ("oversize", &drops.oversize)] {
            text.row(metric::ACCESS_LOG_DROPPED, [name, why], cell.load(Ordering::Relaxed));
        }
    }
}

/// Endpoints by state; an ejected one counts as that alone.
fn endpoints(live: &Live, now: crate::base::Instant) -> [([&'static str; 1], u64); 4] {
    let mut states = ["unknown", "healthy", "unhealthy", "ejected"].map(|state| ([state], 0));
    for (_, endpoint) in live.endpoints() {
        let state = if endpoint.is_ejected(now) { "ejected" } else { endpoint.state.word() };
        states.iter_mut().filter(|(name, _)| *name == [state]).for_each(|(_, n)| *n += 1);
    }
    states
}
