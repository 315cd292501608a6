//! Readers of the wiretap: each has a queue and a filter; what a full queue loses is counted, and nobody waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use super::feed::{Feed, Losses};
use super::filter::{Filter, Subject};
use super::flow::Moment;
use crate::base::Instant;
use crate::control::Clock;

/// Events that may wait for one reader.
const QUEUE: usize = 1024;
/// Events kept for a reader that comes back.
const KEPT: usize = 1024;
/// How long after the last reader events go on, so that one that comes back has missed none.
pub(super) const LINGER: Duration = Duration::from_secs(10);
/// How long a reader may take nothing from a full queue.
const UNREAD: Duration = Duration::from_secs(30);

/// An event, spelled once for all readers.
pub(super) struct Message {
    number: u64,
    /// The flow that it is about; none: filters do not concern it.
    subject: Option<Subject>,
    pub(super) text: Bytes,
}

/// What a reader asks for.
#[derive(Clone, Debug)]
pub(in crate::control) struct Wish {
    pub(in crate::control) filter: Filter,
    /// The share of flows.
    pub(in crate::control) sample: f64,
    /// The last event that it had seen.
    pub(in crate::control) resume: Option<String>,
}

/// All readers.
pub(super) struct Hub {
    node_id: Arc<str>,
    clock: Clock,
    state: Mutex<State>,
    lost: AtomicU64,
    refused: AtomicU64,
}

struct State {
    /// The next event's number: later than all of an earlier process.
    next: u64,
    kept: VecDeque<Arc<Message>>,
    readers: BTreeMap<u64, Reader>,
    joined: u64,
    left: Option<Instant>,
    status: Status,
}

struct Reader {
    wish: Wish,
    queue: mpsc::Sender<Arc<Message>>,
    losses: Arc<Losses>,
    full_since: Option<Instant>,
}

/// How this node stands, as its readers learn it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Status {
    pub(super) node_id: String,
    pub(super) state: &'static str,
    pub(super) error: Option<String>,
}

impl Hub {
    pub(super) fn new(node_id: Arc<str>, clock: Clock, unix_ns: u64) -> Arc<Self> {
        let status = Status { node_id: node_id.to_string(), state: "up", error: None };
        let state = State {
            next: unix_ns / 1_000,
            kept: VecDeque::new(),
            readers: BTreeMap::new(),
            joined: 0,
            left: None,
            status,
        };
        Arc::new(Self { node_id, clock, state: Mutex::new(state), lost: AtomicU64::new(0), refused: AtomicU64::new(0) })
    }

    /// Takes in a reader; none if there are `max`.
    pub(super) fn join(self: &Arc<Self>, wish: Wish, max: usize, now: Moment) -> Option<Feed> {
        let mut state = self.lock();
        if state.readers.len() >= max {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let mut first = vec![self.event("node_status", None, &state.status)];
        match wish.resume.as_deref().map(|id| state.since(id, &self.node_id)) {
            None => {}
            Some(Some(missed)) => first.extend(missed.filter(|m| wish.wants(m)).map(|message| message.text.clone())),
            Some(None) => first.push(self.event("resync", None, &serde_json::json!({ "node_id": &*self.node_id }))),
        }
        let (queue, events) = mpsc::channel(QUEUE);
        let losses = Arc::<Losses>::default();
        state.joined += 1;
        let key = state.joined;
        state.readers.insert(key, Reader { wish, queue, losses: Arc::clone(&losses), full_since: None });
        drop(state);
        Some(Feed::new(Arc::clone(self), key, first, events, losses, now))
    }

    /// A reader is gone.
    pub(super) fn leave(&self, key: u64) {
        let mut state = self.lock();
        if state.readers.remove(&key).is_some() && state.readers.is_empty() {
            state.left = Some((self.clock)());
        }
    }

    /// Whether somebody reads, or did a moment ago.
    pub(super) fn is_watched(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let lingers = state.left.is_some_and(|left| now.since(left) < LINGER);
        let watched = !state.readers.is_empty() || lingers;
        if !watched {
            state.forget();
        }
        watched
    }

    /// Readers now, events that were lost to slow ones, and readers that were refused.
    pub(super) fn counts(&self) -> (usize, u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (self.lock().readers.len(), load(&self.lost), load(&self.refused))
    }

    /// Sends an event to all whom it concerns.
    pub(super) fn publish(&self, kind: &str, subject: Option<Subject>, data: &impl Serialize, now: Instant) {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let text = self.event(kind, Some(number), data);
        let message = Arc::new(Message { number, subject, text });
        let some = !state.readers.is_empty();
        state.readers.retain(|_, reader| self.offer(reader, &message, now));
        if some && state.readers.is_empty() {
            state.left = Some(now);
        }
        if state.kept.len() >= KEPT {
            state.kept.pop_front();
        }
        state.kept.push_back(message);
    }

    /// Tells how the node stands, if that is new.
    pub(super) fn tell_status(&self, state: &'static str, error: Option<&str>, now: Instant) {
        let status = Status { node_id: self.node_id.to_string(), state, error: error.map(str::to_owned) };
        if std::mem::replace(&mut self.lock().status, status.clone()) != status {
            self.publish("node_status", None, &status, now);
        }
    }

    /// Ends all streams.
    pub(super) fn close(&self) {
        self.lock().forget();
    }

    /// Whether the reader stays.
    fn offer(&self, reader: &mut Reader, message: &Arc<Message>, now: Instant) -> bool {
        if !reader.wish.wants(message) {
            return true;
        }
        if reader.queue.try_send(Arc::clone(message)).is_ok() {
            reader.full_since = None;
            return true;
        }
        reader.losses.add();
        self.lost.fetch_add(1, Ordering::Relaxed);
        now.since(*reader.full_since.get_or_insert(now)) < UNREAD
    }

    /// An event as it goes over the wire.
    pub(super) fn event(&self, kind: &str, number: Option<u64>, data: &impl Serialize) -> Bytes {
        let data = serde_json::to_string(data).unwrap_or_default();
        let id = number.map(|number| format!("id: {}:{number}\n", self.node_id)).unwrap_or_default();
        Bytes::from(format!("event: {kind}\n{id}data: {data}\n\n"))
    }

    pub(super) fn node_id(&self) -> &str {
        &self.node_id
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Nobody is told anything any more. Whoever comes back, even from the very last event, has missed something: a
    /// number is left out for it.
    fn forget(&mut self) {
        let knew = !self.readers.is_empty() || self.left.is_some() || !self.kept.is_empty();
        self.readers.clear();
        self.kept.clear();
        self.left = None;
        self.next += u64::from(knew);
    }

    /// The events after this one; none where some of them are not kept.
    fn since<'s>(&'s self, id: &str, node_id: &str) -> Option<impl Iterator<Item = &'s Arc<Message>> + use<'s>> {
        let (node, number) = id.rsplit_once(':')?;
        let number: u64 = number.parse().ok().filter(|_| node == node_id)?;
        let oldest = self.kept.front().map_or(self.next, |message| message.number);
        let is_kept = number < self.next && number + 1 >= oldest;
        is_kept.then(|| self.kept.iter().filter(move |message| message.number > number))
    }
}

impl Wish {
    fn wants(&self, message: &Message) -> bool {
        let subject = message.subject.as_ref();
        subject.is_none_or(|subject| subject.is_sampled(self.sample) && self.filter.matches(subject))
    }
}
