//! Accept loops: one per listening socket of this worker.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Current, NewSocket, Worker};
use crate::base::Reason;
use crate::base::id::RequestId;
use crate::base::metric::Limit;
use crate::control::port::Kept;
use crate::listen::{Announced, Client, Counted, Crowded, Held, Member, Place, Told};
use crate::policy::finding::{Denial, Kind};
use crate::request;
use crate::ring::{self, Listener, Socket, sleep_until};
use crate::trace::flow::Verdict;

/// How long handshakes that were under way when a listener closed have to complete.
const HANDSHAKE: Duration = Duration::from_millis(250);

/// A socket that this worker accepts on.
pub(super) struct Bound {
    /// The listener that has its address now.
    listener: Rc<RefCell<Arc<str>>>,
    address: Arc<str>,
    pub(super) socket: Rc<Listener>,
}

impl Worker {
    /// Begins to accept on a socket.
    pub(super) fn listen(self: &Rc<Self>, new: NewSocket) {
        let socket = Rc::new(Listener::from_fd(new.fd));
        // A newer document may know it by another name than the one that opened it.
        let name = self.current().listener_at(&new.address).unwrap_or(new.listener);
        let listener = Rc::new(RefCell::new(name));
        let bound = Bound { listener: listener.clone(), address: new.address, socket: socket.clone() };
        self.bound.borrow_mut().push(bound);
        let worker = self.clone();
        worker.accepting.set(worker.accepting.get() + 1);
        ring::spawn(async move {
            while let Ok(socket) = socket.accept().await {
                let listener = listener.borrow().clone();
                worker.admit(socket, &listener, new.port);
            }
            worker.accepting.set(worker.accepting.get() - 1);
            worker.empty.notify();
        });
    }

    /// Gives sockets the names that their listeners have now.
    pub(super) fn rename_bound(&self) {
        let current = self.current();
        for one in self.bound.borrow().iter() {
            if let Some(name) = current.listener_at(&one.address) {
                one.listener.replace(name);
            }
        }
    }

    /// Stops accepting where the newest document no longer listens, once the connections that have begun there are
    /// accepted; connections from there finish their requests.
    pub(super) fn stop_listening_unless(&self, stays: impl Fn(&str, &str) -> bool) {
        let mut bound = self.bound.borrow_mut();
        bound.retain(|one| {
            let stay = stays(&one.listener.borrow(), &one.address);
            if !stay {
                close(one.socket.clone());
            }
            stay
        });
        let listener_stays = |name: &str| bound.iter().any(|one| **one.listener.borrow() == *name);
        self.tell_all(Told::Finish, |client| !listener_stays(&client.listener));
    }

