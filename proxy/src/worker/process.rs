//! What the process holds around its workers: sockets, logs, caps, counters; and how a new configuration reaches them.

mod sockets;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipnet::IpNet;

pub(super) use self::sockets::is_fixed;
use self::sockets::{Address, Held, Inherited, SocketFiles};
use super::{Adoption, Fleet, FleetError, Message, NewSocket, Quotas, Shared, clock, cores};
use crate::base::Instant;
use crate::base::metric::{Counters, RouteTable};
use crate::cli::Source;
use crate::config::snapshot::LogPlan;
use crate::config::tls;
use crate::config::value::Ceiling;
use crate::config::{Document, Environment, Problem, Problems, Snapshot};
use crate::control::port::{Adopted, Beside, FirstTables, Handed, Kept, Refusal, Secrets};
use crate::control::{self, Facts, Ground, Question, Reports, Unanswered};
use crate::files::{Log, Writer};
use crate::kernel::{Feeds, Listening};
use crate::listen::{Crowd, Quota};
use crate::policy::ban::Bans;
use crate::policy::finding::Outlet;
use crate::policy::geoip::GeoIp;
use crate::policy::identity::Trust;
use crate::policy::limit;
use crate::policy::rule::RuleTable;
use crate::request::explain::explain;
use crate::ring::Sender;
use crate::target::Live;
use crate::tls::Stores;
use crate::trace::flow::Notes;

/// Series that `/metrics` may show.
const SERIES_MAX: usize = 20_000;
/// How long workers may take to hand over their access-log lines.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// The share of the descriptors that client connections may take: each may need one upstream, and others are needed too.
const DESCRIPTOR_SHARE: f64 = 0.45;

/// The process around the workers.
pub struct Process {
    /// What readiness looks at.
    pub facts: Arc<Facts>,
    /// Counters, by worker.
    pub counters: Arc<[Arc<Counters>]>,
    /// Counters, by route.
    pub routes: Arc<RouteTable>,
    /// Counters, by rule.
    pub rules: Arc<RuleTable>,
    /// What workers tell of connections.
    pub flows: Arc<Notes>,
    /// What workers have denied.
    pub findings: Arc<Outlet>,
    /// What the TLS of listeners keeps over configurations.
    pub tls: Arc<tls::Kept>,
    source: Source,
    writer: Mutex<Option<Writer>>,
    sticky_key: [u8; 32],
    limits: limit::Tables,
    mailboxes: Vec<Sender<Message>>,
    state: Mutex<State>,
}

struct State {
    generation: u64,
    snapshot: Option<Arc<Snapshot>>,
    /// Where listeners are bound.
    bound: HashMap<Address, Held>,
    /// Addresses that could not be bound, and why.
    unbound: HashMap<Address, String>,
    /// Files of the Unix sockets among them.
    files: SocketFiles,
    logs: Vec<Log>,
    requests: Quota,
    connections: Quota,
    listeners: HashMap<Arc<str>, (Option<Quota>, Option<Quota>)>,
    /// What each worker has not been given yet.
    hands: Vec<Hand>,
    /// What another process has given to this one.
    inherited: Inherited,
}

/// What one worker has not been given yet: its mailbox was full, or nothing has been sent since.
#[derive(Default)]
struct Hand {
    /// The newest configuration.
    adoption: Option<Box<Adoption>>,
    /// Sockets, which no newer configuration may lose.
    sockets: Vec<NewSocket>,
}

impl Hand {
    /// Sends what the mailbox takes. Whether nothing is left.
    fn flush(&mut self, mailbox: &Sender<Message>) -> bool {
        if let Some(mut adoption) = self.adoption.take() {
            adoption.sockets = std::mem::take(&mut self.sockets);
            if let Err(Message::Adopt(mut back)) = mailbox.try_send(Message::Adopt(adoption)) {
                self.sockets = std::mem::take(&mut back.sockets);
                self.adoption = Some(back);
                return false;
            }
        }
        while let Some(socket) = self.sockets.pop() {
            if let Err(Message::Listen(back)) = mailbox.try_send(Message::Listen(socket)) {
                self.sockets.push(back);
                return false;
            }
        }
        true
    }
}

