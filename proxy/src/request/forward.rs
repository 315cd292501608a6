//! Trying endpoints until one answers, or none may be tried any more.

mod attempt;
mod connect;
mod response;

use std::cell::RefCell;
use std::time::Duration;

use smallvec::SmallVec;

use self::attempt::{Attempt, Failed, Tried};
use super::Exchange;
use super::body::ClientBody;
use super::decide::{Decided, KeyView, UpstreamPath};
use super::record::Record;
use super::relay::gone;
use super::upload::Replay;
use crate::base::metric::{Limit, Phase};
use crate::base::{Fault, Instant, Reason, Retry};
use crate::config::snapshot::RoutePlan;
use crate::config::value::TargetProtocol;
use crate::http::{Edits, ResponseHead};
use crate::listen::{Stopped, deadline};
use crate::ring::{self, Either, select2, sleep_until};
use crate::target::groups::Kind;
use crate::target::{Ask, Choice, EndpointId, Pick, Picked, RouteLive};

/// How soon a request looks again that lost a connection to another one.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The request as all its attempts share it.
struct Forward<'a, 'b> {
    exchange: &'a Exchange<'b>,
    decided: &'a Decided<'a, 'a>,
    plan: &'a RoutePlan,
    live: &'a RouteLive,
    keys: KeyView<'a>,
    choice: Choice,
    path: UpstreamPath<'a>,
    replay: RefCell<Replay<'a>>,
    tried: SmallVec<[EndpointId; 4]>,
}

/// Sends the request to an endpoint of the route, and the response to the client.
#[expect(clippy::too_many_arguments, reason = "the scratch of a connection, lent part by part")]
pub(super) async fn forward(
    exchange: &Exchange<'_>,
    decided: &Decided<'_, '_>,
    plan: &RoutePlan,
    path: UpstreamPath<'_>,
    record: &mut Record,
    body: &mut ClientBody,
    response: &mut ResponseHead,
    edits: &mut Edits,
    text: &mut Vec<u8>,
) -> Result<(), Fault> {
    let unavailable = Fault::new(Reason::NoRouteTargetAvailable);
    let current = exchange.current;
    let live = plan.slot.and_then(|slot| current.live.route(slot)).ok_or(unavailable)?;
    let keys = KeyView { request: exchange.request, client: exchange.client_ip() };
    exchange.count_request(live.groups().route);
    let choice = exchange.worker.balancers.borrow_mut().of(live).choose(live, &keys, ring::now()).ok_or(unavailable)?;
    let mut forward = Forward {
        exchange,
        decided,
        plan,
        live,
        keys,
        choice,
        path,
        replay: RefCell::new(Replay::new(exchange.kept_max(live), &exchange.worker.replay_room)),
        tried: SmallVec::new(),
    };
    forward.run(record, body, response, edits, text).await
}

impl Forward<'_, '_> {
    async fn run(
        &mut self,
        record: &mut Record,
        body: &mut ClientBody,
        response: &mut ResponseHead,
        edits: &mut Edits,
        text: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let mut left = self.exchange.rules.retry.attempts;
        let mut repeated_fresh = false;
        // An upgrade is never repeated, and uses its connection up: it needs one that is certain to live.
        let upgrade = self.exchange.is_upgrade();
        let mut fresh_only = upgrade;
        let mut last: Option<Fault> = None;
        let mut waits: Option<Instant> = None;
        loop {
            // That no other endpoint can be had now is not why the request failed.
            let want = |fault: Fault| last.filter(|_| is_want(fault.reason)).unwrap_or(fault);
            let picked = self.pick(waits, record).await.map_err(want)?;
            self.note(&picked, record);
            if let Kind::Static(fixed) = &self.live.groups().targets[usize::from(picked.target)].kind {
                record.is_static = true;
                return self.exchange.answer_static(fixed, self.decided.route, record, body, edits, text).await;
            }
            if picked.again && !fresh_only {
                self.back_off(record.attempts).await?;
            }
            let attempt = Attempt {
                forward: self,
                picked: &picked,
                began: ring::now(),
                fresh_only,
                may_retry_status: left > 0 && !upgrade && self.is_repeatable(Retry::Idempotent),
            };
            let failed = match attempt.run(record, body, response, edits, text).await {
                Tried::Done(result) => return result,
                Tried::Failed(failed) => failed,
            };
            if failed.fault.reason == Reason::UpstreamQueueFull {
                // It is as if it had never been picked.
                record.attempts -= 1;
                let began = *waits.get_or_insert_with(ring::now);
                self.make_way(began).await.map_err(want)?;
                continue;
            }
            waits = None;
            // A stale connection says nothing about the endpoint: once more on a fresh one, beyond `attempts`.
            let ended =
                matches!(failed.fault.reason, Reason::UpstreamClosed | Reason::UpstreamReset | Reason::UpstreamRefused);
            let stale = failed.on_reused && !repeated_fresh && ended;
            if stale && self.may_repeat(&failed) {
                (repeated_fresh, fresh_only) = (true, true);
                continue;
            }
            self.report(&picked, &failed);
            if left == 0 || !self.may_repeat(&failed) || !(failed.granted || self.within_budget()) {
                return Err(failed.fault);
            }
            left -= 1;
            last = Some(failed.fault);
            fresh_only = false;
            self.tried.push(picked.inflight.endpoint());
            self.exchange.worker.counters.retries.add(1);
        }
    }