    /// Stops accepting everywhere. Where another process goes on with the same sockets, what they hold is that
    /// process's, and nobody is turned away.
    pub(super) fn stop_listening(&self, kept: &Kept) {
        for one in self.bound.borrow_mut().drain(..) {
            match kept.contains(&(one.listener.borrow().clone(), one.address)) {
                true => one.socket.stop(),
                false => close(one.socket),
            }
        }
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
            Err(refused) => return self.refuse(&socket, listener, port, peer, refused),
        };
        let flow = self.flows.accepted(&socket, listener);
        let client = Client::new(current.wire(socket, listener), peer, flow, listener.clone(), port, held);
        if self.is_draining() || self.retired.borrow().contains_key(listener) {
            client.tell(Told::Finish);
        }
        let registered = self.register(&client);
        ring::spawn(request::entered(self.clone(), client, registered));
    }

    /// A connection's places: in the process, at its listener, and among its peer's.
    fn places(&self, current: &Current, listener: &str, peer: Option<IpAddr>) -> Result<Held, Refused> {
        let is_proxy = current.announces(listener, peer);
        let (peer, handshake) = self.places_of_peer(current, listener, peer)?;
        let position = current.snapshot.listeners.iter().position(|plan| *plan.name == *listener);
        let own = position.and_then(|at| current.shares.listeners.get(at)?.1.as_ref());
        let full = Refused::Full("limits", Limit::Connections);
        let process = current.shares.connections.lease().ok_or(full.clone())?;
        let listener = own.map(|share| share.lease().ok_or(full)).transpose()?;
        Ok(Held { process, listener, peer, handshake, is_proxy })
    }

    /// A proxy has said whose connection it brings: from here on that one is the peer. False: it is refused, and reset
    /// when it is closed.
    pub fn announced(&self, client: &Client, announced: Announced) -> bool {
        let current = self.current_of(&client.listener);
        let peer =
            if let Announced::Ends { source, .. } = announced { Some(source.ip()) } else { client.whence.remote() };
        let places = self.places_of_peer(&current, &client.listener, peer.map(|ip| ip.to_canonical()));
        let refused = match places {
            Ok((peer, handshake)) => {
                client.announce(announced, peer, handshake);
                return true;
            }
            Err(refused) => refused,
        };
        client.announce(announced, None, None);
        let (reason, rule) = self.note_refused(&client.listener, client.port, client.peer_ip(), refused);
        client.socket.set_linger_reset();
        if let Some(flow) = &client.flow {
            let verdict = Verdict { denied: true, reason, rule, trace_id: RequestId::default(), hostname: None };
            self.flows.request(flow.cookie(), verdict);
        }
        false
    }

    /// Trusted proxies, which bring many clients, and peers on Unix sockets are neither banned nor counted.
    fn places_of_peer(
        &self,
        current: &Current,
        listener: &str,
        peer: Option<IpAddr>,
    ) -> Result<(Option<Place>, Option<Place>), Refused> {
        let Some(ip) = peer.filter(|_| !current.is_trusted_proxy(listener, peer)) else { return Ok((None, None)) };
        if let Some(hit) = current.bans.lookup(ip, ring::now()) {
            return Err(Refused::Banned(hit.ban.rule.clone()));
        }
        let limits = &current.snapshot.document.connections;
        let member = self.crowd.member(ip);
        let enter = |counted, max, limit| {
            self.enter_crowd(counted, member, max).map_err(|Crowded| Refused::Full("connections", limit))
        };
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

    fn refuse(&self, socket: &Socket, listener: &Arc<str>, port: u16, peer: Option<SocketAddr>, refused: Refused) {
        let (reason, rule) = self.note_refused(listener, port, peer.map(|peer| peer.ip().to_canonical()), refused);
        socket.set_linger_reset();
        self.flows.refused(socket, listener, reason, rule);
    }

    /// Counts a refusal, and says what it is.
    fn note_refused(
        &self,
        listener: &str,
        port: u16,
        client: Option<IpAddr>,
        refused: Refused,
    ) -> (Reason, Option<Arc<str>>) {
        let dst_port = Some(port).filter(|port| *port != 0);
        let (denial, reason, rule) = match &refused {
            Refused::Banned(rule) => {
                (Denial::new(Kind::Banned, "ban", rule, Reason::Banned), Reason::Banned, Some(rule.clone()))
            }
            Refused::Full(table, limit) => {
                self.counters.limit(*limit);
                let reason = Reason::ConnectionLimit;
                (Denial::new(Kind::ConnectionLimit, table, limit.token(), reason), reason, None)
            }
        };
        self.counters.reason(reason);
        self.found(&Denial { listener, dst_port, client, status: 0, ..denial });
        (reason, rule)
    }
}

/// Closes a socket, once the connections that have begun there are accepted.
fn close(socket: Rc<Listener>) {
    socket.turn_away();
    ring::spawn(async move {
        sleep_until(ring::now() + HANDSHAKE).await;
        socket.stop();
    });
}

/// Why a connection is reset as soon as it is accepted.
#[derive(Clone)]
enum Refused {
    /// Its peer is banned by this rule.
    Banned(Arc<str>),
    /// A bound of this table is reached.
    Full(&'static str, Limit),
}
