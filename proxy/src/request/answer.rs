//! Answers of weir's own: error pages, redirects, static targets, and what a bad head gets.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::body::{ClientBody, close_gently};
use super::decide::Decided;
use super::record::Record;
use super::{Exchange, ListenerPlan, grpc};
use crate::base::metric::Limit;
use crate::base::{Fault, Reason};
use crate::buf::{SendBuf, spare_vec};
use crate::http::h2::Incoming;
use crate::http::{BodyLength, Connection, Edits, Head, Method, Request, ResponseOut, write_response_head};
use crate::listen::{self, Client};
use crate::policy::identity::Chain;
use crate::policy::limit::Told;
use crate::respond::{Wanted, render};
use crate::ring::{self, Timer};
use crate::route::{Facts, Redirect, Route};
use crate::target::groups::Static;
use crate::worker::{Current, Worker};

/// An answer's status, fields (in `edits`) and body.
struct Answer {
    status: u16,
    body: Body,
}

enum Body {
    None,
    Owned(Vec<u8>),
    Shared(Arc<[u8]>),
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Owned(octets) => octets.len(),
            Self::Shared(octets) => octets.len(),
        }
    }
}

/// Answers with the route's Location.
pub(super) async fn redirect(
    exchange: &Exchange<'_>,
    decided: &Decided<'_, '_>,
    redirect: &Redirect,
    record: &mut Record,
    body: &ClientBody,
    edits: &mut Edits,
    text: &mut Vec<u8>,
) -> Result<(), Fault> {
    redirect.location(&decided.incoming(&exchange.request), text)?;
    if !edits.add(b"Location", text) {
        return Err(Fault::new(Reason::RedirectFailed));
    }
    exchange.edit_response(decided.route, edits, text);
    let answer = Answer { status: redirect.status, body: Body::None };
    exchange.answer(answer, record, body, edits).await
}

impl Exchange<'_> {
    /// Answers with a static target's response.
    pub(super) async fn answer_static(
        &self,
        fixed: &Static,
        route: &Route,
        record: &mut Record,
        body: &ClientBody,
        edits: &mut Edits,
        text: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        for (name, value) in &fixed.headers {
            edits.add(name.as_bytes(), value.as_bytes());
        }
        // RFC 8441 section 5: a success would pass for the tunnel that was asked for.
        if self.request.head.is_extended() && matches!(fixed.status, 200..=299) {
            return Err(Fault::new(Reason::ProtocolUnsupported));
        }
        self.edit_response(route, edits, text);
        let answer = Answer { status: fixed.status, body: Body::Shared(fixed.body.clone()) };
        self.answer(answer, record, body, edits).await
    }

    /// A fault's one place to become an answer: a page, or the end of a response that has begun.
    pub(super) async fn fail(&mut self, fault: Fault, record: &mut Record, body: &mut ClientBody, edits: &mut Edits) {
        record.reason = fault.reason;
        // Whoever sends a bad target is not trusted with where its next request begins, as with any bad head.
        record.keep_alive &= fault.reason != Reason::InvalidRequestTarget;
        count_limit(self.worker, fault.reason);
        self.note_cut(record);
        let silent = fault.status == 0 || fault.reason == Reason::ClientCancelled;
        if record.answered || silent {
            // What has begun never ends cleanly, so that nobody takes a part for the whole.
            record.keep_alive = false;
            // Whoever was cut off by a ban is not closed gently.
            record.reset |= self.client.told() == listen::Told::Cut && self.client.cut() != Reason::ShutdownCut;
            if record.close_delimited || fault.reason == Reason::ClientTooSlow {
                self.client.socket.set_linger_reset();
                record.reset = true;
            }
            if !record.answered {
                record.status = if fault.reason == Reason::ClientCancelled { 499 } else { 0 };
            }
            record.answered = true;
            return;
        }
        // The page about a deadline comes after it.
        self.deadline = None;
        edits.clear();
        let answer = match self.denier(record).filter(|_| fault.reason == Reason::RateLimited) {
            _ if self.is_grpc() => {
                grpc::write_error(fault, edits);
                Answer { status: 200, body: Body::None }
            }
            Some(rule) => {
                rule.action.denial.write(edits);
                Answer { status: fault.status, body: Body::Shared(rule.action.denial.body.clone()) }
            }
            None => self.page(fault, record, edits),
        };
        if let Err(end) = self.answer(answer, record, body, edits).await {
            record.keep_alive = false;
            // The page could not be delivered; the fault that it told of stays the reason.
            let _ = end;
        }
    }

    /// The page that tells of a fault.
    fn page(&self, fault: Fault, record: &Record, edits: &mut Edits) -> Answer {
        let mut page = Vec::new();
        let id = self.id_text();
        let kind = render(&mut page, &self.rules.pages, self.wanted(), fault.status, fault.reason, id);
        edits.add(b"Content-Type", kind.as_bytes());
        edits.add(b"Cache-Control", b"no-store");
        if let Some(seconds) = retry_after(fault.reason) {
            edits.add(b"Retry-After", seconds);
        }
        if let Some(route) = record.route.and_then(|at| self.route_at(at)).filter(|route| route.edit_error_pages) {
            self.edit_response(route, edits, &mut Vec::new());
        }
        Answer { status: fault.status, body: Body::Owned(page) }
    }

    /// The form of error body that the client prefers.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted::from_accept(self.request.fields_named(b"accept"))
    }

    fn route_at(&self, position: usize) -> Option<&Route> {
        let snapshot = &self.current.snapshot;
        snapshot.table.routes().get(snapshot.routes.get(position)?.rank)
    }

    /// The request's id: the record's, or what a trusted peer gave.
    pub(super) fn request_id(&self) -> &[u8] {
        self.given_id.unwrap_or(&self.id)
    }

    /// The same as text.
    pub(super) fn id_text(&self) -> &str {
        std::str::from_utf8(self.request_id()).unwrap_or_default()
    }

    /// Name and value of the request id's header.
    pub(super) fn id_header(&self) -> (&[u8], &[u8]) {
        (self.listener.1.request_id_header.as_bytes(), self.request_id())
    }

    /// The facts that header edits may name.
    pub(super) fn facts<'f>(&'f self, route: &'f Route) -> Facts<'f> {
        Facts {
            client_ip: self.client_ip(),
            host: self.request.host(),
            method: self.request.method(),
            path: self.request.path_raw(),
            route: &route.name,
            request_id: self.request_id(),
        }
    }

    /// Applies the route's response edits to fields of weir's own.
    fn edit_response(&self, route: &Route, edits: &mut Edits, text: &mut Vec<u8>) {
        if !route.response_headers.is_empty() {
            route.response_headers.apply(&self.facts(route), |_| false, text, edits);
        }
    }

    async fn answer(
        &self,
        answer: Answer,
        record: &mut Record,
        body: &ClientBody,
        edits: &mut Edits,
    ) -> Result<(), Fault> {
        self.told.write(edits);
        record.keep_alive &= body.allows_reuse();
        self.heed_drain(record);
        let bodiless = matches!(answer.status, 204 | 304) || self.request.verb() == Method::Head;
        let length = answer.body.len() as u64;
        let out = ResponseOut {
            status: answer.status,
            upstream: None,
            body: if bodiless { BodyLength::None } else { BodyLength::Length(length) },
            stated_length: (bodiless && answer.status != 204 && length > 0).then_some(length),
            version: self.request.version(),
            connection: if record.keep_alive { Connection::KeepAlive } else { Connection::Close },
            date: &[],
            request_id: self.id_header(),
            edits,
        };
        let mut octets = spare_vec();
        self.write_head(&mut octets, out);
        let mut send = SendBuf::new();
        send.push_vec(octets);
        record.status = answer.status;
        record.answered = true;
        if !bodiless {
            record.body_out = length;
            match answer.body {
                Body::None => {}
                Body::Owned(octets) => send.push_vec(octets),
                Body::Shared(octets) => send.push_arc(octets),
            }
        }
        self.send(send).await
    }

    /// Writes a response head with the date of now.
    pub(super) fn write_head(&self, octets: &mut Vec<u8>, out: ResponseOut<'_>) {
        self.worker.wall.with_date(ring::now(), |date| write_response_head(octets, &ResponseOut { date, ..out }));
    }
}

