//! A connection that many exchanges share: HTTP/2 to an upstream, each exchange on a stream of its own (RFC 9113).
//!
//! A [`Session`] is opened by the first request that finds none and lives in a task of its own; requests take a
//! [`Lease`] each. Nobody waits in the codec for a stream: a lease is only given where the peer lets one open.

mod sessions;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::client::{Builder, Connection as H2, SendRequest};
use h2::{Ping, PingPong};

pub use sessions::{Found, Sessions};

use super::pool::Key;
use crate::base::{Fault, Instant, Reason, Retry};
use crate::listen::Flow;
use crate::ring::{self, Event, Timer};
use crate::target::{Connection, EndpointId};
use crate::wire::{Adapter, Payload, Stream, Wire};

/// Streams on one connection, whatever its peer allows.
pub(super) const STREAMS_MAX: usize = 100;
/// Octets that a peer may send on one stream before any of them is taken.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same of all streams together, as long as they are few.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Streams whose windows all fit into it, with room for those that are taken.
const FEW_STREAMS: usize = (CONNECTION_WINDOW / STREAM_WINDOW) as usize - 1;
/// What the small DATA frames that wait may cost together: one stream's window of them must not end the others.
const FRAMES_BUDGET: usize = 64 << 20;
/// Octets of a frame.
const FRAME_MAX: u32 = 64 << 10;
/// Octets of a response's fields; the parser of heads has the last word.
const HEAD_MAX: u32 = 64 << 10;
/// Streams that were reset here and whose last frames may still be under way.
const RESET_MAX: usize = 1024;
/// With streams open, the peer is asked so often whether it lives.
const PING_EVERY: Duration = Duration::from_secs(30);
/// It must answer within this.
const PING_ANSWER: Duration = Duration::from_secs(5);
/// Streams that the codec takes the peer to allow until it has said so: told apart from anything that a peer can say.
const UNSAID: usize = usize::MAX - 1;

/// How long and for how much a connection is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Exchanges on it; 0: any number.
    pub requests_max: u64,
    /// Its age; zero: any.
    pub age_max: Duration,
    /// How long it may be without an exchange.
    pub idle: Duration,
}

/// One connection.
pub struct Session {
    key: Key,
    endpoint: EndpointId,
    born: Instant,
    state: RefCell<State>,
    /// Leases that are out.
    leased: Cell<usize>,
    /// Leases so far.
    begun: Cell<u64>,
    /// Requests that wait for it.
    waiting: Cell<usize>,
    /// The most leases that the connection's window has been widened for.
    widest: Cell<usize>,
    /// Streams that the peer allows; none until it has said.
    allowed: Cell<Option<usize>>,
    /// It takes extended CONNECT (RFC 8441 section 3).
    connects: Cell<bool>,
    /// Since when it is without an exchange.
    idle_since: Cell<Instant>,
    idle_for: Cell<Duration>,
    /// A PING is out.
    asked: Cell<bool>,
    /// Deadline of the connection itself: a PING, its answer, the end of idleness.
    timer: Timer,
    /// Its state or its room has changed.
    changed: Event,
    /// What control knows it by; ends before the socket does.
    flow: RefCell<Option<Flow>>,
    /// Its place on the endpoint, held while it is open.
    place: RefCell<Option<Connection>>,
}

enum State {
    /// Nothing can be sent yet.
    Opening,
    /// It takes requests.
    Open(SendRequest<Payload>),
    /// It takes no more; those that are there go on.
    Closing,
    /// It never opened.
    Failed(Fault),
}

/// The right to one stream. Given back when it is dropped.
#[must_use = "dropping it gives the stream back"]
pub struct Lease {
    session: Rc<Session>,
}

impl Session {
    /// Opens one: `dial` brings what carries it, and what control knows that by.
    pub fn open(
        key: Key,
        place: Connection,
        terms: &Terms,
        dial: impl Future<Output = Result<(Wire, Option<Flow>), Fault>> + 'static,
    ) -> Rc<Self> {
        let now = ring::now();
        let session = Rc::new(Self {
            key,
            endpoint: place.endpoint(),
            born: now,
            state: RefCell::new(State::Opening),
            leased: Cell::new(0),
            begun: Cell::new(0),
            waiting: Cell::new(0),
            widest: Cell::new(FEW_STREAMS),
            allowed: Cell::new(None),
            connects: Cell::new(false),
            idle_since: Cell::new(now),
            idle_for: Cell::new(terms.idle),
            asked: Cell::new(false),
            timer: Timer::new(),
            changed: Event::new(),
            flow: RefCell::new(None),
            place: RefCell::new(Some(place)),
        });
        ring::spawn(session.clone().live(dial));
        session
    }

