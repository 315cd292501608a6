//! The connection of a try: an idle one, a stream of one that is shared, or a new one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::Attempt;
use crate::base::metric::{Limit, Phase};
use crate::base::{Fault, Instant, Reason, Retry};
use crate::config::value::TargetProtocol;
use crate::listen::deadline;
use crate::request::record::Record;
use crate::ring::{self, Timer};
use crate::target::Connection;
use crate::target::groups::Origin;
use crate::tls::Outgoing;
use crate::transport::{Found, Key, Lease, Session, Upstream, connect, secure};
use crate::wire::Wire;

impl Attempt<'_, '_, '_> {
    /// What this try goes by.
    pub(super) async fn obtain(&self, record: &mut Record) -> Result<Box<Upstream>, Fault> {
        let upgrade = self.forward.exchange.is_upgrade();
        let tls = self.origin().and_then(|origin| origin.tls.as_ref());
        match self.target().protocol {
            TargetProtocol::Http1 => self.own(self.key(false, tls)?, record).await,
            TargetProtocol::H2 | TargetProtocol::H2c => self.shared(self.key(true, tls)?, record).await,
            // Few origins take a WebSocket in HTTP/2; where there is a choice, it goes the way that all know.
            TargetProtocol::Auto if upgrade => {
                let http1 = self.origin().and_then(|origin| origin.tls_http1.as_ref());
                self.own(self.key(false, http1)?, record).await
            }
            TargetProtocol::Auto => self.either(self.key(true, tls)?, record).await,
        }
    }

    /// A connection from the pool, or a new one.
    async fn own(&self, key: Key, record: &mut Record) -> Result<Box<Upstream>, Fault> {
        let upstream = match self.pooled(&key) {
            Some(upstream) => upstream,
            None => self.dial(&key, record).await?,
        };
        upstream.begin();
        Ok(upstream)
    }

    /// A stream of a connection that others use too.
    async fn shared(&self, key: Key, record: &mut Record) -> Result<Box<Upstream>, Fault> {
        let lease = match self.find(&key) {
            Found::Lease(lease) if !self.forward.exchange.is_upgrade() => lease,
            found => self.lease(&key, found, record).await?,
        };
        self.on(lease)
    }

    /// What the origin agrees to: a stream or a connection of its own.
    async fn either(&self, key: Key, record: &mut Record) -> Result<Box<Upstream>, Fault> {
        let found = self.find(&key);
        if matches!(found, Found::Lease(_) | Found::Young(_)) {
            let lease = self.lease(&key, found, record).await?;
            return self.on(lease);
        }
        let own = Key { http2: false, ..key };
        let upstream = match self.pooled(&own) {
            Some(upstream) => upstream,
            None => self.dial(&own, record).await?,
        };
        match upstream.into_shared() {
            Ok((key, place, wire, flow)) => {
                let terms = self.forward.exchange.current.session_terms();
                let session = Session::open(key.clone(), place, &terms, async { Ok((wire, flow)) });
                self.forward.exchange.worker.sessions.borrow_mut().enter(session.clone());
                let lease = self.lease(&key, Found::Young(session), record).await?;
                self.on(lease)
            }
            Err(upstream) => {
                upstream.begin();
                Ok(upstream)
            }
        }
    }

    /// The newest idle connection that may be used.
    fn pooled(&self, key: &Key) -> Option<Box<Upstream>> {
        let worker = self.forward.exchange.worker;
        if self.fresh_only {
            return None;
        }
        let pooled = worker.pool.borrow_mut().take(key, ring::now())?;
        worker.counters.upstream_reuses.add(1);
        Some(pooled)
    }

    /// A new connection.
    async fn dial(&self, key: &Key, record: &mut Record) -> Result<Box<Upstream>, Fault> {
        let exchange = self.forward.exchange;
        let place = self.place()?;
        exchange.worker.counters.upstream_connects.add(1);
        let began = ring::now();
        let dial = Upstream::dial(key.address, place, exchange.rules.timeouts.connect);
        let dialled = exchange.client.within(exchange.deadline, dial).await;
        record.spent(Phase::Connect, began, ring::now());
        let late = Fault::new(Reason::RequestTimeout);
        let mut upstream = dialled.map_err(|stopped| exchange.stopped(stopped).unwrap_or(late))??;
        upstream.flow = upstream.socket.socket().and_then(|socket| exchange.worker.flows.dialled(socket, self.host()));
        if let Some(version) = self.target().announces {
            upstream.announce(version, &exchange.client.whence.ends(), key.client);
        }
        match &key.tls {
            Some(outgoing) => self.secure(upstream, outgoing, record).await,
            None => Ok(upstream),
        }
    }

    async fn secure(
        &self,
        upstream: Box<Upstream>,
        outgoing: &Arc<Outgoing>,
        record: &mut Record,
    ) -> Result<Box<Upstream>, Fault> {
        let exchange = self.forward.exchange;
        let began = ring::now();
        let handshake = Box::pin(upstream.secure(outgoing, exchange.rules.timeouts.connect_tls));
        let secured = exchange.client.within(exchange.deadline, handshake).await;
        record.spent(Phase::Tls, began, ring::now());
        let late = Fault::new(Reason::RequestTimeout);
        secured.map_err(|stopped| exchange.stopped(stopped).unwrap_or(late))?
    }

    fn on(&self, lease: Lease) -> Result<Box<Upstream>, Fault> {
        if lease.is_reused() {
            self.forward.exchange.worker.counters.upstream_reuses.add(1);
        }
        Upstream::on(lease, self.origin().map_or("", |origin| &origin.authority))
    }

    /// A stream, as soon as there is one.
    async fn lease(&self, key: &Key, found: Found, record: &mut Record) -> Result<Lease, Fault> {
        let exchange = self.forward.exchange;
        let began = ring::now();
        let waiting = Box::pin(self.wait_for_stream(key, found, began));
        let leased = exchange.client.within(exchange.deadline, waiting).await;
        record.spent(Phase::Connect, began, ring::now());
        let late = Fault::new(Reason::RequestTimeout);
        leased.map_err(|stopped| exchange.stopped(stopped).unwrap_or(late))?
    }

    async fn wait_for_stream(&self, key: &Key, mut found: Found, began: Instant) -> Result<Lease, Fault> {
        let exchange = self.forward.exchange;
        let timer = exchange.timer;
        timer.set(deadline(began, self.patience(key)));
        let mut late = Fault::new(Reason::UpstreamConnectTimeout).retry(Retry::Safe);
        loop {
            let session = match found {
                Found::Lease(lease) if exchange.is_upgrade() => {
                    return timer.race(willing(lease)).await.map_err(|_| late)?;
                }
                Found::Lease(lease) => return Ok(lease),
                Found::Young(session) => session,
                Found::Nothing => self.open(key)?,
                // Others were faster with the streams that it had, and no further connection may be opened.
                Found::Full(full) => self.open(key).or_else(|fault| {
                    late = Fault::new(Reason::UpstreamQueueTimeout);
                    if fault.reason == Reason::UpstreamQueueFull { Ok(full) } else { Err(fault) }
                })?,
            };
            timer.race(session.changed()).await.map_err(|_| late)?;
            if let Some(fault) = session.failure() {
                return Err(fault);
            }
            found = self.find(key);
        }
    }

    /// How long a connection may take to be usable; zero: any time.
    fn patience(&self, key: &Key) -> Duration {
        let timeouts = &self.forward.exchange.rules.timeouts;
        match (timeouts.connect, timeouts.connect_tls) {
            (connect, _) if key.tls.is_none() => connect,
            (Duration::ZERO, _) | (_, Duration::ZERO) => Duration::ZERO,
            (connect, tls) => connect + tls,
        }
    }

    /// What there is already. A try that follows one on a connection which was stale takes none of its age.
    fn find(&self, key: &Key) -> Found {
        let exchange = self.forward.exchange;
        let stale = self.fresh_only && !exchange.is_upgrade();
        let terms = exchange.current.session_terms();
        exchange.worker.sessions.borrow_mut().find(key, &terms, stale.then_some(self.began))
    }

    /// Opens another shared connection.
    fn open(&self, key: &Key) -> Result<Rc<Session>, Fault> {
        let exchange = self.forward.exchange;
        let worker = exchange.worker;
        let place = self.place()?;
        worker.counters.upstream_connects.add(1);
        let (flows, host): (_, Box<str>) = (worker.flows.clone(), self.host().into());
        let timeouts = &exchange.rules.timeouts;
        let (limit, limit_tls, to) = (timeouts.connect, timeouts.connect_tls, key.clone());
        let dial = async move {
            let timer = Timer::new();
            let socket = connect(to.address, &timer, limit).await?;
            let flow = flows.dialled(&socket, &host);
            let Some(outgoing) = &to.tls else { return Ok((Wire::Plain(socket), flow)) };
            let (wire, agreed) = secure(socket, outgoing, &timer, limit_tls).await?;
            match agreed.alpn.as_deref() {
                Some(b"h2") => Ok((wire, flow)),
                _ => Err(Fault::new(Reason::UpstreamTlsFailed).retry(Retry::Safe)),
            }
        };
        let session = Session::open(key.clone(), place, &exchange.current.session_terms(), dial);
        worker.sessions.borrow_mut().enter(session.clone());
        Ok(session)
    }

    /// A place among the endpoint's connections.
    fn place(&self) -> Result<Connection, Fault> {
        let max = self.forward.live.groups().limits.connections_max;
        let worker = self.forward.exchange.worker;
        let inflight = &self.picked.inflight;
        // An idle connection that this request may not use gives its place to one that it may.
        let made = || worker.pool.borrow_mut().evict(inflight.endpoint().number());
        inflight.connection(max).or_else(|| made().then(|| inflight.connection(max)).flatten()).ok_or_else(|| {
            worker.counters.limit(Limit::EndpointConnections);
            Fault::new(Reason::UpstreamQueueFull).retry(Retry::Safe)
        })
    }

    fn key(&self, http2: bool, tls: Option<&Arc<Outgoing>>) -> Result<Key, Fault> {
        let address = self.picked.address.ok_or(Fault::new(Reason::InternalError))?;
        let exchange = self.forward.exchange;
        let announced = self.target().announces.is_some();
        let client = if announced { exchange.client.whence.numbered(&exchange.worker.announced_last) } else { 0 };
        Ok(Key { address, http2, tls: tls.cloned(), client })
    }

    fn origin(&self) -> Option<&Origin> {
        self.target().origin()
    }

    /// The host of the target's URL.
    fn host(&self) -> &str {
        self.origin().map_or("", |origin| host_of(&origin.authority))
    }
}

/// The lease once its peer has said that it takes extended CONNECT (RFC 8441 section 3).
async fn willing(lease: Lease) -> Result<Lease, Fault> {
    loop {
        match lease.session().connects() {
            Some(true) => return Ok(lease),
            Some(false) => return Err(Fault::new(Reason::UpstreamBadUpgrade)),
            None if lease.session().is_over() => return Err(Fault::new(Reason::UpstreamRefused).retry(Retry::Safe)),
            None => lease.session().changed().await,
        }
    }
}

/// An authority without its port.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => host,
        _ => authority,
    }
}
