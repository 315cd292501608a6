//! Who is banned: the document's bans, read again when their files change, and those of the API, kept over restarts.

mod dynamic;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use tokio::sync::{Notify, watch};

pub(super) use dynamic::{Full, Own};

use super::state::StateDir;
use super::{Clock, Facts};
use crate::base::Instant;
use crate::config::bans::{self, Stamp};
use crate::config::{Document, Problems, Snapshot};
use crate::policy::ban::{Bans, Table};
use dynamic::Dynamic;

/// Where the API's bans are kept.
const FILE: &str = "bans.json";
/// Where a list goes that cannot be read.
const ASIDE: &str = "bans.json.unreadable";
/// The readiness warning about it.
const UNREADABLE: &str = "BANS_UNREADABLE";
/// Octets of as many bans as there may be.
const FILE_MAX: u64 = 64 << 20;
/// From one look at files and times to the next.
const TICK: Duration = Duration::from_secs(1);
/// How long who made or ended a ban waits for a worker that does not turn.
const DELIVERY_MAX: Duration = Duration::from_secs(1);
/// The readiness warning while a file of the document cannot be used.
const STALE: &str = "BANS_STALE";

/// The lists, and the task that keeps them.
pub(super) struct BanList {
    inner: Mutex<Inner>,
    /// What workers and the kernel half go by.
    tables: watch::Sender<Arc<Bans>>,
    /// How often there were tables; counted once they can be seen.
    published: AtomicU64,
    /// Those that every worker has been given, by that count.
    delivered: watch::Sender<u64>,
    /// There is something to do before the next tick.
    changed: Notify,
    settled: watch::Sender<Settled>,
    refused: AtomicU64,
    /// CIDRs of the document and of the API, for who may not wait.
    counts: [AtomicUsize; 2],
    state: Arc<StateDir>,
    facts: Arc<Facts>,
    clock: Clock,
}

#[derive(Default)]
struct Inner {
    document: Listed,
    dynamic: Dynamic,
    /// Of `dynamic`, as it was at some version.
    api: Arc<Table>,
    /// Grows with each change of `dynamic`.
    version: u64,
}

/// The document's bans.
#[derive(Clone, Default)]
struct Listed {
    document: Option<Arc<Document>>,
    generation: u64,
    table: Arc<Table>,
    stamps: Vec<Option<Stamp>>,
    /// When the next of them ends.
    ends: Option<Instant>,
}

/// How far changes have come.
#[derive(Clone, Default)]
struct Settled {
    /// The version of `dynamic` that is published and, if it can be, kept.
    version: u64,
    /// The tables with it, by their count.
    published: u64,
    /// Whether it will be there after a restart.
    kept: bool,
}

impl BanList {
    /// The list as it was kept. Blocks.
    pub(super) fn load(state: Arc<StateDir>, facts: Arc<Facts>, clock: Clock) -> Arc<Self> {
        let dynamic = read(&state).unwrap_or_else(|error| {
            set_aside(&state, &facts, &error);
            Dynamic::default()
        });
        let inner = Inner { api: Arc::new(dynamic.table(bans::Clock::read())), dynamic, ..Inner::default() };
        Arc::new(Self {
            inner: Mutex::new(inner),
            tables: watch::Sender::default(),
            published: AtomicU64::new(0),
            delivered: watch::Sender::default(),
            changed: Notify::new(),
            settled: watch::Sender::new(Settled { version: 0, published: 0, kept: state.missing().is_none() }),
            refused: AtomicU64::new(0),
            counts: Default::default(),
            state,
            facts,
            clock,
        })
    }

    /// Reads again what is kept: another process has changed it until now. Blocks.
    pub(super) fn read_kept(&self) {
        if self.state.missing().is_some() {
            return;
        }
        match read(&self.state) {
            Ok(dynamic) => {
                let mut inner = self.lock();
                inner.api = Arc::new(dynamic.table(bans::Clock::read()));
                inner.dynamic = dynamic;
                self.publish(&inner);
            }
            Err(error) => tracing::error!(error, "the API's bans cannot be read again"),
        }
    }