    /// What it may be used for.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whose connection it is.
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// Waits until its state or its room changes.
    pub async fn changed(&self) {
        let _waits = Waits::new(&self.waiting);
        self.changed.wait().await;
    }

    /// Why it never opened, if so.
    pub fn failure(&self) -> Option<Fault> {
        match &*self.state.borrow() {
            State::Failed(fault) => Some(*fault),
            _ => None,
        }
    }

    /// Whether it takes extended CONNECT; none until its peer has said.
    pub fn connects(&self) -> Option<bool> {
        self.allowed.get().map(|_| self.connects.get())
    }

    /// Takes no more requests; ends when those that are there have ended.
    pub fn retire(&self) {
        // Without a sender and streams the codec closes the connection in good order.
        let before = std::mem::replace(&mut *self.state.borrow_mut(), State::Closing);
        drop(before);
        self.changed.notify();
    }

    /// Whether it takes no more requests.
    pub fn is_over(&self) -> bool {
        matches!(*self.state.borrow(), State::Closing | State::Failed(_))
    }

    /// Whether it is worth waiting for: it opens, or its peer has not said how much it allows.
    fn is_young(&self) -> bool {
        let young = match *self.state.borrow() {
            State::Opening => true,
            State::Open(_) => self.allowed.get().is_none(),
            State::Closing | State::Failed(_) => false,
        };
        young && self.waiting.get() < STREAMS_MAX
    }

    /// Whether it only has to end.
    fn has_nothing_left(&self) -> bool {
        self.leased.get() == 0 && self.is_over()
    }

    /// Whether no exchange is on it.
    fn is_idle(&self) -> bool {
        self.leased.get() == 0 && matches!(*self.state.borrow(), State::Open(_))
    }

    /// Whether another stream may be opened. Until its peer has said how many it allows, one is.
    fn has_room(&self) -> bool {
        let max = self.allowed.get().unwrap_or(1).min(STREAMS_MAX);
        self.leased.get() < max && matches!(*self.state.borrow(), State::Open(_))
    }

    /// A lease, where there is room and the terms allow.
    fn lease(self: &Rc<Self>, terms: &Terms) -> Option<Lease> {
        let used_up = terms.requests_max != 0 && self.begun.get() >= terms.requests_max;
        let aged = !terms.age_max.is_zero() && ring::now().since(self.born) >= terms.age_max;
        if used_up || aged {
            self.retire();
        }
        if !self.has_room() {
            return None;
        }
        self.idle_for.set(terms.idle);
        self.begun.set(self.begun.get() + 1);
        self.leased.set(self.leased.get() + 1);
        if self.leased.get() == 1 {
            self.set_timer();
        }
        Some(Lease { session: self.clone() })
    }

    fn give_back(&self) {
        self.leased.set(self.leased.get() - 1);
        self.changed.notify();
        if self.leased.get() == 0 {
            self.idle_since.set(ring::now());
            self.set_timer();
        }
    }

    /// What is waited for next, unless that is the answer to a PING.
    fn set_timer(&self) {
        if !self.asked.get() {
            let idle = self.leased.get() == 0;
            let end = if idle { self.idle_since.get() + self.idle_for.get() } else { ring::now() + PING_EVERY };
            self.timer.set(Some(end));
        }
    }

    /// The connection's whole life.
    async fn live(self: Rc<Self>, dial: impl Future<Output = Result<(Wire, Option<Flow>), Fault>>) {
        let opened = async {
            let (wire, flow) = dial.await?;
            self.flow.replace(flow);
            let closed = Fault::new(Reason::UpstreamClosed).retry(Retry::Safe);
            builder().handshake::<_, Payload>(Adapter::new(wire)).await.map_err(|_| closed)
        };
        match opened.await {
            Ok((sender, connection)) => {
                self.state.replace(State::Open(sender));
                self.idle_since.set(ring::now());
                self.set_timer();
                self.changed.notify();
                self.attend(connection).await;
                self.retire();
            }
            Err(fault) => {
                self.state.replace(State::Failed(fault));
            }
        }
        drop(self.flow.take());
        drop(self.place.take());
        self.changed.notify();
    }

