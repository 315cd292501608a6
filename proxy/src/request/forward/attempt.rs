//! One try at one endpoint: a connection, the request, the response.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use super::super::Exchange;
use super::super::beside::Beside;
use super::super::body::ClientBody;
use super::super::record::Record;
use super::super::relay::{Ended, STREAM_BATCH, gone};
use super::super::upload::{Progress, Upload};
use super::Forward;
use super::response::Arrived;
use crate::base::metric::Phase;
use crate::base::{Fault, Instant, Reason, Retry};
use crate::buf::spare_vec;
use crate::config::value::{Forwarded, UpstreamHost};
use crate::http::{Before, BodyLength, Connection, Edits, Forwarding, RequestOut, ResponseHead, write_request_head};
use crate::listen::deadline;
use crate::ring::{self, Socket};
use crate::target::Picked;
use crate::target::groups::Target;
use crate::transport::{Upstream, exchange_fault};
use crate::wire::Wire;

/// One try.
pub(super) struct Attempt<'f, 'a, 'b> {
    pub(super) forward: &'f Forward<'a, 'b>,
    pub(super) picked: &'f Picked,
    pub(super) began: Instant,
    /// Not on a connection from the pool.
    pub(super) fresh_only: bool,
    /// A status that counts as failed may be tried elsewhere.
    pub(super) may_retry_status: bool,
}

/// How a try ended.
pub(super) enum Tried {
    /// The client has its answer, or never will.
    Done(Result<(), Fault>),
    /// Nothing has reached the client: another try may.
    Failed(Failed),
}

/// A try that failed.
pub(super) struct Failed {
    pub(super) fault: Fault,
    pub(super) on_reused: bool,
    /// An octet of the request's body has left.
    pub(super) body_begun: bool,
    pub(super) took: Duration,
    /// The budget has already granted another try.
    pub(super) granted: bool,
}

