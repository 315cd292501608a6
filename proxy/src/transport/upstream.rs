//! One upstream connection: dialling it, and what its errors mean.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::pool::{Key, Parked, Seen};
use super::session::Lease;
use crate::base::{Fault, Instant, Reason, Retry};
use crate::http::{BodyLength, Response};
use crate::listen::proxy_protocol::Version;
use crate::listen::{Announced, Flow};
use crate::ring::{self, Endpoint, Socket, Timer};
use crate::target::{Connection, EndpointId};
use crate::tls::Outgoing;
use crate::wire::Wire;
use crate::wire::stream::{Ended, ended};

/// A connection to an endpoint, idle or carrying one exchange; or one exchange's part of a connection that many share.
pub struct Upstream {
    /// What control knows it by; ends before the socket does.
    pub flow: Option<Flow>,
    /// What its octets go and come by.
    pub socket: Wire,
    /// Deadlines of what the upstream is waited for.
    pub timer: Timer,
    /// What it may be reused for.
    pub key: Key,
    /// When it was opened.
    pub born: Instant,
    /// Exchanges that began on it.
    pub exchanges: Cell<u32>,
    /// Its peer has announced that it closes.
    pub closing: Cell<bool>,
    /// For how long its peer keeps it, as its last response said.
    pub told_idle: Cell<Option<Duration>>,
    held: Held,
}

/// What is held while it is open.
enum Held {
    /// A place on the endpoint.
    Place(Connection),
    /// A stream of a shared connection.
    Lease(Lease),
}

impl Upstream {
    /// Connects within `limit` (zero: no limit).
    ///
    /// # Errors
    /// Refused, unreachable, too slow, or out of descriptors: all safe to retry, as no octet has left.
    pub async fn dial(address: SocketAddr, place: Connection, limit: Duration) -> Result<Box<Self>, Fault> {
        let timer = Timer::new();
        let socket = connect(address, &timer, limit).await?;
        let key = Key { address, http2: false, tls: None, client: 0 };
        Ok(Box::new(Self::new(Wire::Plain(socket), timer, key, Held::Place(place))))
    }

    /// An exchange's stream of a shared connection.
    ///
    /// # Errors
    /// The connection takes no more requests.
    pub fn on(lease: Lease, authority: &str) -> Result<Box<Self>, Fault> {
        let key = lease.session().key().clone();
        let stream = lease.stream(key.tls.is_some(), authority)?;
        Ok(Box::new(Self::new(Wire::Stream(Box::new(stream)), Timer::new(), key, Held::Lease(lease))))
    }

    fn new(socket: Wire, timer: Timer, key: Key, held: Held) -> Self {
        Self {
            flow: None,
            socket,
            timer,
            key,
            born: ring::now(),
            exchanges: Cell::new(0),
            closing: Cell::new(false),
            told_idle: Cell::new(None),
            held,
        }
    }

    /// Says before all else whose connection it is: from here on it serves that client connection alone.
    pub fn announce(&mut self, version: Version, client: &Announced, number: u64) {
        let mut header = Vec::new();
        version.announce(&mut header, client);
        self.socket.begin_send(header.into());
        self.key.client = number;
    }

    /// Makes a TLS handshake within `limit` (zero: no limit), after which its octets go by TLS.
    ///
    /// # Errors
    /// Too slow, failed, or a certificate that is not valid: all safe to retry.
    pub async fn secure(mut self: Box<Self>, outgoing: &Arc<Outgoing>, limit: Duration) -> Result<Box<Self>, Fault> {
        let Wire::Plain(socket) = self.socket else { return Ok(self) };
        let (wire, agreed) = super::secure(socket, outgoing, &self.timer, limit).await?;
        self.socket = wire;
        self.key.tls = Some(outgoing.clone());
        self.key.http2 = agreed.alpn.as_deref() == Some(b"h2");
        Ok(self)
    }

    /// What a connection is made of that its peer wants to share among exchanges; itself, if not so.
    ///
    /// # Errors
    /// It is no such connection.
    pub fn into_shared(self) -> Result<(Key, Connection, Wire, Option<Flow>), Box<Self>> {
        match self {
            Self { held: Held::Place(place), key, socket, flow, .. } if key.http2 => Ok((key, place, socket, flow)),
            own => Err(Box::new(own)),
        }
    }

    /// An exchange begins on it.
    pub fn begin(&self) {
        self.exchanges.set(self.exchanges.get().saturating_add(1));
    }

    /// Notes what a response says about the connection.
    pub fn note(&self, response: &Response<'_>) {
        self.closing.set(!response.head.keep_alive());
        self.told_idle.set(response.keep_alive_timeout().map(Duration::from_secs));
    }