    /// Takes the bans of a new configuration; gives those that hold from now on.
    pub(super) fn adopt(&self, snapshot: &Snapshot) -> Arc<Bans> {
        let mut inner = self.lock();
        inner.document = Listed {
            document: Some(Arc::clone(&snapshot.document)),
            generation: snapshot.generation,
            table: Arc::clone(&snapshot.bans.table),
            stamps: snapshot.bans.stamps.clone(),
            ends: snapshot.bans.table.next_end((self.clock)()),
        };
        self.facts.warn(STALE, None);
        self.publish(&inner)
    }

    /// The tables of now and of later.
    pub(super) fn tables(&self) -> watch::Receiver<Arc<Bans>> {
        self.tables.subscribe()
    }

    /// How often there were tables. Those that are seen after asking are as new as that, or newer.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Tells that every worker has been given these tables, or newer ones.
    pub(super) fn deliver(&self, published: u64) {
        self.delivered.send_if_modified(|delivered| {
            let is_newer = *delivered < published;
            *delivered = published.max(*delivered);
            is_newer
        });
    }

    /// Bans a CIDR, or changes its ban. Comes back once all workers that turn have been given it; says whether it is
    /// kept.
    pub(super) async fn put(&self, own: Own) -> Result<bool, Full> {
        let version = self.change(|dynamic| dynamic.put(own));
        let version = version.inspect_err(|Full| _ = self.refused.fetch_add(1, Ordering::Relaxed))?;
        Ok(self.settled(version).await)
    }

    /// Ends the API's ban of a CIDR, if there is one. Comes back as [`Self::put`] does.
    pub(super) async fn remove(&self, cidr: IpNet) -> Option<(Own, bool)> {
        let mut removed = None;
        let version = self.change(|dynamic| {
            removed = dynamic.remove(cidr);
            removed.as_ref().map(|_| ()).ok_or(())
        });
        Some((removed?, self.settled(version.ok()?).await))
    }

    /// The API's bans, by address.
    pub(super) fn own(&self) -> Vec<Own> {
        self.lock().dynamic.iter().cloned().collect()
    }

    /// CIDRs of the document and of the API, without those whose time is over.
    pub(super) fn counts(&self) -> [usize; 2] {
        [0, 1].map(|at| self.counts[at].load(Ordering::Relaxed))
    }

    /// How often the API was refused a ban as one too many.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The API's ban of exactly this CIDR.
    pub(super) fn own_of(&self, cidr: IpNet) -> Option<Own> {
        self.lock().dynamic.get(cidr).cloned()
    }

    /// The document, and its table as its files are.
    pub(super) fn listed(&self) -> (Option<Arc<Document>>, Arc<Table>) {
        let inner = self.lock();
        (inner.document.document.clone(), Arc::clone(&inner.document.table))
    }

    /// Whether the API's bans outlive the process, as far as is known.
    pub(super) fn is_kept(&self) -> bool {
        self.settled.borrow().kept
    }

