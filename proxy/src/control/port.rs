//! What control has the rest of the process do, and the orders that wait for a worker to take them.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};

use ipnet::IpNet;
use serde::Deserialize;

use super::Facts;
use crate::base::Instant;
use crate::config::{Document, Problems, Snapshot};
use crate::files::Log;
use crate::kernel::Listening;
use crate::policy::ban::Bans;
use crate::policy::geoip::GeoIp;
use crate::policy::identity::Trust;
use crate::target::Live;
use crate::tls::Stores;

/// A worker whose last beat is older is not sent tables: its mailbox is for what it must not miss.
const BEAT_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// A configuration that the workers have been given.
#[derive(Clone)]
pub struct Adopted {
    /// It.
    pub snapshot: Arc<Snapshot>,
    /// Its open access logs.
    pub logs: Vec<Log>,
}

/// The tables beside a configuration, which change without a new one.
#[derive(Clone)]
pub struct Beside {
    /// Its endpoints.
    pub live: Arc<Live>,
    /// Who is banned.
    pub bans: Arc<Bans>,
    /// Where addresses are.
    pub geoip: Arc<GeoIp>,
}

/// Makes the first tables beside a configuration.
pub type FirstTables<'a> = dyn FnMut(&Arc<Snapshot>) -> Beside + 'a;

/// What an answer about a request rests on: a configuration, and the tables beside it as they stand.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The configuration.
    pub snapshot: &'a Snapshot,
    /// Its endpoints.
    pub live: &'a Live,
    /// Whose word on the client counts.
    pub trust: &'a Trust,
    /// Who is banned.
    pub bans: &'a Bans,
    /// Where addresses are.
    pub geoip: &'a GeoIp,
}

/// Why a configuration that can be read changes nothing.
pub type Refusal = Box<dyn Error + Send + Sync>;

