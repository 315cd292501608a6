//! What became of one request: gathered along its path, counted and logged at its end.

use std::net::SocketAddr;
use std::time::Duration;

use super::Exchange;
use super::body::ClientBody;
use super::policy::Decider;
use crate::base::id::RequestId;
use crate::base::metric::Phase;
use crate::base::{Instant, Reason};
use crate::http::{Request, Version};
use crate::listen::Client;
use crate::ring;
use crate::trace::flow::{Verdict, is_denial};
use crate::trace::{Fields, Outcome, Phases, Tls};
use crate::worker::Worker;

/// The facts of a request in progress.
pub(super) struct Record {
    pub(super) id: RequestId,
    pub(super) began: Instant,
    /// When the response's last octet had left.
    pub(super) ended: Instant,
    pub(super) start_unix_ns: u64,
    pub(super) phases: Phases,
    pub(super) reason: Reason,
    /// 0: none was sent.
    pub(super) status: u16,
    /// A response's head has left, or begun to.
    pub(super) answered: bool,
    /// Whether the connection may live on.
    pub(super) keep_alive: bool,
    /// Only the connection's end ends the response.
    pub(super) close_delimited: bool,
    /// The connection ends by a reset, so that a part is not taken for the whole.
    pub(super) reset: bool,
    pub(super) body_out: u64,
    /// The rule that refused it.
    pub(super) decider: Option<Decider>,
    /// Position of the route in the document.
    pub(super) route: Option<usize>,
    /// Index of the target among its route's.
    pub(super) target: Option<u16>,
    pub(super) is_static: bool,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) attempts: u32,
    pub(super) reused: bool,
    /// The flow of the last try.
    pub(super) upstream: Option<u64>,
    received_before: u64,
    sent_before: u64,
}

impl Record {
    pub(super) fn begin(worker: &Worker, client: &Client, began: Instant) -> Self {
        let start_unix_ns = worker.wall.unix_ns(began);
        let random = worker.random.borrow_mut().u128(..);
        Self {
            id: RequestId::new(start_unix_ns / 1_000_000, random),
            began,
            ended: began,
            start_unix_ns,
            phases: Phases::default(),
            reason: Reason::Ok,
            status: 0,
            answered: false,
            keep_alive: true,
            close_delimited: false,
            reset: false,
            body_out: 0,
            decider: None,
            route: None,
            target: None,
            is_static: false,
            endpoint: None,
            attempts: 0,
            reused: false,
            upstream: None,
            received_before: client.accounted_in.get(),
            sent_before: client.socket.sent(),
        }
    }

    /// Time since `from` belongs to `phase`.
    pub(super) fn spent(&mut self, phase: Phase, from: Instant, now: Instant) {
        self.phases.add(phase, now.since(from));
    }

    /// Counts and logs the request.
    pub(super) fn finish(&self, exchange: &Exchange<'_>, body: &ClientBody) {
        let Exchange { worker, client, current, .. } = exchange;
        let total = self.ended.since(self.began);
        let (bytes_in, bytes_out) = self.octets(client, exchange.request.bytes.len(), body);
        worker.counters.reason(self.reason);
        worker.counters.client_received.add(bytes_in);
        worker.counters.client_sent.add(bytes_out);
        for phase in Phase::ALL {
            if let Some(us) = self.phases.us(*phase) {
                worker.counters.stage(*phase, Duration::from_micros(u64::from(us)));
            }
        }
        current.cells.slot(self.route).finished(self.status, total);
        if self.reason != Reason::Ok
            && let Some(denial) = exchange.denial(self)
        {
            exchange.find(denial, self);
        }
        if worker.flows.wants(self.reason) {
            self.tell_flows(exchange);
        }
        if !current.logs.is_empty() {
            self.log(exchange, body, total, bytes_in, bytes_out);
        }
    }

    fn octets(&self, client: &Client, head: usize, body: &ClientBody) -> (u64, u64) {
        client.accounted_in.set(self.received_before + head as u64 + body.received_raw());
        (head as u64 + body.received_raw(), client.socket.sent() - self.sent_before)
    }

