//! An accepted connection: its socket, its one timer, and what others may ask of it while it waits.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Flow, Lease, Place};
use crate::base::{Instant, Reason};
use crate::ring::{self, Timer};
use crate::wire::{Carrier, Wire};

/// A drain lets a connection that has just been used wait so long for one more request: its client may have sent it
/// already, and would find it reset.
const GRACE: Duration = Duration::from_secs(1);

/// What a connection is doing, as far as a drain must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doing {
    /// Waiting for a further request's first octet, since then.
    Idle(Instant),
    /// Within a request, or waiting for its first.
    Busy,
    /// Serving any number of requests at once: what it is told, it wants to know at once.
    Many,
}

/// What a connection has been told to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// End after the request that it is in.
    Finish,
    /// End now.
    Cut,
}

/// Why waiting ended without the awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// The deadline passed.
    Late,
    /// Told to finish, while idle or with many requests.
    Finish,
    /// Told to end now.
    Cut,
}

/// One client connection, or what is one to a request that shares it with others: a stream of HTTP/2.
pub struct Client {
    /// What control knows it by; ends before the socket does.
    pub flow: Option<Flow>,
    /// What its octets come and go by.
    pub socket: Wire,
    /// The listener it came in by.
    pub listener: Arc<str>,
    /// The other end; none on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The other end's address as text; `unix` on a Unix socket.
    pub peer_text: Rc<str>,
    /// The listener's port.
    pub port: u16,
    /// Octets received that a request's record has counted.
    pub accounted_in: Cell<u64>,
    /// When it was accepted.
    pub accepted: Instant,
    /// Requests that have begun on it.
    pub requests: Cell<u32>,
    timer: Timer,
    doing: Cell<Doing>,
    told: Cell<Told>,
    /// Why it was told to end.
    cut: Cell<Reason>,
    handshake: Cell<Option<Place>>,
    /// What it holds of the caps; a stream holds nothing of its own.
    _held: Option<Held>,
    /// The connection of a stream.
    connection: Option<Rc<Client>>,
}

/// What an accepted connection holds of the caps on connections.
pub struct Held {
    /// In the process's cap.
    pub process: Lease,
    /// In its listener's own.
    pub listener: Option<Lease>,
    /// Among its peer's.
    pub peer: Option<Place>,
    /// Among its peer's that have brought no whole head.
    pub handshake: Option<Place>,
}

impl Client {
    /// Takes an accepted connection, and its other end's address.
    pub fn new(
        socket: Wire,
        peer: Option<SocketAddr>,
        flow: Option<Flow>,
        listener: Arc<str>,
        port: u16,
        mut held: Held,
    ) -> Rc<Self> {
        let handshake = Cell::new(held.handshake.take());
        Rc::new(Self {
            flow,
            socket,
            listener,
            peer,
            peer_text: peer.map_or("unix".into(), |peer| peer.ip().to_canonical().to_string().into()),
            port,
            accounted_in: Cell::new(0),
            accepted: ring::now(),
            requests: Cell::new(0),
            timer: Timer::new(),
            doing: Cell::new(Doing::Busy),
            told: Cell::new(Told::Nothing),
            cut: Cell::new(Reason::ShutdownCut),
            handshake,
            _held: Some(held),
            connection: None,
        })
    }

    /// A stream of `connection`, on which so many requests have begun.
    pub fn of_stream(connection: &Rc<Self>, stream: Wire) -> Rc<Self> {
        Rc::new(Self {
            flow: None,
            socket: stream,
            listener: connection.listener.clone(),
            peer: connection.peer,
            peer_text: connection.peer_text.clone(),
            port: connection.port,
            accounted_in: Cell::new(0),
            accepted: connection.accepted,
            requests: Cell::new(connection.requests.get()),
            timer: Timer::new(),
            doing: Cell::new(Doing::Busy),
            told: Cell::new(connection.told.get()),
            cut: Cell::new(connection.cut.get()),
            handshake: Cell::new(None),
            _held: None,
            connection: Some(connection.clone()),
        })
    }

    /// The number by which control knows the connection.
    pub fn cookie(&self) -> Option<u64> {
        match &self.connection {
            Some(connection) => connection.cookie(),
            None => self.flow.as_ref().map(Flow::cookie),
        }
    }

    /// The peer's address.
    pub fn peer_ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    /// Says what it is doing now.
    pub fn set_doing(&self, doing: Doing) {
        self.doing.set(doing);
    }

    /// A whole head has come.
    pub fn brought_head(&self) {
        drop(self.handshake.take());
    }

    /// Resets it, for this reason.
    pub fn reset(&self, reason: Reason) {
        self.cut.set(reason);
        self.socket.set_linger_reset();
        self.tell(Told::Cut);
    }

    /// Why it ends, if it was told to end.
    pub fn cut(&self) -> Reason {
        self.cut.get()
    }

    /// What it has been told.
    pub fn told(&self) -> Told {
        self.told.get()
    }

    /// Tells it to finish or to end; wakes it if that concerns what it waits for.
    pub fn tell(&self, told: Told) {
        // Who is to end now does not finish any more.
        if self.told.get() != Told::Cut {
            self.told.set(told);
        }
        if let Some(end) = self.end_of_wait() {
            self.timer.set(Some(end));
        }
    }

    /// Tells it why its connection ends.
    pub fn cut_off(&self, reason: Reason) {
        self.cut.set(reason);
        self.tell(Told::Cut);
    }

    /// Moves the deadline of the wait that goes on.
    pub fn postpone(&self, deadline: Option<Instant>) {
        self.timer.set(match self.end_of_wait() {
            Some(end) => Some(end.earliest(deadline)),
            None => deadline,
        });
    }

    /// Waits for `what` until `deadline`, or until told to stop.
    ///
    /// # Errors
    /// Why it stopped waiting.
    pub async fn within<T>(&self, deadline: Option<Instant>, what: impl Future<Output = T>) -> Result<T, Stopped> {
        self.postpone(deadline);
        self.timer.race(what).await.map_err(|_| self.stopped())
    }

    /// When waiting must end because of what it was told.
    fn end_of_wait(&self) -> Option<Instant> {
        match (self.told.get(), self.doing.get()) {
            (Told::Cut, _) => Some(Instant::from_nanos(0)),
            (Told::Finish, Doing::Idle(since)) => Some(since + GRACE),
            (Told::Finish, Doing::Many) => Some(Instant::from_nanos(0)),
            _ => None,
        }
    }

    fn stopped(&self) -> Stopped {
        match self.told.get() {
            Told::Cut => Stopped::Cut,
            Told::Finish if self.end_of_wait().is_some_and(|end| end <= ring::now()) => Stopped::Finish,
            _ => Stopped::Late,
        }
    }
}

impl Carrier for Rc<Client> {
    fn wire(&self) -> &Wire {
        &self.socket
    }
}

/// The point `limit` from `now`; none for zero, which is no limit.
pub fn deadline(now: Instant, limit: Duration) -> Option<Instant> {
    (!limit.is_zero()).then(|| now + limit)
}