impl<'a, 'b> Attempt<'_, 'a, 'b> {
    pub(super) async fn run(
        &self,
        record: &mut Record,
        body: &mut ClientBody,
        response: &mut ResponseHead,
        edits: &mut Edits,
        text: &mut Vec<u8>,
    ) -> Tried {
        let began = self.began;
        let upstream = match self.obtain(record).await {
            Ok(upstream) => upstream,
            Err(fault) => return self.failed(fault, false, &Progress::default(), began),
        };
        record.reused = upstream.is_reused();
        record.upstream = upstream.cookie();
        let counted = (upstream.socket.received(), upstream.socket.sent());
        let tried = self.exchange_on(&upstream, began, record, body, response, edits, text).await;
        let counters = &self.forward.exchange.worker.counters;
        counters.upstream_received.add(upstream.socket.received() - counted.0);
        counters.upstream_sent.add(upstream.socket.sent() - counted.1);
        match tried {
            Ok(Some(reuse)) => {
                self.give_back(upstream, reuse);
                Tried::Done(Ok(()))
            }
            ended => {
                upstream.leave(self.forward.live.groups().limits.connections_max);
                ended.map_or_else(|tried| tried, |_| Tried::Done(Ok(())))
            }
        }
    }

    /// Where it goes.
    pub(super) fn target(&self) -> &'a Target {
        &self.forward.live.groups().targets[usize::from(self.picked.target)]
    }

    fn failed(&self, fault: Fault, on_reused: bool, progress: &Progress, began: Instant) -> Tried {
        let took = ring::now().since(began);
        let fault = if progress.relayed.get() { fault.retry(Retry::No) } else { fault };
        Tried::Failed(Failed { fault, on_reused, body_begun: progress.begun.get(), took, granted: false })
    }

    /// The exchange itself. `Some`: the connection may be used again, for so long.
    #[expect(clippy::too_many_arguments, reason = "the scratch of a connection, lent part by part")]
    async fn exchange_on(
        &self,
        upstream: &Upstream,
        began: Instant,
        record: &mut Record,
        body: &mut ClientBody,
        response: &mut ResponseHead,
        edits: &mut Edits,
        text: &mut Vec<u8>,
    ) -> Result<Option<Duration>, Tried> {
        let exchange = self.forward.exchange;
        let progress = Progress::default();
        let reusable = body.allows_reuse();
        let _narrow = exchange.client.socket.stream().and_then(|_| Narrow::new(&upstream.socket));
        // An empty chunked body still has its last chunk, also on a second try, when the client has long sent it.
        let has_body = !exchange.request.head.body().is_empty();
        progress.continued.set(!body.awaits_continue());
        let head = self.write_head(upstream, edits, text);
        let body = RefCell::new(body);
        let upload = self.upload(upstream, &body, &progress, began);
        let sending = async {
            upload.run(head, has_body).await?;
            // From here on only the client's going away ends the wait early. The end of what it sends does not tell of
            // that: it may have no more to say, and still listen.
            exchange.client.socket.failed().await;
            Err(gone(exchange.client))
        };
        let sending = pin!(sending);
        let mut beside = Beside::new(sending);
        response.clear();
        let arrived = {
            // Pinned where they are: what is passed on by value is copied at each step.
            let awaited = pin!(self.await_head(upstream, response, &progress));
            let main = pin!(beside.run(awaited, |sent: &Result<(), Fault>| sent.err()));
            match exchange.client.within(exchange.deadline, main).await {
                Ok(Ok(arrived)) => arrived,
                Ok(Err(fault)) => Err(fault),
                Err(stopped) => Err(exchange.stopped(stopped).unwrap_or(Fault::new(Reason::RequestTimeout))),
            }
        };
        let now = ring::now();
        let sent = progress.done.get().unwrap_or(now);
        record.spent(Phase::Send, began, sent);
        record.spent(Phase::Wait, sent, now);
        let arrived = arrived.map_err(|fault| self.failed(fault, upstream.may_be_stale(), &progress, began))?;
        progress.answered.set(true);
        let report = self.picked.inflight.answered(response.status(), now.since(sent.min(now)), now);
        exchange.worker.report(report);
        self.accept_status(response.status(), &progress, now.since(began))?;
        record.keep_alive &= progress.done.get().is_some() || (reusable && !progress.held_back.get());
        let relayed = self.respond(upstream, arrived, response, record, &mut beside, edits, text).await;
        record.spent(Phase::Receive, now, ring::now());
        let ended = relayed.map_err(|fault| Tried::Done(Err(fault)))?;
        let whole = ended == Some(Ended::Clean) && progress.done.get().is_some();
        if ended == Some(Ended::Surplus) {
            exchange.worker.counters.upstream_unexpected.add(1);
        }
        Ok(if whole { self.reuse_for(upstream, response) } else { None })
    }

    /// What sends the request of this try.
    fn upload<'u>(
        &'u self,
        upstream: &'u Upstream,
        body: &'u RefCell<&'u mut ClientBody>,
        progress: &'u Progress,
        began: Instant,
    ) -> Upload<'u, 'a> {
        let exchange = self.forward.exchange;
        let timeouts = &exchange.rules.timeouts;
        Upload {
            client: exchange.client,
            upstream,
            body,
            replay: &self.forward.replay,
            progress,
            timer: exchange.timer,
            timeouts,
            deadline: exchange.deadline,
            try_end: deadline(began, timeouts.try_),
            two_way: exchange.is_grpc(),
        }
    }

    /// Fails the try if its status is one for which another is made.
    fn accept_status(&self, status: u16, progress: &Progress, took: Duration) -> Result<(), Tried> {
        if !self.is_retried(status, progress) {
            return Ok(());
        }
        let fault = Fault::new(Reason::UpstreamBadResponse).retry(Retry::Idempotent);
        let (on_reused, body_begun) = (false, progress.begun.get());
        Err(Tried::Failed(Failed { fault, on_reused, body_begun, took, granted: true }))
    }

    /// The request's head as the upstream gets it.
    fn write_head(&self, _: &Upstream, edits: &mut Edits, text: &mut Vec<u8>) -> Vec<u8> {
        let Forward { exchange, decided, plan, path, live, .. } = self.forward;
        let request = exchange.request;
        edits.clear();
        let rewritten = path.rewritten.then(|| std::mem::take(text));
        if !path.stripped.is_empty() {
            edits.set(b"X-Forwarded-Prefix", path.stripped);
        }
        exchange.hide_untrusted(edits);
        let facts = exchange.facts(decided.route);
        let has = |name: &[u8]| request.fields().any(|(field, _)| field.eq_ignore_ascii_case(name));
        let target = usize::from(self.picked.target);
        let of_target = plan.target_edits.get(target).filter(|edits| !edits.is_empty());
        let of_route = Some(&decided.route.request_headers).filter(|edits| !edits.is_empty());
        for own in of_route.into_iter().chain(of_target) {
            own.apply(&facts, has, text, edits);
        }
        let authority = live.groups().targets[target].origin().map_or("", |origin| &origin.authority);
        let upgrade = exchange.rules.websocket && request.websocket().is_some();
        let out = RequestOut {
            request,
            path: rewritten.as_deref().unwrap_or(&decided.paths.spelled),
            query: request.query(),
            host: match &decided.route.rewrite.host {
                UpstreamHost::Target => authority.as_bytes(),
                UpstreamHost::Preserve => request.authority(),
                UpstreamHost::Set(name) => name.as_bytes(),
            },
            body: upstream_body(request.head.body()),
            expect_continue: request.head.expect_continue(),
            connection: if upgrade { Connection::Upgrade } else { Connection::KeepAlive },
            forwarding: Forwarding {
                mode: match exchange.rules.forwarded {
                    Forwarded::X => crate::http::Forwarded::X,
                    Forwarded::Rfc7239 => crate::http::Forwarded::Rfc7239,
                    Forwarded::Both => crate::http::Forwarded::Both,
                    Forwarded::Off => crate::http::Forwarded::Off,
                },
                peer: exchange.client.whence.peer_text(),
                before: exchange.before(),
                proto: exchange.client.scheme(),
                port: exchange.client.port,
            },
            client_cert: exchange.client_cert(),
            request_id: exchange.id_header(),
            edits,
        };
        let mut head = spare_vec();
        write_request_head(&mut head, &out);
        if let Some(rewritten) = rewritten {
            // Another try sends the same path.
            *text = rewritten;
        }
        head
    }

    /// Waits for the response's head; relays interim ones.
    async fn await_head(
        &self,
        upstream: &Upstream,
        response: &mut ResponseHead,
        progress: &Progress,
    ) -> Result<Arrived, Fault> {
        loop {
            let arrived = self.receive_head(upstream, response, progress).await?;
            if !response.is_interim() {
                return Ok(arrived);
            }
            self.relay_interim(upstream, arrived, response, progress);
        }
    }

    fn is_retried(&self, status: u16, progress: &Progress) -> bool {
        let retry = &self.forward.exchange.rules.retry;
        let whole = !progress.begun.get() || self.forward.replay_is_whole();
        let whole = whole && !progress.relayed.get();
        self.may_retry_status && retry.statuses.contains(&status) && whole && self.forward.within_budget()
    }

    /// How long a connection whose exchange is whole may lie idle.
    fn reuse_for(&self, upstream: &Upstream, response: &ResponseHead) -> Option<Duration> {
        let pool = &self.forward.exchange.current.snapshot.document.pool;
        let used_up = pool.requests_max != 0 && u64::from(upstream.exchanges.get()) >= pool.requests_max;
        let aged = !pool.age_max.is_zero() && ring::now().since(upstream.born) >= pool.age_max;
        // A stream serves one exchange; its connection is not this one's to keep.
        let stream = upstream.socket.stream().is_some();
        if stream || used_up || aged || !response.keep_alive() || upstream.closing.get() {
            return None;
        }
        let idle = if pool.idle_timeout.is_zero() { Duration::from_secs(86_400) } else { pool.idle_timeout };
        // A second less than the peer says: it must not close just as we send.
        let told = upstream.told_idle.get().map(|told| told.saturating_sub(Duration::from_secs(1)));
        Some(told.map_or(idle, |told| told.min(idle))).filter(|idle| !idle.is_zero())
    }

    fn give_back(&self, upstream: Box<Upstream>, idle: Duration) {
        let exchange = self.forward.exchange;
        let max = self.forward.live.groups().limits.connections_max;
        if !upstream.is_wanted_elsewhere(max) && !exchange.worker.is_draining() {
            let bounds = exchange.current.pool_bounds();
            exchange.worker.pool.borrow_mut().put(upstream.key.clone(), upstream, ring::now(), idle, bounds);
        }
    }

    /// Receives one head, interim or final.
    async fn receive_head(
        &self,
        upstream: &Upstream,
        response: &mut ResponseHead,
        progress: &Progress,
    ) -> Result<Arrived, Fault> {
        let mut gathered: Option<Vec<u8>> = None;
        loop {
            let chunk = match upstream.timer.race(upstream.socket.recv()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Err(Fault::new(Reason::UpstreamClosed).retry(Retry::Idempotent)),
                Ok(Err(error)) => return Err(exchange_fault(&error)),
                Err(_) => return Err(self.late(progress)),
            };
            if let Some(arrived) = Arrived::parse(&mut gathered, chunk, response)? {
                return Ok(arrived);
            }
        }
    }

    fn late(&self, progress: &Progress) -> Fault {
        let reason = match progress.try_ended.get().is_some_and(|end| end <= ring::now()) {
            true => Reason::UpstreamTryTimeout,
            false => Reason::UpstreamResponseHeaderTimeout,
        };
        Fault::new(reason).retry(Retry::Idempotent)
    }
}