    /// The last connection that its endpoint may have went to another request: lets others go on before it looks again,
    /// within the time that it may wait in all.
    async fn make_way(&self, began: Instant) -> Result<(), Fault> {
        let (now, limit) = (ring::now(), self.live.groups().limits.queue_timeout);
        if limit.is_zero() {
            return Err(Fault::new(Reason::UpstreamQueueFull));
        }
        if now >= began + limit {
            return Err(Fault::new(Reason::UpstreamQueueTimeout));
        }
        let slept = self.exchange.client.within(self.exchange.deadline, sleep_until(now + LOOK_AGAIN)).await;
        slept.map_err(|stopped| self.exchange.stopped(stopped).unwrap_or(Fault::new(Reason::RequestTimeout)))
    }

    /// An endpoint with a slot for this request; waits in line for one if all are busy, or if it `waits` already.
    async fn pick(&self, waits: Option<Instant>, record: &mut Record) -> Result<Picked, Fault> {
        let worker = self.exchange.worker;
        let line = worker.balancers.borrow_mut().of(self.live).has_line(self.live, self.choice);
        if !line && waits.is_none() {
            match self.ask() {
                Pick::Endpoint(picked) => return Ok(picked),
                Pick::Unusable => return Err(Fault::new(Reason::NoRouteTargetAvailable)),
                Pick::Full => {}
            }
        }
        let now = ring::now();
        let picked = self.wait_in_line(waits.unwrap_or(now)).await;
        record.spent(Phase::Queue, now, ring::now());
        picked
    }

    async fn wait_in_line(&self, began: Instant) -> Result<Picked, Fault> {
        let worker = self.exchange.worker;
        worker.counters.limit(Limit::EndpointRequests);
        let full = || Fault::new(Reason::UpstreamQueueFull);
        let ticket = worker.balancers.borrow_mut().of(self.live).enter(self.live, self.choice);
        let mut ticket = ticket.map_err(|_| full())?;
        let end = deadline(began, self.live.groups().limits.queue_timeout);
        let end = match (end, self.exchange.deadline) {
            (Some(end), other) => Some(end.earliest(other)),
            (None, other) => other,
        };
        loop {
            let client = self.exchange.client;
            // Whose turn it is looks, and nobody else: a newcomer takes no slot that was freed for one before it.
            match client.within(end, select2(ticket.turn(), client.socket.failed())).await {
                Ok(Either::Left(())) => {}
                Ok(Either::Right(())) => return Err(gone(client)),
                Err(Stopped::Late) if self.exchange.stopped(Stopped::Late).is_none() => {
                    return Err(Fault::new(Reason::UpstreamQueueTimeout));
                }
                Err(stopped) => return Err(self.exchange.stopped(stopped).unwrap_or_else(full)),
            }
            match self.ask() {
                Pick::Endpoint(picked) => return Ok(picked),
                Pick::Unusable => return Err(Fault::new(Reason::NoRouteTargetAvailable)),
                Pick::Full => {}
            }
        }
    }

    fn ask(&self) -> Pick {
        let worker = self.exchange.worker;
        let now = ring::now();
        let idle = |endpoint: EndpointId| {
            let pooled = worker.pool.borrow().holds(endpoint.number());
            pooled || worker.sessions.borrow().has_room(endpoint)
        };
        let ask = Ask {
            keys: &self.keys,
            choice: self.choice,
            now,
            unix: worker.wall.unix_ns(now) / 1_000_000_000,
            exclude: &self.tried,
            idle: &idle,
        };
        worker.balancers.borrow_mut().of(self.live).pick(self.live, &ask)
    }