/// What control has the rest of the process do. Calls without a word about it may block.
pub trait Process: Send + Sync + 'static {
    /// Reads the document again.
    fn read(&self) -> Result<Document, Problems>;

    /// Builds a configuration whole, new sockets included, and gives it to the workers, or changes nothing. `beside` is
    /// called at most once, when nothing can fail any more.
    fn adopt(&self, document: Document, beside: &mut FirstTables<'_>) -> Result<Adopted, Refusal>;

    /// Tries again to bind the listeners that are not; says in `Facts` how it went.
    fn bind(&self);

    /// Gives a worker the next table of endpoints. Does not block; false if its mailbox is full.
    fn follow(&self, worker: usize, live: &Arc<Live>) -> bool;

    /// Gives a worker the next table of trusted peers, made for this generation. Does not block; false if its mailbox
    /// is full.
    fn trust(&self, worker: usize, generation: u64, trust: &Arc<Trust>) -> bool;

    /// Gives a worker what listeners show and ask over TLS from now on, made for this generation. Does not block; false
    /// if its mailbox is full.
    fn show(&self, worker: usize, generation: u64, stores: &Arc<Stores>) -> bool;

    /// Gives a worker the next table of bans. Does not block; false if its mailbox is full.
    fn ban(&self, worker: usize, bans: &Arc<Bans>) -> bool;

    /// Has a worker hand out duplicates of its listening sockets. Does not block; false if its mailbox is full.
    fn share_listeners(&self, worker: usize, tell: &mpsc::Sender<Vec<Listening>>) -> bool;

    /// Has a worker reset the connections of sources that the kernel denies, sorted. Does not block; false if its
    /// mailbox is full.
    fn cut(&self, worker: usize, denied: &Arc<[IpNet]>) -> bool;

    /// Gives a worker the next databases of addresses. Does not block; false if its mailbox is full.
    fn locate(&self, worker: usize, geoip: &Arc<GeoIp>) -> bool;

    /// Has a worker stop accepting, finish by the deadline and end; another call moves the deadline. What is `kept`
    /// another process accepts on. Does not block; false if its mailbox is full.
    fn drain(&self, worker: usize, deadline: Instant, kept: &Kept) -> bool;

    /// Duplicates of all sockets that listeners have, for another process to take over.
    ///
    /// # Errors
    /// There is no descriptor left.
    fn sockets(&self) -> io::Result<Vec<Handed>>;

    /// Which of the sockets that were taken over some listener has, by the names that they came with.
    fn claimed(&self) -> Kept;

    /// Begins to accept on what was taken over, and closes what no listener has.
    fn accept(&self);

    /// What outlives the process if another one takes over.
    fn secrets(&self) -> Secrets;

    /// Goes on in the files that now have the logs' names.
    fn reopen_logs(&self);

    /// What a request would meet. No traffic, no state moved.
    fn explain(&self, question: &Question, ground: &Ground<'_>) -> Result<serde_json::Value, Unanswered>;
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

/// Bound addresses of listeners: the listener's name, and the address as the document writes it.
pub type Kept = Arc<BTreeSet<(Arc<str>, Arc<str>)>>;

/// Keys that clients come back to.
#[derive(Default)]
pub struct Secrets {
    /// Of sticky cookies.
    pub sticky_key: Option<[u8; 32]>,
    /// Of TLS tickets, as [`TicketBook::export`](crate::tls::TicketBook::export) gives them.
    pub tickets: Vec<u8>,
}

/// The sockets of one bound address, on their way from one process to the next.
#[derive(Debug)]
pub struct Handed {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The address, as the document writes it.
    pub address: Arc<str>,
    /// The port it is bound to; 0 for a Unix socket.
    pub port: u16,
    /// A reuseport group's sockets in order, or one for all workers.
    pub sockets: Vec<OwnedFd>,
}

/// Orders on their way to one worker: the newest of each kind, until its mailbox takes them.
#[derive(Default)]
pub(super) struct Outbox {
    live: Option<Arc<Live>>,
    bans: Option<Arc<Bans>>,
    geoip: Option<Arc<GeoIp>>,
    drain: Option<(Instant, Kept)>,
}

impl Outbox {
    /// Queues a table of endpoints, in place of an older one.
    pub(super) fn follow(&mut self, live: &Arc<Live>) {
        self.live = Some(Arc::clone(live));
    }

    /// Queues a table of bans, in place of an older one.
    pub(super) fn ban(&mut self, bans: &Arc<Bans>) {
        self.bans = Some(Arc::clone(bans));
    }

    /// Whether the worker has not taken the newest table of bans yet.
    pub(super) fn owes_bans(&self) -> bool {
        self.bans.is_some()
    }

    /// Queues databases of addresses, in place of older ones.
    pub(super) fn locate(&mut self, geoip: &Arc<GeoIp>) {
        self.geoip = Some(Arc::clone(geoip));
    }

    /// Queues a drain, in place of an older one.
    pub(super) fn drain(&mut self, deadline: Instant, kept: &Kept) {
        self.drain = Some((deadline, Arc::clone(kept)));
    }

    /// Sends what the worker's mailbox takes. Whether nothing is left.
    pub(super) fn flush(&mut self, process: &dyn Process, facts: &Facts, worker: usize, now: Instant) -> bool {
        let beats = facts.workers()[worker].last_beat().is_none_or(|beat| now.since(beat) < BEAT_MAX);
        if self.live.as_ref().is_some_and(|live| beats && process.follow(worker, live)) {
            self.live = None;
        }
        if self.bans.as_ref().is_some_and(|bans| beats && process.ban(worker, bans)) {
            self.bans = None;
        }
        if self.geoip.as_ref().is_some_and(|geoip| beats && process.locate(worker, geoip)) {
            self.geoip = None;
        }
        if self.drain.as_ref().is_some_and(|(deadline, kept)| process.drain(worker, *deadline, kept)) {
            self.drain = None;
        }
        self.live.is_none() && self.bans.is_none() && self.geoip.is_none() && self.drain.is_none()
    }
}
