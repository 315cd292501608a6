//! An accepted connection: its socket, its one timer, and what others may ask of it while it waits.

use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Announced, Flow, Lease, Place, Secured, Whence};
use crate::base::{Instant, Reason};
use crate::ring::{self, Socket, Timer};
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
    /// Where it comes from.
    pub whence: Rc<Whence>,
    /// The listener's port.
    pub port: u16,
    /// Octets received that a request's record has counted.
    pub accounted_in: Cell<u64>,
    /// When it was accepted.
    pub accepted: Instant,
    /// Requests that have begun on it.
    pub requests: Cell<u32>,
    /// What its TLS handshake agreed on, once it is done.
    pub tls: OnceCell<Rc<Secured>>,
    timer: Timer,
    doing: Cell<Doing>,
    told: Cell<Told>,
    /// Why it was told to end.
    cut: Cell<Reason>,
    places: Cell<Option<Place>>,
    handshake: Cell<Option<Place>>,
    /// What it holds of the caps; a stream holds nothing of its own.
    _held: Option<(Lease, Option<Lease>)>,
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
    /// The peer is a proxy that must say whose connection it brings: the places are that one's, once they are taken.
    pub is_proxy: bool,
}

impl Client {
    /// Takes an accepted connection, and its other end's address.
    pub fn new(
        socket: Wire,
        remote: Option<SocketAddr>,
        flow: Option<Flow>,
        listener: Arc<str>,
        port: u16,
        held: Held,
    ) -> Rc<Self> {
        let local = socket.socket().and_then(Socket::local_addr);
        let whence = Rc::new(Whence::new(remote, local, held.is_proxy));
        Rc::new(Self {
            flow,
            socket,
            listener,
            whence,
            port,
            accounted_in: Cell::new(0),
            accepted: ring::now(),
            requests: Cell::new(0),
            tls: OnceCell::new(),
            timer: Timer::new(),
            doing: Cell::new(Doing::Busy),
            told: Cell::new(Told::Nothing),
            cut: Cell::new(Reason::ShutdownCut),
            places: Cell::new(held.peer),
            handshake: Cell::new(held.handshake),
            _held: Some((held.process, held.listener)),
            connection: None,
        })
    }

    /// A stream of `connection`, on which so many requests have begun.
    pub fn of_stream(connection: &Rc<Self>, stream: Wire) -> Rc<Self> {
        Rc::new(Self {
            flow: None,
            socket: stream,
            listener: connection.listener.clone(),
            whence: connection.whence.clone(),
            port: connection.port,
            accounted_in: Cell::new(0),
            accepted: connection.accepted,
            requests: Cell::new(connection.requests.get()),
            tls: connection.tls.clone(),
            timer: Timer::new(),
            doing: Cell::new(Doing::Busy),
            told: Cell::new(connection.told.get()),
            cut: Cell::new(connection.cut.get()),
            places: Cell::new(None),
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

    /// A proxy has said whose connection it is; the places are those of the peer that it named.
    pub fn announce(&self, announced: Announced, places: Option<Place>, handshake: Option<Place>) {
        self.whence.announce(announced);
        self.places.set(places);
        self.handshake.set(handshake);
    }

    /// The peer's address: the other end's, or whose a proxy announced.
    pub fn peer_ip(&self) -> Option<IpAddr> {
        self.whence.peer()
    }

    /// What its TLS handshake agreed on, if its octets come by TLS.
    pub fn secured(&self) -> Option<&Rc<Secured>> {
        self.tls.get()
    }

    /// The scheme of what is asked for on it.
    pub fn scheme(&self) -> &'static str {
        if self.secured().is_some() { "https" } else { "http" }
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
