//! The connection of a try: an idle one, a stream of one that is shared, or a new one.

use super::attempt::Attempt;
use crate::base::metric::{Limit, Phase};
use crate::base::{Fault, Reason, Retry};
use crate::config::value::TargetProtocol;
use crate::listen::deadline;
use crate::request::record::Record;
use crate::ring::{self, Timer};
use crate::target::Connection;
use crate::transport::{Found, Key, Lease, Session, Upstream, connect};

impl Attempt<'_, '_, '_> {
    /// What this try goes by.
    pub(super) async fn obtain(&self, record: &mut Record) -> Result<Box<Upstream>, Fault> {
        match self.target().protocol {
            TargetProtocol::Http1 => self.own(record).await,
            TargetProtocol::H2c => self.shared(record).await,
        }
    }

    /// A connection from the pool, or a new one.
    async fn own(&self, record: &mut Record) -> Result<Box<Upstream>, Fault> {
        let exchange = self.forward.exchange;
        let counters = &exchange.worker.counters;
        let key = self.key(false)?;
        if !self.fresh_only
            && let Some(upstream) = exchange.worker.pool.borrow_mut().take(&key, ring::now())
        {
            counters.upstream_reuses.add(1);
            upstream.begin();
            return Ok(upstream);
        }
        let place = self.place()?;
        counters.upstream_connects.add(1);
        let began = ring::now();
        let dial = Upstream::dial(key.address, place, exchange.rules.timeouts.connect);
        let dialled = exchange.client.within(exchange.deadline, dial).await;
        record.spent(Phase::Connect, began, ring::now());
        let late = Fault::new(Reason::RequestTimeout);
        let mut upstream = dialled.map_err(|stopped| exchange.stopped(stopped).unwrap_or(late))??;
        upstream.flow = upstream.socket.socket().and_then(|socket| exchange.worker.flows.dialled(socket, self.host()));
        upstream.begin();
        Ok(upstream)
    }

    /// A stream of a connection that others use too.
    async fn shared(&self, record: &mut Record) -> Result<Box<Upstream>, Fault> {
        let exchange = self.forward.exchange;
        let lease = match self.find()? {
            Found::Lease(lease) if !self.forward.exchange.is_upgrade() => lease,
            found => {
                let began = ring::now();
                let leased = exchange.client.within(exchange.deadline, self.wait_for_stream(found)).await;
                record.spent(Phase::Connect, began, ring::now());
                let late = Fault::new(Reason::RequestTimeout);
                leased.map_err(|stopped| exchange.stopped(stopped).unwrap_or(late))??
            }
        };
        if lease.is_reused() {
            exchange.worker.counters.upstream_reuses.add(1);
        }
        let authority = self.target().origin().map_or("", |origin| &origin.authority);
        Upstream::on(lease, false, authority)
    }

    async fn wait_for_stream(&self, mut found: Found) -> Result<Lease, Fault> {
        let exchange = self.forward.exchange;
        let timer = exchange.timer;
        timer.set(deadline(ring::now(), exchange.rules.timeouts.connect));
        let late = Fault::new(Reason::UpstreamConnectTimeout).retry(Retry::Safe);
        loop {
            let session = match found {
                Found::Lease(lease) if exchange.is_upgrade() => {
                    return timer.race(willing(lease)).await.map_err(|_| late)?;
                }
                Found::Lease(lease) => return Ok(lease),
                Found::Young(session) => session,
                Found::Nothing => self.open()?,
            };
            timer.race(session.changed()).await.map_err(|_| late)?;
            if let Some(fault) = session.failure() {
                return Err(fault);
            }
            found = self.find()?;
        }
    }

    /// What there is already. A try that follows one on a connection which was stale takes none of its age.
    fn find(&self) -> Result<Found, Fault> {
        let exchange = self.forward.exchange;
        let stale = self.fresh_only && !exchange.is_upgrade();
        let terms = exchange.current.session_terms();
        let after = stale.then_some(self.began);
        Ok(exchange.worker.sessions.borrow_mut().find(&self.key(true)?, &terms, after))
    }

    /// Opens another shared connection.
    fn open(&self) -> Result<std::rc::Rc<Session>, Fault> {
        let exchange = self.forward.exchange;
        let worker = exchange.worker;
        let key = self.key(true)?;
        let place = self.place()?;
        worker.counters.upstream_connects.add(1);
        let (flows, host): (_, Box<str>) = (worker.flows.clone(), self.host().into());
        let limit = exchange.rules.timeouts.connect;
        let dial = async move {
            let wire = connect(key.address, &Timer::new(), limit).await?;
            let flow = wire.socket().and_then(|socket| flows.dialled(socket, &host));
            Ok((wire, flow))
        };
        let session = Session::open(key, place, &exchange.current.session_terms(), dial);
        worker.sessions.borrow_mut().enter(session.clone());
        Ok(session)
    }

    /// A place among the endpoint's connections.
    fn place(&self) -> Result<Connection, Fault> {
        let max = self.forward.live.groups().limits.connections_max;
        self.picked.inflight.connection(max).ok_or_else(|| {
            self.forward.exchange.worker.counters.limit(Limit::EndpointConnections);
            Fault::new(Reason::UpstreamQueueFull).retry(Retry::Safe)
        })
    }

    fn key(&self, http2: bool) -> Result<Key, Fault> {
        let address = self.picked.address.ok_or(Fault::new(Reason::InternalError))?;
        Ok(Key { address, http2 })
    }

    /// The host of the target's URL.
    fn host(&self) -> &str {
        self.target().origin().map_or("", |origin| host_of(&origin.authority))
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
