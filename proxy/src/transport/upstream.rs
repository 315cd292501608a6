//! One upstream connection: dialling it, and what its errors mean.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::pool::{Key, Parked, Seen};
use crate::base::{Fault, Instant, Reason, Retry};
use crate::http::Response;
use crate::listen::Flow;
use crate::ring::{self, Endpoint, Timer};
use crate::target::{Connection, EndpointId};
use crate::tls::Outgoing;
use crate::wire::Wire;

/// A connection to an endpoint, idle or carrying one exchange.
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
    /// Its place on the endpoint, held while it is open.
    place: Connection,
}

impl Upstream {
    /// Connects within `limit` (zero: no limit).
    ///
    /// # Errors
    /// Refused, unreachable, too slow, or out of descriptors: all safe to retry, as no octet has left.
    pub async fn dial(address: SocketAddr, place: Connection, limit: Duration) -> Result<Box<Self>, Fault> {
        let timer = Timer::new();
        let now = ring::now();
        timer.set((!limit.is_zero()).then(|| now + limit));
        let socket = match timer.race(ring::connect(&Endpoint::Tcp(address))).await {
            Ok(Ok(socket)) => socket,
            Ok(Err(error)) => return Err(dial_fault(&error)),
            Err(_) => return Err(Fault::new(Reason::UpstreamConnectTimeout).retry(Retry::Safe)),
        };
        let key = Key { address, tls: None };
        Ok(Box::new(Self {
            flow: None,
            socket: Wire::Plain(socket),
            timer,
            key,
            born: ring::now(),
            exchanges: Cell::new(0),
            closing: Cell::new(false),
            told_idle: Cell::new(None),
            place,
        }))
    }

    /// Makes a TLS handshake within `limit` (zero: no limit), after which its octets go by TLS.
    ///
    /// # Errors
    /// Too slow, failed, or a certificate that is not valid: all safe to retry.
    pub async fn secure(mut self: Box<Self>, outgoing: &Arc<Outgoing>, limit: Duration) -> Result<Box<Self>, Fault> {
        let Wire::Plain(socket) = self.socket else { return Ok(self) };
        let (wire, _) = super::secure(socket, outgoing, &self.timer, limit).await?;
        self.socket = wire;
        self.key.tls = Some(outgoing.clone());
        Ok(self)
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
        self.place.endpoint()
    }

    /// Whether somebody waits for a connection to the endpoint, which has no room for another.
    pub fn is_wanted_elsewhere(&self, max: u32) -> bool {
        self.place.is_wanted(max)
    }

    /// Whether an exchange came before this one.
    pub fn is_reused(&self) -> bool {
        self.exchanges.get() > 1
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
    let reason = match error.raw_os_error() {
        Some(libc::ETIMEDOUT) => Reason::UpstreamWriteTimeout,
        Some(libc::EPIPE) => Reason::UpstreamClosed,
        _ => Reason::UpstreamReset,
    };
    Fault::new(reason).retry(Retry::Idempotent)
}
