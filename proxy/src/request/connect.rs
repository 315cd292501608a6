//! CONNECT: a tunnel to one of the destinations that the listener lists, past routes and cache.

use std::net::SocketAddr;
use std::time::Duration;

use super::Exchange;
use super::decide::Asked;
use super::record::Record;
use crate::base::metric::Phase;
use crate::base::{Fault, Reason};
use crate::buf::{SendBuf, spare_vec};
use crate::config::value::Destination;
use crate::http::{BodyLength, Connection, Edits, ResponseOut};
use crate::listen::Flow;
use crate::ring::{self, Socket};
use crate::transport::connect;
use crate::wire::Wire;

impl Exchange<'_> {
    /// Asks the policies, connects to what is asked for, says so, and relays.
    pub(super) async fn connect(
        &mut self,
        asked: Asked<'_, '_, '_>,
        record: &mut Record,
        edits: &mut Edits,
    ) -> Result<(), Fault> {
        // Who takes the tunnel for granted may have sent its first octets: they are no request.
        record.keep_alive = false;
        let destination = asked.destination()?;
        self.check_tunnel()?;
        let paths = asked.request.paths(false)?;
        let _place = self.policies(&paths, record).await?;
        let addresses = self.addresses(destination);
        let (wire, flow) = self.reach(destination, &addresses, record).await?;
        record.upstream = flow.as_ref().map(Flow::cookie);
        let carried = async {
            self.send(self.accepted(edits, record)).await?;
            self.tunnel(&wire, record).await
        };
        let carried = carried.await;
        let counters = &self.worker.counters;
        counters.upstream_received.add(wire.received());
        counters.upstream_sent.add(wire.sent());
        carried
    }

    /// Where a destination is: itself, or what its name resolved to, from another one on each time.
    fn addresses(&self, destination: &Destination) -> Vec<SocketAddr> {
        let Some(name) = destination.name() else {
            return destination.ip().map(|ip| SocketAddr::new(ip, destination.port)).into_iter().collect();
        };
        let ips = self.current.live.addresses(name);
        let mut addresses: Vec<_> = ips.iter().map(|ip| SocketAddr::new(*ip, destination.port)).collect();
        if !addresses.is_empty() {
            let first = self.worker.random.borrow_mut().usize(..addresses.len());
            addresses.rotate_left(first);
        }
        addresses
    }

    /// Connects to the first address that takes it, all of them within `timeouts.connect`.
    async fn reach(
        &self,
        destination: &Destination,
        addresses: &[SocketAddr],
        record: &mut Record,
    ) -> Result<(Wire, Option<Flow>), Fault> {
        let began = ring::now();
        let limit = self.rules.timeouts.connect;
        let mut last = Fault::new(Reason::UpstreamDnsFailed);
        for address in addresses {
            let left = limit.saturating_sub(ring::now().since(began));
            if left.is_zero() && !limit.is_zero() {
                break;
            }
            record.endpoint = Some(*address);
            record.attempts += 1;
            match self.dial(*address, left).await {
                Ok(socket) => {
                    record.spent(Phase::Connect, began, ring::now());
                    let flow = self.worker.flows.dialled(&socket, &destination.host);
                    return Ok((Wire::Plain(socket), flow));
                }
                Err(fault) if fault.status == 0 || fault.reason == Reason::RequestTimeout => return Err(fault),
                Err(fault) => last = fault,
            }
        }
        record.spent(Phase::Connect, began, ring::now());
        Err(last)
    }

    async fn dial(&self, address: SocketAddr, limit: Duration) -> Result<Socket, Fault> {
        self.worker.counters.upstream_connects.add(1);
        let dialled = self.client.within(self.deadline, connect(address, self.timer, limit)).await;
        dialled.map_err(|stopped| self.stopped(stopped).unwrap_or(Fault::new(Reason::RequestTimeout)))?
    }

    /// The answer behind which the tunnel begins: without a length of any kind (RFC 9110 section 9.3.6).
    fn accepted(&self, edits: &mut Edits, record: &mut Record) -> SendBuf {
        self.told.write(edits);
        let out = ResponseOut {
            status: 200,
            upstream: None,
            body: BodyLength::None,
            stated_length: None,
            version: self.request.version(),
            connection: Connection::KeepAlive,
            date: &[],
            request_id: self.id_header(),
            edits,
        };
        let mut octets = spare_vec();
        self.write_head(&mut octets, out);
        record.status = 200;
        record.answered = true;
        octets.into()
    }
}