    fn note(&self, picked: &Picked, record: &mut Record) {
        record.target = Some(picked.target);
        record.endpoint = picked.address;
        record.attempts += 1;
    }

    /// The same endpoint again: not at once.
    async fn back_off(&self, attempt: u32) -> Result<(), Fault> {
        let base = self.exchange.rules.retry.backoff;
        let longest = base.saturating_mul(1 << attempt.saturating_sub(2).min(10));
        let jittered = longest.mul_f64(0.5 + self.exchange.worker.random.borrow_mut().f64() / 2.0);
        if jittered > Duration::ZERO {
            let until = ring::now() + jittered;
            let slept = self.exchange.client.within(self.exchange.deadline, sleep_until(until)).await;
            slept.map_err(|stopped| self.exchange.stopped(stopped).unwrap_or(Fault::new(Reason::RequestTimeout)))?;
        }
        Ok(())
    }

    fn is_repeatable(&self, retry: Retry) -> bool {
        match retry {
            Retry::Safe => true,
            Retry::Idempotent => {
                self.exchange.request.verb().is_idempotent() || self.exchange.rules.retry.non_idempotent
            }
            Retry::No => false,
        }
    }

    fn may_repeat(&self, failed: &Failed) -> bool {
        if self.exchange.is_upgrade() || !self.is_repeatable(failed.fault.retry) {
            return false;
        }
        let replay = self.replay.borrow();
        if failed.body_begun && replay.is_starved() {
            self.exchange.worker.counters.limit(Limit::ReplayMemory);
        }
        !failed.body_begun || replay.is_whole()
    }

    fn replay_is_whole(&self) -> bool {
        self.replay.try_borrow().is_ok_and(|replay| replay.is_whole())
    }

    fn within_budget(&self) -> bool {
        let worker = self.exchange.worker;
        let mut budgets = worker.budgets.borrow_mut();
        let budget = budgets.entry(self.live.groups().route).or_default();
        let granted = budget.try_retry(ring::now(), self.exchange.rules.retry.budget);
        if !granted {
            worker.counters.limit(Limit::RetryBudget);
        }
        granted
    }

    fn report(&self, picked: &Picked, failed: &Failed) {
        let (now, inflight) = (ring::now(), &picked.inflight);
        let report = match failed.fault.reason {
            Reason::UpstreamConnectRefused
            | Reason::UpstreamUnreachable
            | Reason::UpstreamConnectTimeout
            | Reason::UpstreamTlsTimeout
            | Reason::UpstreamTlsFailed
            | Reason::UpstreamCertInvalid => inflight.connect_failed(now),
            Reason::UpstreamResponseHeaderTimeout | Reason::UpstreamTryTimeout => {
                inflight.head_timed_out(failed.took, now)
            }
            Reason::UpstreamClosed | Reason::UpstreamReset | Reason::UpstreamBadResponse => inflight.broke(),
            _ => None,
        };
        self.exchange.worker.report(report);
    }
}

/// Whether a pick ended for want of an endpoint.
fn is_want(reason: Reason) -> bool {
    use Reason::{NoRouteTargetAvailable, UpstreamQueueFull, UpstreamQueueTimeout};
    matches!(reason, NoRouteTargetAvailable | UpstreamQueueFull | UpstreamQueueTimeout)
}

/// Whether an endpoint may say of a request whose body has begun to come that it has not looked at it: in HTTP/2.
fn may_refuse(live: &RouteLive) -> bool {
    live.groups().targets.iter().any(|target| target.protocol != TargetProtocol::Http1)
}

impl Exchange<'_> {
    /// Octets of the body worth keeping for another try: none where no try may follow once one has left.
    fn kept_max(&self, live: &RouteLive) -> u64 {
        let retry = &self.rules.retry;
        if self.request.verb().is_idempotent() || retry.non_idempotent || may_refuse(live) { retry.body_max } else { 0 }
    }

    /// Whether the upstream is asked for a tunnel.
    fn is_upgrade(&self) -> bool {
        self.rules.websocket && self.request.websocket().is_some()
    }

    fn count_request(&self, route: u32) {
        if self.rules.retry.attempts > 0 {
            self.worker.budgets.borrow_mut().entry(route).or_default().request(ring::now());
        }
    }
}
