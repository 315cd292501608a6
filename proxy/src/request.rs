//! THE path of a request: calls every stage in order; nothing else calls them.
//!
//! [`entered`] brings a connection to its protocol, [`connection`] takes its requests one after the other; [`decide`] is
//! the part without I/O, which explain shares; [`forward`] tries endpoints; [`relay`] moves bodies.

mod announced;
mod answer;
mod beside;
mod body;
mod coding;
mod connect;
pub mod decide;
pub mod explain;
mod forward;
mod grpc;
mod head;
mod http2;
mod policy;
mod protocol;
mod record;
mod relay;
mod secure;
mod tunnel;
mod upload;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use self::body::ClientBody;
use self::decide::{Asked, Decision};
use self::head::{Arrived, NoHead};
use self::record::Record;
use crate::base::metric::{Limit, Phase};
use crate::base::{Fault, Instant, Reason};
use crate::config::snapshot::{ListenerPlan, Rules};
use crate::config::value::{SniCheck, UnderscoreHeaders};
use crate::http::{ClientCert, Edits, Form, Head, HeadLimits, Method, Request, ResponseHead, Underscore, is_token};
use crate::listen::{Client, Told};
use crate::policy::identity::{Chain, Identity, Resolved};
use crate::policy::limit;
use crate::ring::{self, Timer};
use crate::tls::{Store, Strictness};
use crate::worker::{Current, Registered, Worker};
pub use protocol::entered;

/// A connection that is silent for so long gives back what only requests need. Short, so that few hold that at once: what
/// is given back between things that stay is of little use to the allocator.
const QUIET: Duration = Duration::from_millis(50);

/// The kernel half is told that a source is known at the first of so many requests of a connection.
const KNOWN_AGAIN: u32 = 64;

/// Octets of a request id that a trusted peer may give.
const GIVEN_ID_MAX: usize = 128;

/// What a connection needs while requests come, and not while it is silent.
struct Scratch {
    head: Head,
    response: ResponseHead,
    edits: Edits,
    chain: Chain,
    /// A rewritten path, a Location, a value.
    text: Vec<u8>,
    /// For what goes on beside the main thing.
    timer: Timer,
}

impl Scratch {
    fn new() -> Self {
        Self {
            head: Head::new(),
            response: ResponseHead::new(),
            edits: Edits::new(),
            chain: Chain::default(),
            text: Vec::new(),
            timer: Timer::new(),
        }
    }
}

/// Whether a connection serves another request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Request,
    Close,
}

/// One request on its way.
struct Exchange<'a> {
    worker: &'a Worker,
    client: &'a Client,
    current: &'a Rc<Current>,
    listener: (usize, &'a ListenerPlan),
    /// The listener's, or from the route on the route's.
    rules: &'a Rules,
    request: Request<'a>,
    /// The client, or why its proxy's word on it is refused.
    who: Result<Resolved, Fault>,
    /// What a trusted peer says of the hops before it.
    chain: &'a Chain,
    /// What rate limits have to say in the response.
    told: limit::Told<'a>,
    /// When the whole exchange must be over.
    deadline: Option<Instant>,
    timer: &'a Timer,
    /// The record's id, made text once.
    id: [u8; 36],
    /// The request id that a trusted peer gave.
    given_id: Option<&'a [u8]>,
}

/// Serves a connection of HTTP/1 to its end.
async fn connection(worker: Rc<Worker>, client: Rc<Client>, registered: Registered) {
    while wait_lean(&worker, &client).await {
        let more = Box::pin(active(&worker, &client)).await;
        if !more {
            break;
        }
    }
    drop(registered);
}

/// Waits for octets while holding as little as possible. False: the connection is over.
async fn wait_lean(worker: &Worker, client: &Client) -> bool {
    let end = {
        let current = worker.current_of(&client.listener);
        let Some((_, plan)) = plan_of(&current, client) else { return false };
        let timeouts = &plan.rules.timeouts;
        match client.requests.get() {
            0 => crate::listen::deadline(client.accepted, timeouts.head),
            // 0 is no limit, and less than the silence that brought it here is over at once.
            _ if timeouts.keepalive.is_zero() => None,
            _ => Some(ring::now() + timeouts.keepalive.saturating_sub(QUIET)),
        }
    };
    match client.within(end, client.socket.recv()).await {
        Ok(Ok(Some(chunk))) => {
            client.socket.unread(chunk);
            true
        }
        _ => false,
    }
}

