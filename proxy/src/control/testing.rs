//! What tests of control share: the clock, waiting for a condition, configurations, a process that only remembers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::port::{Adopted, FirstTable, Process, Question, Refusal, Unanswered};
use crate::base::Instant;
use crate::config::snapshot::Environment;
use crate::config::{Document, Problems, Snapshot};
use crate::target::Live;

pub(super) fn clock() -> Instant {
    crate::worker::clock()
}

/// Waits until it holds; a test that waits too long has failed.
pub(super) async fn until(holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok(), "waited in vain");
}

/// A document of one listener and these routes.
pub(super) fn document(routes: &str) -> Document {
    let text = format!("version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\n{routes}");
    crate::config::parse(&text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

/// A document whose one route forwards to `url`, with more keys of the route.
pub(super) fn forwarding(url: &str, more: &str) -> Document {
    document(&format!(
        "[[route]]\nid = 10\nname = \"app\"\nlistener = \"web\"\npath_prefix = \"/\"\n{more}\n\
         [[route.target]]\nname = \"a\"\nurl = \"{url}\"\n"
    ))
}

pub(super) fn snapshot(document: Document, generation: u64) -> Arc<Snapshot> {
    let mut problems = Problems::new();
    let environment = Environment { sticky_key: &[7; 32] };
    let built = Snapshot::build(document, generation, environment, &mut problems);
    Arc::new(built.unwrap_or_else(|| panic!("{problems}")))
}

/// A process that does what it is told, and remembers it.
#[derive(Default)]
pub(super) struct Remembering {
    /// What a reload reads; none: the document is broken.
    pub(super) next: Mutex<Option<Document>>,
    pub(super) generation: AtomicU64,
    /// Whether workers take what they are sent.
    pub(super) full: AtomicBool,
    pub(super) followed: Mutex<Vec<(usize, Arc<Live>)>>,
    pub(super) drained: Mutex<Vec<(usize, Instant)>>,
    pub(super) reopened: AtomicU64,
    pub(super) bound: AtomicU64,
}

impl Remembering {
    /// The last table that worker 0 took, by its epoch.
    pub(super) fn epoch(&self) -> u64 {
        let followed = self.followed.lock().expect("no panic");
        followed.iter().rev().find(|(worker, _)| *worker == 0).map_or(0, |(_, live)| live.epoch())
    }
}

impl Process for Remembering {
    fn read(&self) -> Result<Document, Problems> {
        match self.next.lock().expect("no panic").clone() {
            Some(document) => Ok(document),
            None => crate::config::parse("version = 2", "test.toml"),
        }
    }

    fn adopt(&self, document: Document, live: &mut FirstTable<'_>) -> Result<Adopted, Refusal> {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        let snapshot = snapshot(document, generation);
        let live = live(&snapshot);
        self.followed.lock().expect("no panic").push((0, live));
        Ok(Adopted { snapshot, logs: Vec::new() })
    }

    fn bind(&self) {
        self.bound.fetch_add(1, Ordering::SeqCst);
    }

    fn follow(&self, worker: usize, live: &Arc<Live>) -> bool {
        if self.full.load(Ordering::SeqCst) {
            return false;
        }
        self.followed.lock().expect("no panic").push((worker, Arc::clone(live)));
        true
    }

    fn drain(&self, worker: usize, deadline: Instant) -> bool {
        self.drained.lock().expect("no panic").push((worker, deadline));
        true
    }

    fn reopen_logs(&self) {
        self.reopened.fetch_add(1, Ordering::SeqCst);
    }

    fn explain(&self, question: &Question, snapshot: &Snapshot, _: &Live) -> Result<serde_json::Value, Unanswered> {
        if question.listener.as_deref().is_some_and(|name| name != "web") {
            return Err(Unanswered { field: Some("listener"), message: "no such listener".to_owned() });
        }
        Ok(serde_json::json!({ "generation": snapshot.generation, "method": question.method }))
    }
}