impl Process {
    /// Starts `workers` workers (0: one for each core); they serve nothing before the first configuration.
    ///
    /// # Errors
    /// The workers, or the log writer, could not start.
    pub fn start(
        source: Source,
        workers: u32,
        node_id: &str,
        reports: Reports,
        kernel: Feeds,
        heritage: Option<Heritage>,
    ) -> Result<(Self, Fleet), FleetError> {
        let workers = if workers == 0 { cores().len().max(1) } else { workers as usize };
        let flows = Arc::<Notes>::default();
        let findings = Arc::<Outlet>::default();
        let shared = Shared {
            facts: Arc::new(Facts::new(workers)),
            counters: (0..workers).map(|_| Arc::default()).collect(),
            reports: Arc::new(move |report| reports.send(report)),
            crowd: Crowd::new(descriptors()),
            flows: flows.clone(),
            findings: findings.clone(),
            kernel,
            node_id: node_id.into(),
        };
        let fleet = Fleet::start(&shared)?;
        let (sockets, secrets) = heritage.unzip();
        let Secrets { sticky_key, tickets } = secrets.unwrap_or_default();
        let kept = tls::Kept::serving();
        if !tickets.is_empty() && !kept.tickets.import(&tickets) {
            tracing::warn!("the ticket keys of the process before are not known here: TLS sessions are not resumed");
        }
        let process = Self {
            facts: shared.facts,
            counters: shared.counters,
            routes: Arc::new(RouteTable::new(workers, SERIES_MAX)),
            rules: Arc::new(RuleTable::new(workers)),
            flows,
            findings,
            tls: Arc::new(kept),
            source,
            writer: Mutex::new(Some(Writer::start().map_err(FleetError::Failed)?)),
            sticky_key: sticky_key.unwrap_or_else(random_key),
            limits: limit::Tables::new(secret(), epoch()),
            mailboxes: fleet.mailboxes().to_vec(),
            state: Mutex::new(State {
                generation: 0,
                snapshot: None,
                bound: HashMap::new(),
                unbound: HashMap::new(),
                files: SocketFiles::default(),
                logs: Vec::new(),
                requests: Quota::new(0, workers),
                connections: Quota::new(0, workers),
                listeners: HashMap::new(),
                hands: (0..workers).map(|_| Hand::default()).collect(),
                inherited: sockets.map(Inherited::of).unwrap_or_default(),
            }),
        };
        Ok((process, fleet))
    }

    fn build(&self, document: Document, beside: &mut FirstTables<'_>) -> Result<Adopted, Problems> {
        let mut state = self.lock();
        let mut problems = Problems::new();
        let generation = state.generation + 1;
        let environment = Environment { sticky_key: &self.sticky_key, limits: &self.limits, tls: &self.tls };
        let Some(snapshot) = Snapshot::build(document, generation, environment, &mut problems) else {
            return Err(problems);
        };
        for problem in problems.warnings() {
            tracing::warn!("{problem}");
        }
        let snapshot = Arc::new(snapshot);
        let logs = self.open_logs(&state, &snapshot)?;
        // A process that takes over is to do no less than the one before it: it goes on without nothing.
        let go_on = state.snapshot.is_none() && !state.inherited.is_any();
        let (opened, unbound) = self.open_listeners(&mut state, &snapshot.document, go_on)?;
        let access = sockets::access(&state, &snapshot.document)?;
        // From here on nothing can fail.
        sockets::follow(&mut state, &snapshot.document);
        state.unbound = unbound;
        let quotas = quotas(&mut state, &snapshot.document, self.mailboxes.len());
        let cells = self.routes.generation(snapshot.document.routes.iter().map(|route| route.name.as_str()));
        self.bound(&mut state, opened);
        state.own_files();
        access.change();
        let Beside { live, bans, geoip } = beside(&snapshot);
        let limit_cells = self.rules.generation("rate_limit", snapshot.rate_limits.iter().map(|rule| &*rule.name));
        for ((hand, cells), limit_cells) in state.hands.iter_mut().zip(cells).zip(limit_cells) {
            hand.adoption = Some(Box::new(Adoption {
                snapshot: snapshot.clone(),
                live: live.clone(),
                bans: bans.clone(),
                geoip: geoip.clone(),
                cells,
                limit_cells,
                logs: logs.clone(),
                quotas: quotas.clone(),
                sockets: Vec::new(),
            }));
        }
        self.flush(&mut state);
        (state.generation, state.snapshot, state.logs) = (generation, Some(snapshot.clone()), logs.clone());
        self.facts.publish(generation, clock());
        self.tell_listeners(&state);
        Ok(Adopted { snapshot, logs })
    }