    /// Keeps the lists until the runtime ends.
    pub(super) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                _ = ticks.tick() => self.look().await,
            }
            // What is another process's to keep waits: this one never gets it back, or soon.
            if self.lock().version > self.settled.borrow().version && !self.facts.is_frozen() {
                self.settle().await;
            }
        }
    }

    fn change<E>(&self, change: impl FnOnce(&mut Dynamic) -> Result<(), E>) -> Result<u64, E> {
        let mut inner = self.lock();
        change(&mut inner.dynamic)?;
        inner.version += 1;
        self.changed.notify_one();
        Ok(inner.version)
    }

    async fn settled(&self, version: u64) -> bool {
        let mut settled = self.settled.subscribe();
        let seen = settled.wait_for(|settled| settled.version >= version).await.map(|settled| settled.clone());
        // The sender is this list itself.
        let Ok(Settled { published, kept, .. }) = seen else { return false };
        let mut delivered = self.delivered.subscribe();
        let all = delivered.wait_for(|delivered| *delivered >= published);
        // A worker that hangs gets it when it turns again, and must not have the API hang until then.
        let _ = tokio::time::timeout(DELIVERY_MAX, all).await;
        kept
    }

    /// Puts what has changed in force, then on disk. Changes that come meanwhile are the next round's.
    async fn settle(&self) {
        let (version, dynamic) = {
            let inner = self.lock();
            (inner.version, inner.dynamic.clone())
        };
        let built = tokio::task::spawn_blocking(move || (dynamic.table(bans::Clock::read()), dynamic));
        let Ok((table, dynamic)) = built.await else { return };
        let published = {
            let mut inner = self.lock();
            inner.api = Arc::new(table);
            self.publish(&inner);
            self.published()
        };
        let state = Arc::clone(&self.state);
        let kept = state.missing().is_none()
            && tokio::task::spawn_blocking(move || save(&state, &dynamic)).await.unwrap_or(false);
        self.settled.send_replace(Settled { version, published, kept });
    }

    /// Looks at what time and files have done.
    async fn look(self: &Arc<Self>) {
        let listed = {
            let mut inner = self.lock();
            let now = (self.clock)();
            let mut ended = inner.document.ends.is_some_and(|end| end <= now);
            if ended {
                inner.document.ends = inner.document.table.next_end(now);
            }
            if inner.dynamic.expire(unix_s()) {
                ended = true;
                // A table of mostly expired bans is made anew. Others wait for the next change, and so does the file:
                // whoever reads either goes by the time, and thousands that end one by one must cost little.
                if inner.dynamic.len() <= inner.api.len() / 2 {
                    inner.version += 1;
                }
            }
            if ended {
                // The same tables, again: the kernel half knows no times and compares what holds now.
                self.publish(&inner);
            }
            inner.document.clone()
        };
        let Some(document) = listed.document.clone().filter(|_| !listed.stamps.is_empty()) else { return };
        let own = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || own.read_again(listed, &document)).await;
        drop(read);
    }

    /// Makes the document's table anew if a file has changed. Blocks.
    fn read_again(&self, mut listed: Listed, document: &Document) {
        let stamps = bans::stamps(document);
        if stamps == listed.stamps {
            return;
        }
        let mut problems = Problems::new();
        let table = bans::table(document, &mut problems);
        let mut inner = self.lock();
        if inner.document.generation != listed.generation {
            return;
        }
        listed.stamps = stamps;
        match table {
            Some(table) => {
                tracing::info!(cidrs = table.len(), "the files of bans have changed");
                listed.ends = table.next_end((self.clock)());
                listed.table = Arc::new(table);
                self.facts.warn(STALE, None);
            }
            None => {
                let why = problems.to_string();
                tracing::warn!(problem = why.trim_end(), "the files of bans have changed and cannot be used");
                self.facts.warn(STALE, Some(format!("the bans before are in force: {}", why.trim_end())));
            }
        }
        inner.document = listed;
        self.publish(&inner);
    }

    fn publish(&self, inner: &Inner) -> Arc<Bans> {
        let bans = Arc::new(Bans::new(Arc::clone(&inner.document.table), Arc::clone(&inner.api)));
        self.counts[0].store(inner.document.table.len(), Ordering::Relaxed);
        self.counts[1].store(inner.dynamic.len(), Ordering::Relaxed);
        self.tables.send_replace(Arc::clone(&bans));
        self.published.fetch_add(1, Ordering::Release);
        bans
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The list as it is kept, without what has ended.
fn read(state: &StateDir) -> Result<Dynamic, String> {
    let octets = match state.missing() {
        Some(_) => None,
        None => state.read(FILE, FILE_MAX).map_err(|error| error.to_string())?,
    };
    let mut dynamic = octets.map_or_else(|| Ok(Dynamic::default()), |octets| Dynamic::from_json(&octets))?;
    dynamic.expire(unix_s());
    Ok(dynamic)
}

/// Keeps a list that cannot be read from being written over, and says that there is one.
fn set_aside(state: &StateDir, facts: &Facts, error: &str) {
    let place = match state.rename(FILE, ASIDE) {
        Ok(()) => format!("it is kept as {ASIDE}"),
        Err(error) => format!("it cannot be set aside either: {error}"),
    };
    tracing::error!(file = FILE, error, place, "the API's bans cannot be read: there are none");
    facts.warn(UNREADABLE, Some(format!("{FILE}: {error}; {place}; the API's bans begin anew")));
}

fn save(state: &StateDir, dynamic: &Dynamic) -> bool {
    let saved = state.replace(FILE, &dynamic.to_json());
    saved.inspect_err(|error| tracing::error!(%error, "the API's bans are in force, but cannot be kept")).is_ok()
}

/// Wall time in seconds.
pub(super) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
