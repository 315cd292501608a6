//! Lists of trusted peers in files: looked at each second, and made a table anew when one has changed.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use super::port::Process;
use super::supervisor::Seen;
use crate::config::{Document, Problems, cidrs};
use crate::policy::identity::Trust;

/// From one look at the files to the next.
const LOOK: Duration = Duration::from_secs(1);
/// How soon a full mailbox is offered again what it did not take.
const AGAIN: Duration = Duration::from_millis(20);

/// What tells one state of a file from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    modified: Option<SystemTime>,
    len: u64,
    inode: u64,
}

type Stamps = HashMap<PathBuf, Option<Stamp>>;

/// The table in force, for a generation, and who has not been given it.
struct Follower {
    process: Arc<dyn Process>,
    generation: u64,
    stamps: Stamps,
    table: watch::Sender<Arc<Trust>>,
    /// By worker: the newest table is on its way.
    owed: Vec<bool>,
}

/// Follows the files of the configuration in force; the other end sees the table.
pub(super) fn follow(seen: &Seen, workers: usize, process: Arc<dyn Process>) -> watch::Receiver<Arc<Trust>> {
    let (table, table_seen) = watch::channel(seen.standing().adopted.snapshot.trust.clone());
    let follower = Follower { process, generation: 0, stamps: Stamps::new(), table, owed: vec![false; workers] };
    tokio::spawn(follower.run(seen.clone()));
    table_seen
}

impl Follower {
    async fn run(mut self, mut seen: Seen) {
        loop {
            self.look(&seen).await;
            self.deliver();
            let pause = if self.owed.contains(&true) { AGAIN } else { LOOK };
            tokio::select! {
                changed = seen.standing.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// A new generation's files may have changed since it was built: they are read again.
    async fn look(&mut self, seen: &Seen) {
        let snapshot = Arc::clone(&seen.standing().adopted.snapshot);
        if self.generation != snapshot.generation {
            self.generation = snapshot.generation;
            self.stamps.clear();
            self.owed.fill(false);
            self.table.send_replace(Arc::clone(&snapshot.trust));
        }
        let (document, before) = (Arc::clone(&snapshot.document), self.stamps.clone());
        // A file system may take its time.
        let read = tokio::task::spawn_blocking(move || changed(&document, &before)).await;
        let Ok(Some((stamps, read))) = read else { return };
        self.stamps = stamps;
        match read {
            Ok(trust) => self.take(trust),
            Err(problems) => {
                let why = problems.to_string();
                why.lines().for_each(|problem| tracing::warn!(problem, "the list of trusted peers stays as it was"));
            }
        }
    }

    fn take(&mut self, trust: Trust) {
        if trust != **self.table.borrow() {
            tracing::info!(networks = trust.networks().iter().count(), "lists of trusted peers read again");
            self.table.send_replace(Arc::new(trust));
            self.owed.fill(true);
        }
    }

    fn deliver(&mut self) {
        let table = Arc::clone(&self.table.borrow());
        for (worker, owed) in self.owed.iter_mut().enumerate().filter(|(_, owed)| **owed) {
            *owed = !self.process.trust(worker, self.generation, &table);
        }
    }
}

/// The table anew, if a file is not as it was.
fn changed(document: &Document, before: &Stamps) -> Option<(Stamps, Result<Trust, Problems>)> {
    let stamps: Stamps = cidrs::trust_files(document).map(|path| (path.clone(), stamp(path))).collect();
    if stamps == *before {
        return None;
    }
    let mut problems = Problems::new();
    let trust = cidrs::trust(document, &mut problems);
    Some((stamps, trust.ok_or(problems)))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp { modified: meta.modified().ok(), len: meta.len(), inode: meta.ino() })
}