    /// What became of the request, for the flows that carried it.
    #[cold]
    fn tell_flows(&self, exchange: &Exchange<'_>) {
        let Exchange { worker, client, request, .. } = exchange;
        let verdict = |hostname| Verdict {
            denied: is_denial(self.reason),
            reason: self.reason,
            rule: exchange.denial(self).map(|denial| denial.rule.into()),
            trace_id: self.id,
            hostname,
        };
        let host = request.host();
        if let Some(cookie) = client.cookie() {
            worker.flows.request(cookie, verdict((!host.is_empty()).then(|| host.into())));
        }
        if let Some(cookie) = self.upstream {
            worker.flows.request(cookie, verdict(None));
        }
    }

    #[cold]
    fn log(&self, exchange: &Exchange<'_>, body: &ClientBody, total: Duration, bytes_in: u64, bytes_out: u64) {
        let Exchange { worker, client, current, request, .. } = exchange;
        let snapshot = &current.snapshot;
        let raw = self.route.map(|at| &snapshot.document.routes[at]);
        let slot = self.route.and_then(|at| snapshot.routes[at].slot);
        let target = slot.zip(self.target).map(|(slot, at)| &snapshot.groups[slot].targets[usize::from(at)]);
        let endpoint = self.endpoint.map(|address| address.to_string());
        let limit_id = exchange.denier(self).map(|rule| rule.id.to_string());
        let fields = LoggedFields(*request);
        // What ended before a request line came has nothing of a request.
        let asked = !request.method().is_empty();
        let outcome = Outcome {
            node_id: &worker.node_id,
            worker: u16::try_from(worker.number).unwrap_or(u16::MAX),
            generation: snapshot.generation,
            start_unix_ns: self.start_unix_ns,
            total,
            phases: self.phases,
            request_id: exchange.given_id,
            limit_id: limit_id.as_deref(),
            limit: exchange.denier(self).map(|rule| &*rule.name),
            ban: if let Some(Decider::Ban(rule)) = &self.decider { Some(&**rule) } else { None },
            client_ip: exchange.client_ip(),
            peer_ip: client.peer_ip(),
            http_version: asked.then(|| match request.version() {
                Version::Http10 => "1.0",
                Version::Http11 => "1.1",
                Version::Http2 => "2",
            }),
            tls: client.secured().map(|tls| Tls {
                version: tls.version.text(),
                cipher: tls.cipher,
                alpn: tls.alpn.as_deref(),
                resumed: tls.resumed,
                sni: tls.sni.as_deref(),
            }),
            method: asked.then(|| request.method()),
            host: asked.then(|| request.host().as_bytes()),
            path: asked.then(|| request.path_raw()),
            query: request.query(),
            headers: &fields,
            status: (self.status != 0).then_some(self.status),
            bytes_in,
            bytes_out,
            body_in: body.received(),
            body_out: self.body_out,
            route_id: raw.map(|raw| raw.id),
            route: raw.map(|raw| raw.name.as_str()),
            target: target.map(|target| &*target.name),
            target_type: self.target.map(|_| if self.is_static { "static" } else { "direct" }),
            endpoint: endpoint.as_deref(),
            attempts: self.attempts,
            reused: self.reused,
            ..Outcome::new(self.id, &client.listener, self.reason)
        };
        write(exchange, &outcome);
    }
}

fn write(exchange: &Exchange<'_>, outcome: &Outcome<'_>) {
    let now = ring::now();
    for (plan, log) in exchange.current.snapshot.access_logs.iter().zip(exchange.current.logs.iter()) {
        log.borrow_mut().line(now, |out| plan.format.write(outcome, out));
    }
}

struct LoggedFields<'a>(Request<'a>);

impl Fields for LoggedFields<'_> {
    fn field(&self, name: &str) -> Option<&[u8]> {
        self.0.fields().find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}
