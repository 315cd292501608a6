//! What a worker tells the kernel half, and does for it: clients to drop, sources that are known, its listening
//! sockets, connections to reset.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ipnet::IpNet;

use super::Worker;
use crate::base::Reason;
use crate::base::metric::Queue;
use crate::kernel::{Feeds, Listening, source_of};
use crate::listen::Client;
use crate::policy::tier::Promotion;
use crate::ring;

/// Known sources are gathered so long.
const GATHER: Duration = Duration::from_millis(100);
/// Sources of one batch; the others of that time stay unknown.
const BATCH_MAX: usize = 4096;

/// The worker's side of the kernel half.
pub(super) struct Side {
    feeds: Feeds,
    known: RefCell<Vec<IpAddr>>,
    /// The first of them is there.
    begun: ring::Event,
}

impl Side {
    pub(super) fn new(feeds: Feeds) -> Self {
        Self { feeds, known: RefCell::default(), begun: ring::Event::new() }
    }
}

impl Worker {
    /// Asks that the kernel drop a client; a full queue loses it, and counts.
    pub fn promote(&self, promotion: Promotion) {
        if !self.kernel.feeds.promote(promotion) {
            self.counters.lost(Queue::Promotion);
        }
    }

    /// Tells the kernel half that a connection's source has sent a whole request head, if it asks for that.
    pub fn know(&self, client: &Client) {
        let Some(source) = client.whence.remote().filter(|_| self.current.borrow().knows_sources()) else { return };
        let mut known = self.kernel.known.borrow_mut();
        if known.len() >= BATCH_MAX {
            return self.counters.lost(Queue::Known);
        }
        if known.is_empty() {
            self.kernel.begun.notify();
        }
        known.push(source);
    }

    fn send_known(&self) {
        let sources = std::mem::take(&mut *self.kernel.known.borrow_mut());
        let count = sources.len() as u64;
        if count > 0 && !self.kernel.feeds.know(sources) {
            self.counters.lost_times(Queue::Known, count);
        }
    }

    /// Duplicates of the sockets that accept on TCP.
    pub(super) fn listening(&self) -> Vec<Listening> {
        let shared = |(address, fd)| Listening { worker: self.number, address, fd };
        self.bound.borrow().iter().filter_map(|one| one.socket.share()).map(shared).collect()
    }

    /// Resets the connections of sources that the kernel denies: it drops what they would still send.
    pub(super) fn cut_denied(&self, denied: &[IpNet]) {
        let is_denied = |ip| source_of(ip).is_some_and(|source| denied.binary_search(&source).is_ok());
        // It is packets that the kernel drops: whom a proxy brings is not their source.
        self.reset_peers(Reason::KernelDenied, |client| client.whence.remote(), is_denied);
    }
}

/// Hands known sources over, for ever. While there are none, nothing wakes it.
pub(super) async fn send(worker: Rc<Worker>) {
    loop {
        worker.kernel.begun.wait().await;
        ring::sleep_until(ring::now() + GATHER).await;
        worker.send_known();
    }
}
