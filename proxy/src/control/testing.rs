//! What tests of control share: the clock, waiting for a condition, configurations, a process that only remembers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use ipnet::IpNet;

use super::port::{
    Adopted, Beside, FirstTables, Ground, Handed, Kept, Process, Question, Refusal, Secrets, Unanswered,
};
use crate::base::Instant;
use crate::config::snapshot::Environment;
use crate::config::{Document, Problems, Snapshot};
use crate::kernel::Listening;
use crate::policy::ban::Bans;
use crate::policy::geoip::GeoIp;
use crate::policy::identity::Trust;
use crate::policy::limit::Tables;
use crate::target::Live;
use crate::tls::Stores;

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

/// Tests load no programs.
const NO_KERNEL: &str = "[kernel]\nmode = \"off\"\nflow = false\nsteer = \"off\"\n";

/// A document of one listener and these routes.
pub(super) fn document(routes: &str) -> Document {
    let text = format!("version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\n{NO_KERNEL}{routes}");
    crate::config::parse(&text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"))
}

/// A document whose one route forwards to `url`, with more keys of the route.
pub(super) fn forwarding(url: &str, more: &str) -> Document {
    document(&format!(
        "[[route]]\nid = 10\nname = \"app\"\nlistener = \"web\"\npath_prefix = \"/\"\n{more}\n\
         [[route.target]]\nname = \"a\"\nurl = \"{url}\"\n"
    ))
}

/// The configuration that a document makes.
pub(super) fn snapshot(document: Document, generation: u64) -> Arc<Snapshot> {
    let mut problems = Problems::new();
    let environment =
        Environment { sticky_key: &[7; 32], limits: &Tables::default(), tls: &crate::config::tls::Kept::default() };
    let built = Snapshot::build(document, generation, environment, &mut problems);
    Arc::new(built.unwrap_or_else(|| panic!("{problems}")))
}

/// What one worker was told.
#[derive(Default)]
pub(super) struct Told {
    pub(super) generation: u64,
    pub(super) tables: Vec<Arc<Live>>,
    pub(super) bans: Arc<Bans>,
    pub(super) stores: Arc<Stores>,
    pub(super) drains: Vec<Instant>,
    pub(super) kept: Kept,
    /// Takes nothing any more.
    pub(super) full: bool,
}

/// A process of two workers that does what it is told, and remembers it.
#[derive(Default)]
pub(super) struct Remembering {
    /// What a reload reads; none: the document is broken.
    pub(super) next: Mutex<Option<Document>>,
    pub(super) reads: AtomicU64,
    pub(super) bound: AtomicU64,
    pub(super) reopened: AtomicU64,
    workers: [Mutex<Told>; 2],
}

impl Remembering {
    pub(super) fn worker(&self, number: usize) -> MutexGuard<'_, Told> {
        self.workers[number].lock().expect("no panic")
    }

    /// Addresses and states of all endpoints that a worker knows.
    pub(super) fn endpoints(&self, worker: usize) -> Vec<(String, &'static str)> {
        let now = clock();
        let Some(live) = self.worker(worker).tables.last().cloned() else { return Vec::new() };
        let row = |endpoint: &crate::target::Endpoint| {
            let address = endpoint.address.map(|address| address.to_string()).unwrap_or_default();
            (address, if endpoint.is_ejected(now) { "ejected" } else { endpoint.state.word() })
        };
        live.endpoints().map(|(_, endpoint)| row(endpoint)).collect()
    }
}

impl Process for Remembering {
    fn read(&self) -> Result<Document, Problems> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        match self.next.lock().expect("no panic").clone() {
            Some(document) => Ok(document),
            None => Err(crate::config::parse("version = 1\nno_such_key = 1", "test.toml").expect_err("a bad key")),
        }
    }

    fn adopt(&self, document: Document, beside: &mut FirstTables<'_>) -> Result<Adopted, Refusal> {
        let generation = self.worker(0).generation + 1;
        let snapshot = snapshot(document, generation);
        let Beside { live, bans, .. } = beside(&snapshot);
        for worker in 0..self.workers.len() {
            self.worker(worker).generation = generation;
            self.worker(worker).tables.push(Arc::clone(&live));
            self.worker(worker).bans = Arc::clone(&bans);
        }
        Ok(Adopted { snapshot, logs: Vec::new() })
    }

    fn bind(&self) {
        self.bound.fetch_add(1, Ordering::SeqCst);
    }

    fn follow(&self, worker: usize, live: &Arc<Live>) -> bool {
        let mut worker = self.worker(worker);
        if !worker.full {
            worker.tables.push(Arc::clone(live));
        }
        !worker.full
    }

    fn locate(&self, worker: usize, _: &Arc<GeoIp>) -> bool {
        !self.worker(worker).full
    }

    fn ban(&self, worker: usize, bans: &Arc<Bans>) -> bool {
        let mut worker = self.worker(worker);
        if !worker.full {
            worker.bans = Arc::clone(bans);
        }
        !worker.full
    }

    fn share_listeners(&self, _: usize, tell: &mpsc::Sender<Vec<Listening>>) -> bool {
        tell.send(Vec::new()).is_ok()
    }

    fn cut(&self, worker: usize, _: &Arc<[IpNet]>) -> bool {
        !self.worker(worker).full
    }

    fn drain(&self, worker: usize, deadline: Instant, kept: &Kept) -> bool {
        let mut worker = self.worker(worker);
        if !worker.full {
            worker.drains.push(deadline);
            worker.kept = Arc::clone(kept);
        }
        !worker.full
    }

    fn sockets(&self) -> std::io::Result<Vec<Handed>> {
        Ok(Vec::new())
    }

    fn claimed(&self) -> Kept {
        Kept::default()
    }

    fn accept(&self) {}

    fn secrets(&self) -> Secrets {
        Secrets::default()
    }

    fn reopen_logs(&self) {
        self.reopened.fetch_add(1, Ordering::SeqCst);
    }

    fn trust(&self, worker: usize, _: u64, _: &Arc<Trust>) -> bool {
        !self.worker(worker).full
    }

    fn show(&self, worker: usize, _: u64, stores: &Arc<Stores>) -> bool {
        let mut worker = self.worker(worker);
        if !worker.full {
            worker.stores = Arc::clone(stores);
        }
        !worker.full
    }

    fn explain(&self, question: &Question, ground: &Ground<'_>) -> Result<serde_json::Value, Unanswered> {
        if question.listener.as_deref().is_some_and(|name| name != "web") {
            return Err(Unanswered { field: Some("listener"), message: "no such listener".to_owned() });
        }
        let values = question.headers.values().flat_map(|values| values.iter()).count();
        Ok(serde_json::json!({ "method": question.method, "values": values, "routes": ground.live.routes().len() }))
    }
}
