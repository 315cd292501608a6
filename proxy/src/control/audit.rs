//! Findings: denials of all workers and of control, merged in memory, kept on disk, found again.

mod item;
mod journal;
mod query;
mod store;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

pub(super) use query::{Cursor, Filter, LIMIT_MAX, action, finding_type};

use super::Facts;
use super::bans::unix_s;
use super::state::StateDir;
use crate::config::raw;
use crate::policy::finding::{Denial, Finding, Outlet};
use item::{Item, Row};
use journal::Journal;
use store::Store;

/// How often workers' batches are taken.
const TAKE: Duration = Duration::from_millis(100);
/// Findings that become lines while nobody else may look at any.
const LINES_AT_ONCE: usize = 256;
/// Findings in the state directory.
const FOLDER: &str = "findings";
/// The readiness warning while they cannot be written.
const UNWRITTEN: &str = "AUDIT_DISK";

/// All findings of this node.
pub(super) struct Audit {
    store: Mutex<Store>,
    journal: Mutex<Option<Journal>>,
    settings: Mutex<raw::Audit>,
    outlet: Arc<Outlet>,
    state: Arc<StateDir>,
    facts: Arc<Facts>,
    node_id: Arc<str>,
    /// What was kept has been read, or cannot be.
    is_read: watch::Sender<bool>,
    is_failing: AtomicBool,
    /// How many findings there are, for who may not wait.
    count: AtomicU64,
    /// Findings that went because there were more than `findings_max`, and because they took more than `disk_max`.
    pub(super) evicted: Evicted,
}

/// Findings that went before their time.
#[derive(Default)]
pub(super) struct Evicted {
    pub(super) number: AtomicU64,
    pub(super) disk: AtomicU64,
}

/// An answer of the API, as Neuwerk's.
#[derive(Serialize)]
struct Shown<'a> {
    items: Vec<Row<'a>>,
    partial: bool,
    node_errors: [(); 0],
    nodes_queried: u32,
    nodes_responded: u32,
    /// Denials that are in no finding.
    lost: u64,
    next: Option<String>,
}

impl Audit {
    /// Without findings; what was kept is read once it runs.
    pub(super) fn new(
        settings: raw::Audit,
        outlet: Arc<Outlet>,
        state: Arc<StateDir>,
        facts: Arc<Facts>,
        node_id: Arc<str>,
    ) -> Arc<Self> {
        Arc::new(Self {
            store: Mutex::default(),
            journal: Mutex::default(),
            settings: Mutex::new(settings),
            outlet,
            state,
            facts,
            node_id,
            is_read: watch::Sender::new(false),
            is_failing: AtomicBool::new(false),
            count: AtomicU64::new(0),
            evicted: Evicted::default(),
        })
    }

    /// Adds what control itself has denied.
    pub(super) fn found(&self, denial: &Denial<'_>) {
        if self.outlet.is_wanted() {
            lock(&self.store).merge(Item::of(Finding::of(denial, unix_s())));
        }
    }

    /// How many findings there were a moment ago.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// What is asked for, as JSON. `lost` is the number of denials that are in no finding.
    pub(super) async fn find(self: &Arc<Self>, filter: Filter, lost: u64) -> Vec<u8> {
        // The sender is this object itself.
        let _ = self.is_read.subscribe().wait_for(|is_read| *is_read).await;
        let own = Arc::clone(self);
        // All findings may be looked at: too long for a thread that also runs probes.
        let found = tokio::task::spawn_blocking(move || own.find_now(&filter, lost));
        found.await.unwrap_or_default()
    }

    fn find_now(&self, filter: &Filter, lost: u64) -> Vec<u8> {
        let (items, next) = {
            let store = lock(&self.store);
            let page = store.page(filter);
            (page.items.into_iter().cloned().collect::<Vec<_>>(), page.next)
        };
        let shown = Shown {
            items: items.iter().map(|item| Row::of(item, &self.node_id)).collect(),
            partial: false,
            node_errors: [],
            nodes_queried: 1,
            nodes_responded: 1,
            lost,
            next: next.map(|next| next.to_string()),
        };
        serde_json::to_vec(&shown).unwrap_or_default()
    }

    /// Takes, keeps and writes until the runtime ends. `settings` are those of the newest configuration; while nobody is
    /// observing, nothing is collected.
    pub(super) async fn run(self: Arc<Self>, settings: impl Fn() -> raw::Audit, is_observing: impl Fn() -> bool) {
        let mut turns = tokio::time::interval(TAKE);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut writing = self.flush_beside();
        let mut flushed = tokio::time::Instant::now();
        loop {
            turns.tick().await;
            self.outlet.want(is_observing());
            self.take();
            // A disk that stalls holds up neither the workers' batches nor a second try.
            let due = flushed.elapsed() >= lock(&self.settings).flush || !*self.is_read.borrow();
            if writing.is_finished() && due {
                *lock(&self.settings) = settings();
                flushed = tokio::time::Instant::now();
                writing = self.flush_beside();
            }
        }
    }

    /// Writes what there is, and forgets it: from now on another process keeps findings. What is found here until then
    /// is for [`Self::unwritten`], or comes after what was kept if it never does. Blocks.
    pub(super) fn release(&self) {
        self.take();
        let mut journal = lock(&self.journal);
        self.write_to(&mut journal);
        // Without a directory, or where it takes nothing, memory is all there is.
        if journal.take().is_some() && !self.is_failing.load(Ordering::Relaxed) {
            *lock(&self.store) = Store::default();
        }
    }

