//! Accept loops: one per listening socket of this worker.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Current, NewSocket, Worker};
use crate::base::Reason;
use crate::base::metric::Limit;
use crate::listen::{Client, Counted, Crowded, Held, Member, Place, Told};
use crate::request;
use crate::ring::{self, Listener, Socket, sleep_until};

/// How long handshakes that were under way when a listener closed have to complete.
const HANDSHAKE: Duration = Duration::from_millis(250);

/// A socket that this worker accepts on.
pub(super) struct Bound {
    listener: Arc<str>,
    address: Arc<str>,
    socket: Rc<Listener>,
}

impl Worker {
    /// Begins to accept on a socket.
    pub(super) fn listen(self: &Rc<Self>, new: NewSocket) {
        let socket = Rc::new(Listener::from_fd(new.fd));
        let bound = Bound { listener: new.listener.clone(), address: new.address, socket: socket.clone() };
        self.bound.borrow_mut().push(bound);
        let worker = self.clone();
        worker.accepting.set(worker.accepting.get() + 1);
        ring::spawn(async move {
            while let Ok(socket) = socket.accept().await {
                worker.admit(socket, &new.listener, new.port);
            }
            worker.accepting.set(worker.accepting.get() - 1);
            worker.empty.notify();
        });
    }

    /// Stops accepting where the newest document no longer listens, once the connections that have begun there are
    /// accepted; connections from there finish their requests.
    pub(super) fn stop_listening_unless(&self, stays: impl Fn(&str, &str) -> bool) {
        let mut bound = self.bound.borrow_mut();
        bound.retain(|one| {
            let stay = stays(&one.listener, &one.address);
            if !stay {
                let socket = one.socket.clone();
                socket.turn_away();
                ring::spawn(async move {
                    sleep_until(ring::now() + HANDSHAKE).await;
                    socket.stop();
                });
            }
            stay
        });
        let listener_stays = |name: &str| bound.iter().any(|one| *one.listener == *name);
        self.tell_all(Told::Finish, |client| !listener_stays(&client.listener));
    }

    fn admit(self: &Rc<Self>, socket: Socket, listener: &Arc<str>, port: u16) {
        let peer = socket.peer_addr();
        if peer.is_none() && port != 0 {
            // It was reset already. Without its address it would pass for a peer on a Unix socket.
            return;
        }
        let current = self.current_of(listener);
        let held = match self.places(&current, listener, peer.map(|peer| peer.ip())) {
            Ok(held) => held,
            Err(refused) => return self.refuse(&socket, refused),
        };
        let flow = self.flows.accepted(&socket, listener);
        let client = Client::new(socket, peer, flow, listener.clone(), port, held);
        if self.is_draining() || self.retired.borrow().contains_key(listener) {
            client.tell(Told::Finish);
        }
        let registered = self.register(&client);
        ring::spawn(request::connection(self.clone(), client, registered));
    }

    /// A connection's places: in the process, at its listener, and among its peer's.
    fn places(&self, current: &Current, listener: &str, peer: Option<IpAddr>) -> Result<Held, Limit> {
        let position = current.snapshot.listeners.iter().position(|plan| *plan.name == *listener);
        let own = position.and_then(|at| current.shares.listeners.get(at)?.1.as_ref());
        let (peer, handshake) = self.places_of_peer(current, peer)?;
        let process = current.shares.connections.lease().ok_or(Limit::Connections)?;
        let listener = own.map(|share| share.lease().ok_or(Limit::Connections)).transpose()?;
        Ok(Held { process, listener, peer, handshake })
    }

    /// Trusted proxies, which bring many clients, and peers on Unix sockets are not counted.
    fn places_of_peer(&self, current: &Current, peer: Option<IpAddr>) -> Result<(Option<Place>, Option<Place>), Limit> {
        let Some(ip) = peer.filter(|_| !current.trust.trusts(peer)) else { return Ok((None, None)) };
        let limits = &current.snapshot.document.connections;
        let member = self.crowd.member(ip);
        let enter = |counted, max, limit| self.enter_crowd(counted, member, max).map_err(|Crowded| limit);
        let connection = enter(Counted::Connections, limits.per_client_max, Limit::ConnectionsPerClient)?;
        let handshakes_max = limits.handshaking_per_client_max;
        let handshake = enter(Counted::Handshakes, handshakes_max, Limit::HandshakingPerClient)?;
        Ok((connection, handshake))
    }

    /// Counts one more thing of a client, unless there is no room to.
    pub fn enter_crowd(&self, counted: Counted, member: Member, max: u64) -> Result<Option<Place>, Crowded> {
        let place = self.crowd.enter(counted, member, max)?;
        if place.is_none() {
            self.counters.limit(Limit::ClientsCounted);
        }
        Ok(place)
    }

    fn refuse(&self, socket: &Socket, limit: Limit) {
        self.counters.limit(limit);
        self.counters.reason(Reason::ConnectionLimit);
        socket.set_linger_reset();
    }
}
