//! The way from control to the data plane, and what control asks of the rest of the process.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use crate::base::Instant;
use crate::config::Problems;
use crate::config::raw::Document;
use crate::files::Log;
use crate::target::{Groups, Live};

/// What control tells a worker. `S` is the configuration as workers use it.
#[derive(Debug)]
pub enum Order<S> {
    /// New requests use this configuration, with this first table of its endpoints.
    Snapshot(Arc<S>, Arc<Live>),
    /// Endpoints of the newest configuration have changed.
    Live(Arc<Live>),
    /// Stop accepting, close what is idle, finish the rest by the deadline and end; a later order moves the deadline.
    Drain {
        /// What is unfinished then is cut.
        deadline: Instant,
    },
}

/// A worker's mailbox. Bounded: what it does not take is given back, kept by control and offered again.
pub trait WorkerPort<S>: Send + Sync {
    /// Gives the worker an order, or gives it back.
    fn send(&self, order: Order<S>) -> Result<(), Order<S>>;
}

/// A configuration that was built whole, before any worker has seen it.
pub struct Loaded<S> {
    /// Grows by one with each.
    pub generation: u64,
    /// As workers use it.
    pub snapshot: Arc<S>,
    /// As it was written.
    pub document: Arc<Document>,
    /// The routes' targets by slot, as [`Live::initial`] wants them.
    pub groups: Vec<Arc<Groups>>,
    /// Its open access logs.
    pub logs: Vec<Log>,
}

/// What control has the rest of the process do. Calls may block: they are made on threads for that.
pub trait Process<S>: Send + Sync + 'static {
    /// Reads the document again and builds it whole, new sockets included.
    fn load(&self) -> Result<Loaded<S>, Problems>;

    /// Tries again to bind the listeners that are not; says in `Facts` how it went.
    fn bind(&self);

    /// What a request would meet. No traffic, no state moved.
    fn explain(&self, question: &Question, live: &Live) -> Result<serde_json::Value, Unanswered>;
}

/// A request that need not be made.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The method.
    pub method: String,
    /// An absolute URL, or a path beside a Host header.
    pub url: String,
    /// Header fields: a value, or a list of values, by name.
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, Values>,
    /// The client's address.
    #[serde(default)]
    pub client: Option<IpAddr>,
    /// The listener's name; absent: the only one.
    #[serde(default)]
    pub listener: Option<String>,
}

/// One value or several.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// One.
    One(String),
    /// A line each.
    Many(Vec<String>),
}

impl Values {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
        .iter()
        .map(String::as_str)
    }
}

/// Why a question has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unanswered {
    /// The key of the question that is at fault, if one is.
    pub field: Option<&'static str>,
    /// One sentence.
    pub message: String,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Orders on their way to one worker: the newest of each kind, until its mailbox takes them.
pub(super) struct Outbox<S> {
    port: Box<dyn WorkerPort<S>>,
    snapshot: Option<Order<S>>,
    live: Option<Order<S>>,
    drain: Option<Order<S>>,
}

impl<S> Outbox<S> {
    pub(super) fn new(port: Box<dyn WorkerPort<S>>) -> Self {
        Self { port, snapshot: None, live: None, drain: None }
    }

    /// Queues an order, in place of an older one of its kind. A table of endpoints belongs to the configuration before
    /// it, so a new configuration also replaces that.
    pub(super) fn put(&mut self, order: Order<S>) {
        match order {
            Order::Snapshot(..) => (self.snapshot, self.live) = (Some(order), None),
            Order::Live(_) => self.live = Some(order),
            Order::Drain { .. } => self.drain = Some(order),
        }
    }

    /// Sends what the mailbox takes, in order. Whether nothing is left.
    pub(super) fn flush(&mut self) -> bool {
        let Self { port, snapshot, live, drain } = self;
        [snapshot, live, drain].into_iter().all(|slot| {
            let Some(order) = slot.take() else { return true };
            *slot = port.send(order).err();
            slot.is_none()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes as many orders as it has room for.
    #[derive(Default)]
    struct Mailbox {
        room: Mutex<usize>,
        taken: Mutex<Vec<String>>,
    }

    impl WorkerPort<u32> for Arc<Mailbox> {
        fn send(&self, order: Order<u32>) -> Result<(), Order<u32>> {
            let mut room = self.room.lock().expect("no panic");
            *room = match room.checked_sub(1) {
                Some(left) => left,
                None => return Err(order),
            };
            self.taken.lock().expect("no panic").push(match order {
                Order::Snapshot(number, _) => format!("snapshot {number}"),
                Order::Live(live) => format!("live {}", live.epoch()),
                Order::Drain { .. } => "drain".to_owned(),
            });
            Ok(())
        }
    }

    #[test]
    fn a_full_mailbox_gets_the_newest_of_each_kind_in_order() {
        let mailbox = Arc::new(Mailbox::default());
        let mut outbox = Outbox::new(Box::new(Arc::clone(&mailbox)));
        let live = Arc::new(Live::initial(&[], 1, None, Instant::default()));
        let newer = Arc::new(live.apply(&[], Instant::default()));
        outbox.put(Order::Live(Arc::clone(&live)));
        outbox.put(Order::Snapshot(Arc::new(1), Arc::clone(&live)));
        outbox.put(Order::Snapshot(Arc::new(2), live));
        outbox.put(Order::Drain { deadline: Instant::default() });
        outbox.put(Order::Live(newer));
        assert!(!outbox.flush());
        *mailbox.room.lock().expect("no panic") = 2;
        assert!(!outbox.flush());
        *mailbox.room.lock().expect("no panic") = 2;
        assert!(outbox.flush() && outbox.flush());
        assert_eq!(*mailbox.taken.lock().expect("no panic"), ["snapshot 2", "live 2", "drain"]);
    }
}