impl Exchange<'_> {
    /// What a trusted peer says of the hops before it.
    fn before(&self) -> Option<Before<'_>> {
        let trusted = self.who.is_ok_and(|who| who.trusted);
        trusted.then(|| Before { addresses: self.chain.addresses(), elements: self.chain.elements() })
    }

    /// Headers by which trusted peers name clients say nothing where anybody else sends them.
    fn hide_untrusted(&self, edits: &mut Edits) {
        if self.who.is_ok_and(|who| !who.trusted) {
            self.current.trust.headers().for_each(|name| edits.remove(name.as_bytes()));
        }
    }
}

/// How a request's body is framed for an upstream of HTTP/1: what a stream's end ended, the last chunk does.
fn upstream_body(client: BodyLength) -> BodyLength {
    if client == BodyLength::UntilClose { BodyLength::Chunked } else { client }
}

/// Has little of a response wait in its upstream's socket while it goes to one of many streams.
struct Narrow<'u>(&'u Socket);

impl<'u> Narrow<'u> {
    fn new(upstream: &'u Wire) -> Option<Self> {
        let socket = upstream.socket()?;
        socket.set_recv_cap(STREAM_BATCH as u32);
        Some(Self(socket))
    }
}

impl Drop for Narrow<'_> {
    fn drop(&mut self) {
        self.0.set_recv_cap(ring::recv_cap());
    }
}