/// Serves requests until the connection falls silent (true) or is over (false).
async fn active(worker: &Worker, client: &Client) -> bool {
    let mut scratch = Box::new(Scratch::new());
    loop {
        let current = worker.current_of(&client.listener);
        let Some(listener) = plan_of(&current, client) else { return false };
        let limits = head_limits(&current, listener);
        let quiet = (client.requests.get() > 0).then(|| ring::now() + QUIET);
        let timeouts = &listener.1.rules.timeouts;
        let arrived = match head::read(client, &limits, timeouts, quiet, &mut scratch.head).await {
            Ok(arrived) => arrived,
            Err(NoHead::Quiet) => return true,
            Err(NoHead::Over) => return false,
            Err(NoHead::Fault(fault, octets)) => {
                client.requests.set(client.requests.get() + 1);
                answer::bad_head(worker, client, &current, listener, fault, &octets, &scratch.head).await;
                return false;
            }
        };
        client.requests.set(client.requests.get() + 1);
        client.brought_head();
        if client.requests.get() % KNOWN_AGAIN == 1 {
            worker.know(client);
        }
        // The newest generation at the head's last octet serves the request to its end.
        let current = worker.current_of(&client.listener);
        let Some(listener) = plan_of(&current, client) else { return false };
        if one(worker, client, &current, listener, arrived, limits.underscore, &mut scratch).await == Next::Close {
            return false;
        }
    }
}

fn plan_of<'c>(current: &'c Current, client: &Client) -> Option<(usize, &'c ListenerPlan)> {
    current.snapshot.listeners.iter().enumerate().find(|(_, plan)| *plan.name == *client.listener)
}

fn head_limits(current: &Current, (position, plan): (usize, &ListenerPlan)) -> HeadLimits {
    let limits = &plan.rules.limits;
    let octets = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    HeadLimits {
        head_max: octets(limits.head_max),
        target_max: octets(limits.target_max),
        fields_max: octets(limits.fields_max),
        query_pairs_max: octets(limits.query_pairs_max),
        connect: !current.snapshot.document.listeners[position].connect_allow.is_empty(),
        underscore: match current.snapshot.document.listeners[position].underscore_headers {
            UnderscoreHeaders::Drop => Underscore::Drop,
            UnderscoreHeaders::Allow => Underscore::Allow,
            UnderscoreHeaders::Reject => Underscore::Reject,
        },
    }
}

/// The request id that a trusted peer gave: one token (http.md section 4).
fn given_id<'r>(request: &Request<'r>, listener: &ListenerPlan) -> Option<&'r [u8]> {
    let mut values = request.fields_named(listener.request_id_header.as_bytes());
    let first = values.next().filter(|value| is_token(value) && value.len() <= GIVEN_ID_MAX);
    first.filter(|_| values.next().is_none())
}

/// One request from its head to its record.
async fn one(
    worker: &Worker,
    client: &Client,
    current: &Rc<Current>,
    listener: (usize, &ListenerPlan),
    arrived: Arrived,
    underscore: Underscore,
    scratch: &mut Scratch,
) -> Next {
    let Scratch { head, response, edits, chain, text, timer } = scratch;
    let request = Request::new(head, &arrived.bytes);
    let who =
        current.trust.resolve(client.peer_ip(), &request, chain).map(|who| who.brought(client.whence.is_brought()));
    let given_id = who.ok().filter(|who| who.trusted).and_then(|_| given_id(&request, listener.1));
    let mut record = Record::begin(worker, client, arrived.first_octet);
    record.spent(Phase::Head, arrived.first_octet, ring::now());
    let mut exchange = Exchange {
        worker,
        client,
        current,
        listener,
        rules: &listener.1.rules,
        request,
        who,
        chain,
        told: limit::Told::default(),
        deadline: None,
        timer,
        id: record.id.text(),
        given_id,
    };
    exchange.deadline = exchange.ends_by(arrived.first_octet, exchange.rules.timeouts.request);
    let mut body = ClientBody::new(head.body(), head.expect_continue(), underscore);
    record.keep_alive = exchange.may_keep_alive();
    let in_progress = worker.enter();
    edits.clear();
    text.clear();
    let result = exchange.serve(&mut record, &mut body, response, edits, text).await;
    if let Err(fault) = result {
        exchange.fail(fault, &mut record, &mut body, edits).await;
    }
    // Whoever had its time already gets no more of it.
    let is_late = matches!(record.reason, Reason::ClientTooSlow | Reason::RequestTimeout);
    if let Some(stream) = client.socket.stream().filter(|stream| stream.is_whole() || !is_late)
        && let Err(fault) = exchange.see_off(stream).await
        && record.reason == Reason::Ok
    {
        exchange.fail(fault, &mut record, &mut body, edits).await;
    }
    record.ended = ring::now();
    let next = body.settle(client, &mut record, exchange.rules.timeouts.linger).await;
    drop(in_progress);
    record.finish(&exchange, &body);
    next
}