    fn flush(&self, state: &mut State) {
        for (hand, mailbox) in state.hands.iter_mut().zip(&self.mailboxes) {
            hand.flush(mailbox);
        }
    }

    /// Has workers hand over their lines, which belong to the old files; one that stands still is not waited for.
    fn flush_logs(&self) {
        let (tell, told) = mpsc::channel();
        let asked = self.mailboxes.iter().filter(|mailbox| mailbox.try_send(Message::FlushLogs(tell.clone())).is_ok());
        let asked = asked.count();
        drop(tell);
        let end = std::time::Instant::now() + FLUSH_MAX;
        for _ in 0..asked {
            let left = end.saturating_duration_since(std::time::Instant::now());
            if told.recv_timeout(left).is_err() {
                return;
            }
        }
    }

    /// Sends to one worker, behind what it has not been given yet.
    fn send(&self, worker: usize, message: Message) -> bool {
        let mailbox = &self.mailboxes[worker];
        // A reload that holds the state has newer things to say than this.
        let Ok(mut state) = self.state.try_lock() else { return false };
        state.hands[worker].flush(mailbox) && mailbox.try_send(message).is_ok()
    }

    /// Removes the socket files, and ends the log writer, once all lines are written.
    pub fn finish(&self, within: Duration) {
        self.lock().files.clear();
        self.lock().logs.clear();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            writer.finish(within);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_logs(&self, state: &State, snapshot: &Snapshot) -> Result<Vec<Log>, Problem> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |plan: &LogPlan| {
            let kept = state.logs.iter().find(|log| *log.settings() == plan.settings);
            let opened = match (kept, &*writer) {
                (Some(log), _) => return Ok(log.clone()),
                (None, Some(writer)) => writer.open(plan.settings.clone()),
                (None, None) => Err(io::Error::other("the process ends")),
            };
            let raw = snapshot.document.access_logs.iter().find(|raw| raw.name == plan.settings.name);
            let at = raw.map(|raw| raw.at.clone()).unwrap_or_default();
            opened.map_err(|error| at.problem("path", format!("cannot be opened: {error}")))
        };
        snapshot.access_logs.iter().map(open).collect()
    }
}

impl control::Process for Process {
    fn read(&self) -> Result<Document, Problems> {
        self.source.load()
    }

    /// At the first time an address that cannot be bound does not stop the others; later it refuses the whole.
    fn adopt(&self, document: Document, beside: &mut FirstTables<'_>) -> Result<Adopted, Refusal> {
        self.build(document, beside).map_err(Refusal::from)
    }

    fn bind(&self) {
        let mut state = self.lock();
        let Some(snapshot) = state.snapshot.clone() else { return };
        if let Ok((opened, unbound)) = self.open_listeners(&mut state, &snapshot.document, true) {
            state.unbound = unbound;
            self.bound(&mut state, opened);
            state.own_files();
            self.flush(&mut state);
            self.tell_listeners(&state);
        }
    }

    fn follow(&self, worker: usize, live: &Arc<Live>) -> bool {
        self.send(worker, Message::Live(live.clone()))
    }

    fn trust(&self, worker: usize, generation: u64, trust: &Arc<Trust>) -> bool {
        self.send(worker, Message::Trust(generation, trust.clone()))
    }

    fn show(&self, worker: usize, generation: u64, stores: &Arc<Stores>) -> bool {
        self.send(worker, Message::Tls(generation, stores.clone()))
    }

    fn ban(&self, worker: usize, bans: &Arc<Bans>) -> bool {
        self.send(worker, Message::Bans(bans.clone()))
    }

