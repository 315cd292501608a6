//! What workers tell control about their connections: opened, what a request on it came to, closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::base::id::RequestId;
use crate::base::{Instant, Reason, TcpInfo};

/// Notes that may wait for control, which takes them each 10 ms.
const NOTES_MAX: usize = 8192;

/// Which end of weir a connection is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Accepted.
    Client,
    /// Dialled.
    Upstream,
}

impl Side {
    /// As outputs name it.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
        }
    }
}

/// Something that a worker knows of one of its connections.
#[derive(Clone, Debug)]
pub struct Note {
    /// The socket's SO_COOKIE.
    pub cookie: u64,
    /// When.
    pub at: Instant,
    /// What.
    pub news: News,
}

/// What a worker tells of a connection.
#[derive(Clone, Debug)]
pub enum News {
    /// It was accepted, or the dial has succeeded.
    Opened(Box<Opened>),
    /// A request on it is over.
    Request(Box<Verdict>),
    /// How TCP stands.
    Sample(Box<TcpInfo>),
    /// It is closed.
    Closed(Box<Closed>),
}

/// A connection as it began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Which end of weir it is on.
    pub side: Side,
    /// The worker's number.
    pub worker: u16,
    /// weir's end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// The listener it came in by; none on the upstream side.
    pub listener: Option<Arc<str>>,
    /// The host of the target's URL; none on the client side, where requests name it.
    pub hostname: Option<Box<str>>,
}

/// What became of a request, as its connection's flow shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Whether weir refused it, or a policy stopped it.
    pub denied: bool,
    /// The final reason.
    pub reason: Reason,
    /// The rule that decided.
    pub rule: Option<Arc<str>>,
    /// The bits of its trace id.
    pub trace_id: RequestId,
    /// The host that it asked for.
    pub hostname: Option<Box<str>>,
}

/// A connection's end, as its worker saw it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Closed {
    /// weir closed before it had seen an end or an error of the peer.
    pub weir_first: bool,
    /// A call has returned ETIMEDOUT.
    pub timed_out: bool,
    /// The connection was reset: by the peer's error, or by how weir closes it.
    pub reset: bool,
    /// How TCP stood just before; only where the kernel half does not tell.
    pub info: Option<TcpInfo>,
}

/// Whether a reason means that weir refused the connection, or that a policy stopped the request.
pub fn is_denial(reason: Reason) -> bool {
    use Reason::{Banned, ClientConcurrency, ConnectionLimit, KernelDenied, RateLimited};
    matches!(reason, ConnectionLimit | Banned | ClientConcurrency | KernelDenied | RateLimited)
}

/// The way from all workers to control, and what control wants to hear.
pub struct Notes {
    queue: ArrayQueue<Note>,
    wanted: AtomicU8,
}

/// What control wants to hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Connections that open and close.
    pub connections: bool,
    /// Every request, rather than only denied ones: somebody watches.
    pub requests: bool,
    /// TCP_INFO at a close, and of open connections while somebody watches: the kernel half does not tell.
    pub tcp_info: bool,
}

const CONNECTIONS: u8 = 1;
const REQUESTS: u8 = 2;
const TCP_INFO: u8 = 4;

/// Connections are told of from the first one on: workers serve before control has begun to listen.
impl Default for Notes {
    fn default() -> Self {
        Self { queue: ArrayQueue::new(NOTES_MAX), wanted: AtomicU8::new(CONNECTIONS | TCP_INFO) }
    }
}

impl Notes {
    /// Queues a note, or gives it back where there is no room.
    pub fn send(&self, note: Note) -> Result<(), Note> {
        self.queue.push(note)
    }

    /// The oldest note that waits.
    pub fn take(&self) -> Option<Note> {
        self.queue.pop()
    }

    /// What control wants to hear.
    pub fn wanted(&self) -> Wanted {
        let bits = self.wanted.load(Ordering::Relaxed);
        Wanted { connections: bits & CONNECTIONS != 0, requests: bits & REQUESTS != 0, tcp_info: bits & TCP_INFO != 0 }
    }

    /// Says what control wants to hear.
    pub fn want(&self, wanted: Wanted) {
        let bit = |on, bit| if on { bit } else { 0 };
        let bits = bit(wanted.connections, CONNECTIONS) | bit(wanted.requests, REQUESTS);
        self.wanted.store(bits | bit(wanted.tcp_info, TCP_INFO), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_goes_on_in_order() {
        let notes = Notes::default();
        let note = |cookie| Note { cookie, at: Instant::default(), news: News::Closed(Box::default()) };
        let sent = (0..NOTES_MAX as u64 + 5).filter(|&cookie| notes.send(note(cookie)).is_ok()).count();
        assert_eq!(sent, NOTES_MAX);
        assert_eq!(notes.take().map(|note| note.cookie), Some(0));
        assert!(notes.send(note(7)).is_ok());
    }

    #[test]
    fn what_is_wanted_is_what_was_said() {
        let notes = Notes::default();
        assert_eq!(notes.wanted(), Wanted { connections: true, requests: false, tcp_info: true });
        for bits in 0..8_u8 {
            let wanted = Wanted { connections: bits & 1 != 0, requests: bits & 2 != 0, tcp_info: bits & 4 != 0 };
            notes.want(wanted);
            assert_eq!(notes.wanted(), wanted);
        }
    }
}
