//! What tests of control share: the clock, waiting for a condition, configurations, a process that only remembers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::port::{Loaded, Order, Process, Question, Unanswered, WorkerPort};
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

/// The configuration that a document makes.
pub(super) fn loaded(document: Document, generation: u64) -> Loaded<u64> {
    let mut problems = Problems::new();
    let environment = Environment { sticky_key: &[7; 32] };
    let built = Snapshot::build(document, generation, environment, &mut problems);
    let built = built.unwrap_or_else(|| panic!("{problems}"));
    Loaded {
        generation,
        snapshot: Arc::new(generation),
        document: built.document,
        groups: built.groups,
        logs: Vec::new(),
    }
}

/// A worker that takes what it is sent, and remembers it.
#[derive(Default)]
pub(super) struct Mailbox {
    /// Orders that it does not take any more.
    pub(super) full: AtomicBool,
    pub(super) taken: Mutex<Vec<Order<u64>>>,
}

impl WorkerPort<u64> for Arc<Mailbox> {
    fn send(&self, order: Order<u64>) -> Result<(), Order<u64>> {
        if self.full.load(Ordering::SeqCst) {
            return Err(order);
        }
        self.taken.lock().expect("no panic").push(order);
        Ok(())
    }
}

impl Mailbox {
    /// The generation it uses.
    pub(super) fn generation(&self) -> u64 {
        let taken = self.taken.lock().expect("no panic");
        taken
            .iter()
            .rev()
            .find_map(|order| if let Order::Snapshot(s, _) = order { Some(**s) } else { None })
            .unwrap_or(0)
    }

    /// The table it uses.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        let taken = self.taken.lock().expect("no panic");
        taken.iter().rev().find_map(|order| match order {
            Order::Snapshot(_, live) | Order::Live(live) => Some(Arc::clone(live)),
            Order::Drain { .. } => None,
        })
    }

    /// Addresses and states of all endpoints of its table.
    pub(super) fn endpoints(&self) -> Vec<(String, &'static str)> {
        let now = clock();
        let Some(live) = self.live() else { return Vec::new() };
        let row = |endpoint: &crate::target::Endpoint| {
            let address = endpoint.address.map(|address| address.to_string()).unwrap_or_default();
            (address, if endpoint.is_ejected(now) { "ejected" } else { endpoint.state.word() })
        };
        live.endpoints().map(|(_, endpoint)| row(endpoint)).collect()
    }

    /// The deadlines it was given.
    pub(super) fn drains(&self) -> Vec<Instant> {
        let taken = self.taken.lock().expect("no panic");
        taken
            .iter()
            .filter_map(|order| if let Order::Drain { deadline } = order { Some(*deadline) } else { None })
            .collect()
    }
}

/// A process that does what it is told, and remembers it.
#[derive(Default)]
pub(super) struct Remembering {
    /// What a reload reads; none: the document is broken.
    pub(super) next: Mutex<Option<Document>>,
    pub(super) generation: AtomicU64,
    pub(super) bound: AtomicU64,
}

impl Process<u64> for Remembering {
    fn load(&self) -> Result<Loaded<u64>, Problems> {
        match self.next.lock().expect("no panic").clone() {
            Some(document) => Ok(loaded(document, self.generation.fetch_add(1, Ordering::SeqCst) + 2)),
            None => Err(crate::config::parse("version = 1\nno_such_key = 1", "test.toml").expect_err("a bad key")),
        }
    }

    fn bind(&self) {
        self.bound.fetch_add(1, Ordering::SeqCst);
    }

    fn explain(&self, question: &Question, live: &Live) -> Result<serde_json::Value, Unanswered> {
        if question.listener.as_deref().is_some_and(|name| name != "web") {
            return Err(Unanswered { field: Some("listener"), message: "no such listener".to_owned() });
        }
        let values = question.headers.values().flat_map(|values| values.iter()).count();
        Ok(serde_json::json!({ "method": question.method, "values": values, "routes": live.routes().len() }))
    }
}
