//! Accept loops: one per listening socket of this worker.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{NewSocket, Worker};
use crate::base::Reason;
use crate::base::metric::Limit;
use crate::listen::{Client, Told};
use crate::policy::finding::{Denial, Kind};
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
        let current = self.current_of(listener);
        let position = current.snapshot.listeners.iter().position(|plan| plan.name == *listener);
        let own = position.and_then(|at| current.shares.listeners.get(at)?.1.as_ref());
        let leases = current.shares.connections.lease().zip(match own {
            Some(share) => share.lease().map(Some),
            None => Some(None),
        });
        let Some(leases) = leases else {
            self.counters.limit(Limit::Connections);
            self.counters.reason(Reason::ConnectionLimit);
            self.found(&Denial {
                listener,
                dst_port: Some(port).filter(|port| *port != 0),
                client: socket.peer_addr().map(|peer| peer.ip().to_canonical()),
                ..Denial::new(Kind::ConnectionLimit, "limits", "connections_max", Reason::ConnectionLimit)
            });
            socket.set_linger_reset();
            self.flows.refused(&socket, listener, Reason::ConnectionLimit, None);
            return;
        };
        let flow = self.flows.accepted(&socket, listener);
        let client = Client::new(socket, flow, listener.clone(), port, leases);
        if self.is_draining() || self.retired.borrow().contains_key(listener) {
            client.tell(Told::Finish);
        }
        let registered = self.register(&client);
        ring::spawn(request::connection(self.clone(), client, registered));
    }
}
