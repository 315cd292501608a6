//! A connection as control is told of it, whichever side it is on: opened, requests on it, closed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::base::Reason;
use crate::base::hash::BuildMix;
use crate::base::id::RequestId;
use crate::base::metric::{Counters, Queue};
use crate::ring::{self, Probe, Socket};
use crate::trace::flow::{Closed, News, Note, Notes, Opened, Side, Verdict, is_denial};

/// Open connections that one call of [`Teller::beat`] asks about, so that a worker with many serves between two.
const SAMPLES_MAX: usize = 256;
/// Ends that wait for room in the queue.
const LATE_MAX: usize = 16_384;

/// Tells control of one worker's connections.
pub struct Teller {
    notes: Arc<Notes>,
    worker: u16,
    counters: Arc<Counters>,
    /// Those that may have to be asked how they are, and whether the kernel half does not know them.
    open: RefCell<HashMap<u64, (Probe, bool), BuildMix>>,
    /// Cookies that the samples of this round have yet to come to.
    round: RefCell<Vec<u64>>,
    /// Ends that found the queue full: without them their flows would stay open for ever.
    late: RefCell<Vec<Note>>,
}

/// An open connection that control knows of. When it is dropped, before its socket is, control learns of the end.
pub struct Flow {
    cookie: u64,
    probe: Probe,
    /// It opened while the kernel half did not tell, which then never tells of it.
    unseen: bool,
    teller: Rc<Teller>,
}

impl Teller {
    /// What the worker of this number tells.
    pub fn new(notes: Arc<Notes>, worker: usize, counters: Arc<Counters>) -> Rc<Self> {
        let worker = u16::try_from(worker).unwrap_or(u16::MAX);
        Rc::new(Self {
            notes,
            worker,
            counters,
            open: RefCell::default(),
            round: RefCell::default(),
            late: RefCell::default(),
        })
    }

    /// An accepted connection; none if nobody wants to hear of it, or it is no TCP.
    pub fn accepted(self: &Rc<Self>, socket: &Socket, listener: &Arc<str>) -> Option<Flow> {
        let open = |local, remote| Opened {
            side: Side::Client,
            worker: self.worker,
            local,
            remote,
            listener: Some(listener.clone()),
            hostname: None,
        };
        self.opened(socket, open)
    }

    /// A connection to an endpoint of a target.
    pub fn dialled(self: &Rc<Self>, socket: &Socket, host: &str) -> Option<Flow> {
        let open = |local, remote| Opened {
            side: Side::Upstream,
            worker: self.worker,
            local,
            remote,
            listener: None,
            hostname: Some(host.into()),
        };
        self.opened(socket, open)
    }

    /// A connection that is refused as soon as it is accepted.
    pub fn refused(self: &Rc<Self>, socket: &Socket, listener: &Arc<str>, reason: Reason, rule: Option<Arc<str>>) {
        if let Some(flow) = self.accepted(socket, listener) {
            let verdict = Verdict { denied: true, reason, rule, trace_id: RequestId::default(), hostname: None };
            self.tell(flow.cookie, News::Request(Box::new(verdict)));
        }
    }

    fn opened(self: &Rc<Self>, socket: &Socket, open: impl Fn(SocketAddr, SocketAddr) -> Opened) -> Option<Flow> {
        let wanted = self.notes.wanted();
        if !wanted.connections {
            return None;
        }
        let (local, remote) = (socket.local_addr()?, socket.peer_addr()?);
        let (cookie, probe) = (socket.cookie(), socket.probe());
        self.tell(cookie, News::Opened(Box::new(open(canonical(local), canonical(remote)))));
        let unseen = wanted.tcp_info;
        self.open.borrow_mut().insert(cookie, (probe.clone(), unseen));
        Some(Flow { cookie, probe, unseen, teller: self.clone() })
    }

    /// Whether a request that ends so is to be told of.
    pub fn wants(&self, reason: Reason) -> bool {
        self.notes.wanted().requests || is_denial(reason)
    }

    /// A request on this connection is over. Ask [`Teller::wants`] first.
    pub fn request(&self, cookie: u64, verdict: Verdict) {
        self.tell(cookie, News::Request(Box::new(verdict)));
    }

    /// To be called now and then: tells what the queue had no room for, and, if anybody wants to know, how the next few
    /// open connections stand; each has its turn.
    pub fn beat(&self) {
        self.tell_late();
        let wanted = self.notes.wanted();
        if !wanted.requests {
            return;
        }
        let (open, mut round) = (self.open.borrow(), self.round.borrow_mut());
        if round.is_empty() {
            let asked = open.iter().filter(|(_, (_, unseen))| wanted.tcp_info || *unseen);
            round.extend(asked.map(|(cookie, _)| cookie));
        }
        let left = round.len().saturating_sub(SAMPLES_MAX);
        for cookie in round.drain(left..) {
            if let Some(info) = open.get(&cookie).and_then(|(probe, _)| probe.tcp_info()) {
                self.tell(cookie, News::Sample(Box::new(info)));
            }
        }
    }

    fn tell(&self, cookie: u64, news: News) {
        let Err(note) = self.notes.send(Note { cookie, at: ring::now(), news }) else { return };
        let mut late = self.late.borrow_mut();
        if matches!(note.news, News::Closed(_)) && late.len() < LATE_MAX {
            late.push(note);
        } else {
            self.counters.lost(Queue::Flow);
        }
    }

    fn tell_late(&self) {
        let mut late = self.late.borrow_mut();
        while let Some(note) = late.pop() {
            if let Err(note) = self.notes.send(note) {
                return late.push(note);
            }
        }
    }
}

impl Flow {
    /// The socket's number, by which all that is known of the connection is joined.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    fn end(&self, tcp_info: bool) -> Closed {
        let error = self.probe.error();
        let timed_out = error.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        Closed {
            weir_first: error.is_none() && !self.probe.has_ended(),
            timed_out,
            reset: (error.is_some() && !timed_out) || self.probe.resets(),
            info: if tcp_info { self.probe.tcp_info() } else { None },
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.teller.open.borrow_mut().remove(&self.cookie);
        let wanted = self.teller.notes.wanted();
        if wanted.connections {
            self.teller.tell(self.cookie, News::Closed(Box::new(self.end(wanted.tcp_info || self.unseen))));
        }
    }
}

/// An IPv4 peer of a socket that takes both kinds is shown as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
