//! All workers of the process: started, spoken to, joined.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;

use super::{Message, Wall, Worker, life};
use crate::base::metric::Counters;
use crate::control::Facts;
use crate::kernel::Feeds;
use crate::listen::{Crowd, Teller};
use crate::policy::finding::Outlet;
use crate::ring::{self, Mailbox, Runtime, Sender, Settings};
use crate::target::{Balancers, Report, Wake};
use crate::trace::flow::Notes;

/// Octets of request bodies that the process keeps for further tries, shared equally by its workers.
const REPLAY_MAX: u64 = 64 << 20;
/// Messages that may wait for one worker.
const MAILBOX: usize = 1024;

/// What workers share with the rest of the process.
#[derive(Clone)]
pub struct Shared {
    /// Signs of life.
    pub facts: Arc<Facts>,
    /// Counters, by worker.
    pub counters: Arc<[Arc<Counters>]>,
    /// Takes what requests met at endpoints; false if there is no room.
    pub reports: Arc<dyn Fn(Report) -> bool + Send + Sync>,
    /// What each client has at once.
    pub crowd: Crowd,
    /// Takes what becomes of connections.
    pub flows: Arc<Notes>,
    /// Takes denials, added up.
    pub findings: Arc<Outlet>,
    /// Takes clients to drop, and known sources.
    pub kernel: Feeds,
    /// This node's name.
    pub node_id: Arc<str>,
}

/// The way from worker to worker, complete once all have started.
struct Others {
    mailboxes: OnceLock<Vec<Sender<Message>>>,
    /// A wake found this worker's mailbox full: it then looks at all its lines.
    missed: Vec<AtomicBool>,
}

/// The workers.
pub struct Fleet {
    mailboxes: Vec<Sender<Message>>,
    threads: Vec<JoinHandle<()>>,
}

/// Why the workers could not start.
#[derive(Debug)]
pub enum FleetError {
    /// The machine forbids io_uring.
    Forbidden(io::Error),
    /// A ring or a thread could not be made.
    Failed(io::Error),
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(error) => write!(
                f,
                "io_uring is not allowed here ({error}): weir's workers need it. Allow it with `sysctl -w \
                 kernel.io_uring_disabled=0`, or in a container with a seccomp profile that permits io_uring_setup, \
                 io_uring_enter and io_uring_register; Linux 6.1 or newer is required"
            ),
            Self::Failed(error) => write!(f, "cannot start a worker: {error}"),
        }
    }
}

impl Fleet {
    /// Starts a worker for each entry of `shared.counters`, pinned to a core each.
    ///
    /// # Errors
    /// A ring that cannot be set up; those already started end.
    pub fn start(shared: &Shared) -> Result<Self, FleetError> {
        let count = shared.counters.len();
        let missed = (0..count).map(|_| AtomicBool::new(false)).collect();
        let others = Arc::new(Others { mailboxes: OnceLock::new(), missed });
        let cores = cores();
        let mut fleet = Self { mailboxes: Vec::new(), threads: Vec::new() };
        for number in 0..count {
            let (tell, told) = mpsc::sync_channel(1);
            let (shared, others) = (shared.clone(), others.clone());
            let core = cores.get(number % cores.len().max(1)).copied();
            let body = move || thread(number, core, &shared, others, &tell);
            let spawned = std::thread::Builder::new().name(format!("weir-{number}")).spawn(body);
            fleet.threads.push(spawned.map_err(FleetError::Failed)?);
            let answer = told.recv().unwrap_or_else(|_| Err(io::Error::other("a worker ended at once")));
            fleet.mailboxes.push(answer.map_err(classify)?);
        }
        let _ = others.mailboxes.set(fleet.mailboxes.clone());
        Ok(fleet)
    }

    /// Mailboxes, by worker.
    pub fn mailboxes(&self) -> &[Sender<Message>] {
        &self.mailboxes
    }

    /// Waits until all have ended.
    pub fn join(self) {
        for thread in self.threads {
            // A worker that panicked has said so, and is missing in readiness.
            let _ = thread.join();
        }
    }
}

fn classify(error: io::Error) -> FleetError {
    if ring::forbidden(&error) { FleetError::Forbidden(error) } else { FleetError::Failed(error) }
}

/// Cores that the process may use.
pub fn cores() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

fn pin(core: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &set) {
        tracing::warn!(core, %error, "cannot pin a worker to its core");
    }
}

type Started = mpsc::SyncSender<io::Result<Sender<Message>>>;

fn thread(number: usize, core: Option<usize>, shared: &Shared, others: Arc<Others>, tell: &Started) {
    if let Some(core) = core {
        pin(core);
    }
    let ended = Ended(shared.facts.clone(), number);
    let mut runtime = match Runtime::new(Settings::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = tell.send(Err(error));
            return;
        }
    };
    runtime.run(async {
        let (mailbox, sender) = Mailbox::new(MAILBOX);
        let _ = tell.send(Ok(sender));
        // Nothing can be served before the first configuration, which is the first message.
        let Message::Adopt(first) = mailbox.recv().await else { return };
        let worker = Rc::new(worker(number, shared, others, &first));
        life::live(worker, mailbox, *first).await;
    });
    drop(ended);
}

/// However a worker's thread ends, readiness learns of it.
struct Ended(Arc<Facts>, usize);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.workers()[self.1].ended();
    }
}

fn worker(number: usize, shared: &Shared, others: Arc<Others>, first: &super::Adoption) -> Worker {
    let mut random = fastrand::Rng::new();
    let seed = random.u64(..);
    let reports = shared.reports.clone();
    let sent = others.clone();
    Worker {
        number,
        counters: shared.counters[number].clone(),
        facts: shared.facts.clone(),
        wall: Wall::new(ring::now()),
        crowd: Rc::new(shared.crowd.clone()),
        random: RefCell::new(random),
        pool: RefCell::default(),
        announced_last: Cell::new(0),
        sessions: RefCell::default(),
        balancers: RefCell::new(Balancers::new(number, seed, move |wake| send_wake(&sent, wake))),
        budgets: RefCell::default(),
        reports: Box::new(move |report| reports(report)),
        flows: Teller::new(shared.flows.clone(), number, shared.counters[number].clone()),
        findings_out: shared.findings.clone(),
        findings: RefCell::default(),
        findings_begun: ring::Event::new(),
        kernel: super::kernel::Side::new(shared.kernel.clone()),
        node_id: shared.node_id.clone(),
        missed_wakes: Box::new(move || others.missed[number].swap(false, Relaxed)),
        current: RefCell::new(Rc::new(super::Current::of(first))),
        retired: RefCell::default(),
        bound: RefCell::default(),
        clients: RefCell::default(),
        active: Cell::new(0),
        replay_room: Cell::new(REPLAY_MAX / shared.counters.len().max(1) as u64),
        handshakes: super::Handshakes::default(),
        draining: Cell::new(false),
        accepting: Cell::new(0),
        empty: ring::Event::new(),
    }
}

fn send_wake(others: &Others, wake: Wake) {
    let to = wake.worker;
    let sent = others.mailboxes.get().and_then(|all| all.get(to)).map(|mailbox| mailbox.try_send(Message::Wake(wake)));
    if !matches!(sent, Some(Ok(())))
        && let Some(missed) = others.missed.get(to)
    {
        missed.store(true, Relaxed);
    }
}