    /// Drives the connection until it is over.
    async fn attend(&self, mut connection: H2<Adapter, Payload>) {
        let mut pings = connection.ping_pong();
        loop {
            let step = pin!(poll_fn(|cx| self.step(cx, &mut connection, pings.as_mut())));
            match self.timer.race(step).await {
                Ok(Step::Over) => return self.end(connection),
                Ok(Step::Answered) => {
                    self.asked.set(false);
                    self.set_timer();
                }
                // It takes nothing and says nothing: so much for all that waits for it.
                Err(_) if self.asked.get() || self.has_nothing_left() => return self.end(connection),
                Err(_) => self.on_time(pings.as_mut()),
            }
        }
    }

    /// The connection ends here: its flow before its socket.
    fn end(&self, connection: H2<Adapter, Payload>) {
        self.retire();
        drop(self.flow.take());
        drop(connection);
    }

    fn step(
        &self,
        cx: &mut Context<'_>,
        connection: &mut H2<Adapter, Payload>,
        pings: Option<&mut PingPong>,
    ) -> Poll<Step> {
        self.widen(connection);
        if Pin::new(connection).poll(cx).is_ready() {
            return Poll::Ready(Step::Over);
        }
        self.heed(cx);
        match pings {
            Some(pings) if self.asked.get() => pings.poll_pong(cx).map(|_| Step::Answered),
            _ => Poll::Pending,
        }
    }

    /// Streams that nobody takes from may fill their windows; that must not hold up the others (RFC 9113 section 5.2).
    fn widen(&self, connection: &mut H2<Adapter, Payload>) {
        let leased = self.leased.get();
        if leased > self.widest.get() {
            self.widest.set(leased);
            connection.set_target_window_size(CONNECTION_WINDOW + (leased - FEW_STREAMS) as u32 * STREAM_WINDOW);
        }
    }

    /// Takes note of what the peer's SETTINGS and GOAWAY mean for requests to come.
    fn heed(&self, cx: &mut Context<'_>) {
        let mut goes_away = false;
        if let State::Open(sender) = &mut *self.state.borrow_mut() {
            goes_away = matches!(sender.poll_ready(cx), Poll::Ready(Err(_)));
            let allowed = Some(sender.current_max_send_streams()).filter(|max| *max != UNSAID);
            if allowed != self.allowed.get() {
                self.connects.set(sender.is_extended_connect_protocol_enabled());
                self.allowed.set(allowed);
                self.changed.notify();
            }
        }
        if goes_away {
            self.retire();
        }
    }

    fn on_time(&self, pings: Option<&mut PingPong>) {
        let now = ring::now();
        if self.leased.get() > 0 {
            if pings.is_some_and(|pings| pings.send_ping(Ping::opaque()).is_ok()) {
                self.asked.set(true);
                self.timer.set(Some(now + PING_ANSWER));
            }
        } else if self.idle_since.get() + self.idle_for.get() <= now {
            // Its peer may be one that no longer takes even a goodbye.
            self.timer.set(Some(now + PING_ANSWER));
            self.retire();
        } else {
            self.set_timer();
        }
    }
}

/// Counts who waits.
struct Waits<'c>(&'c Cell<usize>);

impl<'c> Waits<'c> {
    fn new(waiting: &'c Cell<usize>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

enum Step {
    Over,
    Answered,
}

impl Lease {
    /// The connection.
    pub fn session(&self) -> &Rc<Session> {
        &self.session
    }

    /// Whether an exchange came before this one on the connection.
    pub fn is_reused(&self) -> bool {
        self.session.begun.get() > 1
    }

    /// The number by which control knows the connection.
    pub fn cookie(&self) -> Option<u64> {
        self.session.flow.borrow().as_ref().map(Flow::cookie)
    }

    /// A stream for one exchange; its request leaves with its head.
    ///
    /// # Errors
    /// The connection takes no more requests: none has left.
    pub fn stream(&self, secure: bool, authority: &str) -> Result<Stream, Fault> {
        match &*self.session.state.borrow() {
            // A sender of its own, so that no stream is kept by who opens the next one.
            State::Open(sender) => Ok(Stream::of_client(sender.clone(), secure, authority)),
            _ => Err(Fault::new(Reason::UpstreamRefused).retry(Retry::Safe)),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.session.give_back();
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .data_frame_budget(FRAMES_BUDGET)
        .max_frame_size(FRAME_MAX)
        .max_header_list_size(HEAD_MAX)
        .max_concurrent_reset_streams(RESET_MAX)
        .initial_max_send_streams(UNSAID)
        .enable_push(false);
    builder
}