    fn share_listeners(&self, worker: usize, tell: &mpsc::Sender<Vec<Listening>>) -> bool {
        self.send(worker, Message::ShareListeners(tell.clone()))
    }

    fn cut(&self, worker: usize, denied: &Arc<[IpNet]>) -> bool {
        self.send(worker, Message::KernelDenied(denied.clone()))
    }

    fn locate(&self, worker: usize, geoip: &Arc<GeoIp>) -> bool {
        self.send(worker, Message::GeoIp(geoip.clone()))
    }

    fn drain(&self, worker: usize, deadline: Instant, kept: &Kept) -> bool {
        // Else a socket that its worker has closed would go on taking connections that nobody accepts.
        let Ok(mut state) = self.state.try_lock() else { return false };
        state.bound.values_mut().for_each(|held| held.sockets.clear());
        state.leave_files(kept);
        drop(state);
        self.send(worker, Message::Drain { deadline, kept: kept.clone() })
    }

    fn sockets(&self) -> io::Result<Vec<Handed>> {
        self.lock().bound.iter().map(|(address, held)| held.share(address)).collect()
    }

    fn claimed(&self) -> Kept {
        self.lock().inherited.claimed()
    }

    fn accept(&self) {
        let mut state = self.lock();
        for (address, opened) in state.inherited.release() {
            self.deal(&mut state, address, opened);
        }
        state.own_files();
        let access = state.snapshot.as_ref().map(|snapshot| sockets::access(&state, &snapshot.document));
        // A name that is unknown was told with the document.
        if let Some(Ok(access)) = access {
            access.change();
        }
        self.flush(&mut state);
    }

    fn secrets(&self) -> Secrets {
        Secrets { sticky_key: Some(self.sticky_key), tickets: self.tls.tickets.export() }
    }

    fn reopen_logs(&self) {
        self.flush_logs();
        for log in &self.lock().logs {
            if !log.reopen() {
                tracing::warn!(log = log.settings().name, "access log not reopened: its writer is too far behind");
            }
        }
    }

    fn explain(&self, question: &Question, ground: &Ground<'_>) -> Result<serde_json::Value, Unanswered> {
        explain(ground, question, clock())
    }
}

/// The caps of a document, kept where they only change in size.
fn quotas(state: &mut State, document: &Document, workers: usize) -> Quotas {
    state.requests.resize(document.limits.requests_max);
    state.connections.resize(ceiling(document.limits.connections_max));
    let before = std::mem::take(&mut state.listeners);
    let mut listeners = Vec::new();
    for listener in &document.listeners {
        let name: Arc<str> = listener.name.as_str().into();
        let (requests, connections) = before.get(&name).cloned().unwrap_or_default();
        let keep = |quota: Option<Quota>, max: Option<u64>| {
            let max = max?;
            let quota = quota.unwrap_or_else(|| Quota::new(max, workers));
            quota.resize(max);
            Some(quota)
        };
        let own = (
            keep(requests, listener.limits.requests_max),
            keep(connections, listener.limits.connections_max.map(ceiling)),
        );
        listeners.push(own.clone());
        state.listeners.insert(name, own);
    }
    Quotas { requests: state.requests.clone(), connections: state.connections.clone(), listeners }
}

/// What a process leaves to the next one: the listeners' sockets, and keys.
pub type Heritage = (Vec<Handed>, Secrets);

fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    fastrand::Rng::new().fill(&mut key);
    key
}

/// 128 bits that no client knows: the standard library keys its own tables from the system's random source.
fn secret() -> [u8; 16] {
    let random = || RandomState::new().hash_one(std::process::id());
    (u128::from(random()) << 64 | u128::from(random())).to_le_bytes()
}

/// The Unix time at the monotonic clock's origin, as both clocks stand now.
fn epoch() -> Duration {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    unix.saturating_sub(Duration::from_nanos(clock().nanos()))
}

fn ceiling(ceiling: Ceiling) -> u64 {
    match ceiling {
        Ceiling::Of(max) => max,
        Ceiling::Auto => {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
            limit.map_or(0, |limit| (limit as f64 * DESCRIPTOR_SHARE) as u64)
        }
    }
}

/// Descriptors that the process may have: no more connections, and hardly more requests in flight, can be counted.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}