/// Answers a head that is bad, late or cut, records it, and closes.
pub(super) async fn bad_head(
    worker: &Worker,
    client: &Client,
    current: &Rc<Current>,
    listener: (usize, &ListenerPlan),
    fault: Fault,
    octets: &[u8],
    head: &Head,
) {
    let mut record = Record::begin(worker, client, ring::now());
    let timer = Timer::new();
    let chain = Chain::default();
    let mut exchange = Exchange {
        worker,
        client,
        current,
        listener,
        rules: &listener.1.rules,
        request: Request::new(head, octets),
        who: Ok(current.trust.unresolved(client.peer_ip()).brought(client.whence.is_brought())),
        chain: &chain,
        told: Told::default(),
        deadline: None,
        timer: &timer,
        id: record.id.text(),
        given_id: None,
    };
    record.keep_alive = false;
    let mut body = ClientBody::broken();
    exchange.fail(fault, &mut record, &mut body, &mut Edits::new()).await;
    record.ended = ring::now();
    if record.status != 0 {
        close_gently(client, gentle(listener.1.rules.timeouts.linger)).await;
    }
    record.finish(&exchange, &body);
}

/// Records what of a connection was refused below any request: whoever sent it has its answer already.
pub(super) fn refused_below(
    worker: &Worker,
    client: &Client,
    current: &Rc<Current>,
    listener: (usize, &ListenerPlan),
    reason: Reason,
) {
    let mut record = Record::begin(worker, client, ring::now());
    let (timer, chain, mut head) = (Timer::new(), Chain::default(), Head::new());
    head.carry(Incoming::default(), true);
    let exchange = Exchange {
        worker,
        client,
        current,
        listener,
        rules: &listener.1.rules,
        request: Request::new(&head, b""),
        who: Ok(current.trust.unresolved(client.peer_ip())),
        chain: &chain,
        told: Told::default(),
        deadline: None,
        timer: &timer,
        id: record.id.text(),
        given_id: None,
    };
    (record.reason, record.status) = (reason, reason.status());
    count_limit(worker, reason);
    record.finish(&exchange, &ClientBody::broken());
}

/// A close without any patience would reset, and take the answer with it.
fn gentle(linger: Duration) -> Duration {
    linger.max(Duration::from_millis(1))
}

/// RFC 9110 section 10.2.3.
fn retry_after(reason: Reason) -> Option<&'static [u8]> {
    matches!(reason, Reason::Overloaded | Reason::UpstreamQueueFull | Reason::UpstreamQueueTimeout).then_some(b"1")
}

fn count_limit(worker: &Worker, reason: Reason) {
    let limit = match reason {
        Reason::TargetTooLong => Limit::Target,
        Reason::HeadersTooLarge => Limit::Head,
        Reason::HeadersTooMany => Limit::Fields,
        Reason::QueryTooMany => Limit::QueryPairs,
        Reason::BodyTooLarge => Limit::Body,
        Reason::UpstreamQueueFull => Limit::Queue,
        _ => return,
    };
    worker.counters.limit(limit);
}