impl<'a> Exchange<'a> {
    /// The stages, in order. A fault before the response's first octet is answered by the caller.
    async fn serve(
        &mut self,
        record: &mut Record,
        body: &mut ClientBody,
        response: &mut ResponseHead,
        edits: &mut Edits,
        text: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let _lease = self.lease()?;
        let current = self.current;
        let request = self.request;
        let asked = Asked { snapshot: &current.snapshot, listener: self.listener.0, request: &request };
        if request.verb() == Method::Connect {
            return Box::pin(self.connect(asked, record, edits)).await;
        }
        let paths = asked.read(self.identity().ip());
        self.check_authority()?;
        // A path against the rules is a head against the rules: nothing behind it is read (http.md section 2).
        let paths = paths.inspect_err(|fault| record.keep_alive &= fault.reason != Reason::InvalidRequestTarget)?;
        let _place = self.policies(&paths, record).await?;
        let decided = asked.route(paths, self.client_ip())?;
        let plan = &current.snapshot.routes[decided.route.position];
        record.route = Some(decided.route.position);
        if let Some(rules) = plan.rules(self.listener.0) {
            self.rules = rules;
            self.deadline = self.ends_by(record.began, rules.timeouts.request);
        }
        self.check_protocol()?;
        if let Decision::Redirect(redirect) = decided.decision {
            return answer::redirect(self, &decided, redirect, record, body, edits, text).await;
        }
        self.check_body(body)?;
        let path = decided.rewrite(&self.request, text)?;
        forward::forward(self, &decided, plan, path, record, body, response, edits, text).await
    }

    /// Who sent it.
    fn identity(&self) -> Identity {
        self.who.map_or(Identity::Unknown, |who| who.identity)
    }

    /// The client's address, if it is known.
    fn client_ip(&self) -> Option<IpAddr> {
        self.identity().ip()
    }

    /// A place among the requests in flight, of the process and of the listener if it has a cap.
    fn lease(&self) -> Result<(crate::listen::Lease, Option<crate::listen::Lease>), Fault> {
        let shares = &self.current.shares;
        let own = shares.listeners.get(self.listener.0).and_then(|(requests, _)| requests.as_ref());
        let lease = shares.requests.lease().zip(match own {
            Some(share) => share.lease().map(Some),
            None => Some(None),
        });
        lease.ok_or_else(|| {
            self.worker.counters.limit(Limit::Requests);
            Fault::new(Reason::Overloaded)
        })
    }

    /// Over TLS: whether the connection is one for the host that is asked for (RFC 9110 section 7.4). CONNECT asks for
    /// somebody else.
    fn check_authority(&self) -> Result<(), Fault> {
        let listener = &self.current.snapshot.document.listeners[self.listener.0];
        let Some(tls) = self.client.secured().filter(|_| self.request.head.form() != Form::Authority) else {
            return Ok(());
        };
        let strictness = match listener.sni_check {
            SniCheck::Off => Strictness::Off,
            SniCheck::Certificate => Strictness::Certificate,
            SniCheck::Exact => Strictness::Exact,
        };
        let store = self.current.tls.of(&self.client.listener);
        let admits = |store: &Store| store.admits(strictness, &tls.shown, tls.sni.as_deref(), self.request.host());
        match store.is_none_or(|store| admits(store)) {
            true => Ok(()),
            false => Err(Fault::new(Reason::MisdirectedRequest)),
        }
    }

    /// CONNECT asks for no name of weir's own, so that none can say whether a certificate is asked for: where one of the
    /// listener's asks, nobody tunnels without.
    fn check_tunnel(&self) -> Result<(), Fault> {
        let demands = self.current.tls.of(&self.client.listener).is_some_and(|store| store.demands_certificates());
        match demands && self.client.secured().is_none_or(|tls| tls.client_certificate.is_none()) {
            true => Err(Fault::new(Reason::MisdirectedRequest)),
            false => Ok(()),
        }
    }

    /// What the upstream learns of the client's certificate. One that a trusted peer passes on counts where weir says
    /// none itself.
    fn client_cert(&self) -> ClientCert<'_> {
        let own = self.current.snapshot.document.listeners[self.listener.0].tls.client_cert_header;
        let verified = self.client.secured().and_then(|tls| tls.client_cert());
        match (own, verified) {
            (true, Some(certificate)) => ClientCert::Own(certificate),
            (false, _) if self.who.is_ok_and(|who| who.trusted) => ClientCert::AsReceived,
            _ => ClientCert::Untold,
        }
    }

    fn check_body(&self, body: &mut ClientBody) -> Result<(), Fault> {
        let max = self.rules.limits.body_max;
        body.limit(max);
        if max != 0 && self.request.head.body().declared().is_some_and(|length| length > max) {
            return Err(Fault::new(Reason::BodyTooLarge));
        }
        Ok(())
    }

    /// A tunnel that the route does not carry is refused: a plain answer to it would pass for one.
    fn check_protocol(&self) -> Result<(), Fault> {
        match self.request.head.is_extended() && !self.rules.websocket {
            true => Err(Fault::new(Reason::ProtocolUnsupported)),
            false => Ok(()),
        }
    }

    /// Takes keep-alive back from a connection that was told to end while its request waited.
    fn heed_drain(&self, record: &mut Record) {
        record.keep_alive &= self.client.told() == Told::Nothing;
    }

    /// Whether the connection may live on, as far as is known before the response.
    fn may_keep_alive(&self) -> bool {
        let max = self.rules.limits.requests_per_connection;
        let last = max != 0 && u64::from(self.client.requests.get()) >= max;
        if last {
            self.worker.counters.limit(Limit::RequestsPerConnection);
        }
        self.request.head.keep_alive() && !last && self.client.told() == Told::Nothing
    }
}