    /// What no file has, JSON each.
    pub(super) fn unwritten(&self) -> Vec<String> {
        let changed = lock(&self.store).take_changed();
        let lines = self.lines(&changed).into_iter();
        lines.filter_map(|(_, line)| String::from_utf8(line).ok()).collect()
    }

    /// Adds what another process has found.
    pub(super) fn add(&self, findings: &[String]) {
        let items = findings.iter().filter_map(|json| serde_json::from_str::<Row<'_>>(json).ok()?.item());
        items.for_each(|item| lock(&self.store).merge(item));
    }

    /// Takes and writes what is there at the process's end. Blocks.
    pub(super) fn finish(&self) {
        self.take();
        self.flush();
    }

    fn take(&self) {
        while let Some(batch) = self.outlet.take() {
            let items: Vec<Item> = batch.into_iter().map(Item::of).collect();
            items.into_iter().for_each(|item| lock(&self.store).merge(item));
            // Memory is bounded at once, not only when it is written.
            self.shrink();
        }
    }

    /// Drops the oldest findings beyond what there may be.
    fn shrink(&self) {
        let max = usize::try_from(lock(&self.settings).findings_max).unwrap_or(usize::MAX);
        let mut store = lock(&self.store);
        self.evicted.number.fetch_add(store.shrink(max), Ordering::Relaxed);
        self.count.store(store.len() as u64, Ordering::Relaxed);
    }

    fn flush_beside(self: &Arc<Self>) -> tokio::task::JoinHandle<()> {
        let own = Arc::clone(self);
        tokio::task::spawn_blocking(move || own.flush())
    }

    /// Writes what has changed, and drops what has outlived its time or its place, unless the files are another
    /// process's. Blocks.
    fn flush(&self) {
        let mut journal = lock(&self.journal);
        if !self.facts.is_frozen() {
            self.write_to(&mut journal);
        }
    }

    fn write_to(&self, journal: &mut Option<Journal>) {
        let settings = lock(&self.settings).clone();
        let opened = self.open(journal);
        self.is_read.send_replace(true);
        lock(&self.store).expire(unix_s().saturating_sub(settings.retention.as_secs()));
        // What was kept, and what control itself has denied, count too.
        self.shrink();
        match (opened, journal) {
            (Ok(()), Some(journal)) => self.tell(self.write(journal, settings.disk_max)),
            (Ok(()), None) => lock(&self.store).forget_changed(),
            (Err(error), _) => self.tell(Err(error)),
        }
    }

    /// Reads what was kept, once. What has been found meanwhile comes after it.
    fn open(&self, journal: &mut Option<Journal>) -> io::Result<()> {
        if journal.is_some() || self.state.missing().is_some() {
            return Ok(());
        }
        let mut kept = Store::default();
        let opened = Journal::open(self.state.folder(FOLDER)?, |json| {
            let item = serde_json::from_slice::<Row<'_>>(json).ok()?.item()?;
            let id = item.id.as_u128();
            kept.keep(item);
            Some(id)
        })?;
        let mut store = lock(&self.store);
        kept.merge_all(std::mem::take(&mut *store));
        *store = kept;
        *journal = Some(opened);
        Ok(())
    }

    fn write(&self, journal: &mut Journal, disk_max: u64) -> io::Result<()> {
        let changed = lock(&self.store).take_changed();
        let lines = self.lines(&changed);
        {
            let store = lock(&self.store);
            journal.forget_unless(|id| store.holds(id));
        }
        let written = journal.append(&lines).and_then(|()| self.clean(journal, disk_max));
        if written.is_err() {
            lock(&self.store).mark(lines.iter().map(|(id, _)| *id));
        }
        written
    }

    /// Lines of findings, a few at a time: who adds denials does not wait for all of them.
    fn lines(&self, ids: &[u128]) -> Vec<(u128, Vec<u8>)> {
        let some = |ids: &[u128]| lock(&self.store).lines(ids.iter().copied(), &self.node_id);
        ids.chunks(LINES_AT_ONCE).flat_map(some).collect()
    }

    /// Makes room: what still counts of the oldest segment is written again, the rest of it goes.
    fn clean(&self, journal: &mut Journal, disk_max: u64) -> io::Result<()> {
        while journal.is_over(disk_max) {
            self.evict(journal, disk_max);
            let oldest: Vec<u128> = journal.oldest().into_iter().collect();
            journal.append(&self.lines(&oldest))?;
            journal.drop_oldest()?;
        }
        Ok(())
    }

    /// Drops the oldest findings while they take so much that hardly anything else would be written than they.
    fn evict(&self, journal: &mut Journal, disk_max: u64) {
        let mut store = lock(&self.store);
        while journal.live() > disk_max / 4 * 3 && store.len() > 0 {
            store.drop_oldest().into_iter().for_each(|id| journal.forget(id));
            self.evicted.disk.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Says that findings cannot be written, or that they can be again.
    fn tell(&self, written: io::Result<()>) {
        let was_failing = self.is_failing.swap(written.is_err(), Ordering::Relaxed);
        match written {
            Ok(()) if was_failing => {
                tracing::info!("findings are written again");
                self.facts.warn(UNWRITTEN, None);
            }
            Ok(()) => {}
            Err(error) => {
                if !was_failing {
                    tracing::error!(%error, "findings cannot be written: they are kept in memory, and tried again");
                }
                self.facts.warn(UNWRITTEN, Some(format!("findings are kept in memory only: {error}")));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