    /// Whose connection it is.
    pub fn endpoint(&self) -> EndpointId {
        match &self.held {
            Held::Place(place) => place.endpoint(),
            Held::Lease(lease) => lease.session().endpoint(),
        }
    }

    /// Whether somebody waits for a connection to the endpoint, which has no room for another.
    pub fn is_wanted_elsewhere(&self, max: u32) -> bool {
        matches!(&self.held, Held::Place(place) if place.is_wanted(max))
    }

    /// Whether an exchange came before this one.
    pub fn is_reused(&self) -> bool {
        match &self.held {
            Held::Place(_) => self.exchanges.get() > 1,
            Held::Lease(lease) => lease.is_reused(),
        }
    }

    /// Whether a failure on it may only say that it was used before: a shared connection that lives says more.
    pub fn may_be_stale(&self) -> bool {
        let ended = match &self.held {
            Held::Place(_) => true,
            Held::Lease(lease) => lease.session().is_over(),
        };
        ended && self.is_reused()
    }

    /// The number by which control knows the connection, if it does.
    pub fn cookie(&self) -> Option<u64> {
        match &self.held {
            Held::Place(_) => self.flow.as_ref().map(Flow::cookie),
            Held::Lease(lease) => lease.cookie(),
        }
    }

    /// How a response's body is read: a stream ends it itself, and trailers may stand behind it whatever its length.
    pub fn framing(&self, stated: BodyLength) -> BodyLength {
        match self.socket.stream() {
            Some(stream) if stream.has_ended() => BodyLength::None,
            Some(_) if stated != BodyLength::None => BodyLength::UntilClose,
            _ => stated,
        }
    }

    /// The exchange is over, and the connection not to be parked: `connections_max` bounds those of its endpoint.
    pub fn leave(self: Box<Self>, connections_max: u32) {
        if let Held::Lease(lease) = &self.held {
            let session = lease.session().clone();
            drop(self);
            session.yield_place(connections_max);
        }
    }
}

impl Parked for Upstream {
    /// The multishot receive stays armed while the connection is idle, so this is what the kernel has reported up to
    /// this turn of the loop; no system call asks again.
    fn seen(&self) -> Seen {
        match self.socket.try_recv() {
            None if self.socket.is_quiet() => Seen::Nothing,
            // A part of a record: what it will be, nobody asked for.
            None => Seen::Data,
            Some(Ok(Some(_))) => Seen::Data,
            Some(Ok(None) | Err(_)) => Seen::End,
        }
    }

    fn endpoint(&self) -> u64 {
        Self::endpoint(self).number()
    }
}

/// Connects within `limit` (zero: no limit).
///
/// # Errors
/// As [`Upstream::dial`].
pub async fn connect(address: SocketAddr, timer: &Timer, limit: Duration) -> Result<Socket, Fault> {
    timer.set((!limit.is_zero()).then(|| ring::now() + limit));
    match timer.race(ring::connect(&Endpoint::Tcp(address))).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(dial_fault(&error)),
        Err(_) => Err(Fault::new(Reason::UpstreamConnectTimeout).retry(Retry::Safe)),
    }
}

/// What a failed connect means.
fn dial_fault(error: &io::Error) -> Fault {
    let reason = match error.raw_os_error() {
        Some(libc::ETIMEDOUT) => Reason::UpstreamConnectTimeout,
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => Reason::UpstreamConnectRefused,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => Reason::InternalError,
        _ => Reason::UpstreamUnreachable,
    };
    Fault::new(reason).retry(Retry::Safe)
}

/// What an error on an open connection means before the response's head.
pub fn exchange_fault(error: &io::Error) -> Fault {
    if let Some(ended) = ended(error) {
        return stream_fault(ended);
    }
    let reason = match error.raw_os_error() {
        Some(libc::ETIMEDOUT) => Reason::UpstreamWriteTimeout,
        Some(libc::EPIPE) => Reason::UpstreamClosed,
        _ => Reason::UpstreamReset,
    };
    Fault::new(reason).retry(Retry::Idempotent)
}

/// What the end of a stream means before the response's head (RFC 9113 sections 5.4, 6.8 and 8.7).
fn stream_fault(ended: Ended) -> Fault {
    match ended {
        Ended::Refused | Ended::Reset(h2::Reason::REFUSED_STREAM) => {
            Fault::new(Reason::UpstreamRefused).retry(Retry::Safe)
        }
        Ended::Closed => Fault::new(Reason::UpstreamClosed).retry(Retry::Idempotent),
        Ended::Reset(_) | Ended::Lost => Fault::new(Reason::UpstreamReset).retry(Retry::Idempotent),
        Ended::Broken(_) => Fault::new(Reason::UpstreamBadResponse),
        // The longest of all: everything else of a head was judged before.
        Ended::Unsendable => Fault::new(Reason::TargetTooLong),
    }
}
