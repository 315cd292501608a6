//! What the process holds around its workers: sockets, logs, caps, counters; and how a new configuration reaches them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Adoption, Fleet, FleetError, Message, NewSocket, Quotas, Shared, clock, cores};
use crate::base::Instant;
use crate::base::metric::{Counters, RouteTable};
use crate::config::value::{Bind as RawBind, Ceiling};
use crate::config::{Document, Environment, Problems, Snapshot, raw};
use crate::control::Facts;
use crate::control::facts::ListenerFact;
use crate::files::{Log, Writer};
use crate::listen::{Bind, BindError, Opened, Quota, open};
use crate::ring::Sender;
use crate::target::{Live, Report};

/// Series that `/metrics` may show.
const SERIES_MAX: usize = 20_000;
/// The share of the descriptors that client connections may take: each may need one upstream, and others are needed too.
const DESCRIPTOR_SHARE: f64 = 0.45;

/// A bound address of a listener: its name, the address as the document writes it.
type Address = (Arc<str>, Arc<str>);

/// The process around the workers.
pub struct Process {
    /// What readiness looks at.
    pub facts: Arc<Facts>,
    /// Counters, by worker.
    pub counters: Arc<[Arc<Counters>]>,
    /// Counters, by route.
    pub routes: RouteTable,
    writer: Writer,
    sticky_key: [u8; 32],
    mailboxes: Vec<Sender<Message>>,
    state: Mutex<State>,
}

struct State {
    generation: u64,
    snapshot: Option<Arc<Snapshot>>,
    /// Where listeners are bound; the port is the kernel's where 0 was asked.
    bound: HashMap<Address, u16>,
    /// Addresses that could not be bound, and why.
    unbound: HashMap<Address, String>,
    logs: Vec<Log>,
    requests: Quota,
    connections: Quota,
    listeners: HashMap<Arc<str>, (Option<Quota>, Option<Quota>)>,
}

/// Why a configuration was refused. Nothing has changed.
#[derive(Debug)]
pub enum Refused {
    /// The document is wrong.
    Problems(Problems),
    /// A new address cannot be bound.
    Bind(BindError),
    /// An access log cannot be opened.
    Log(String),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Problems(problems) => f.write_str(problems.to_string().trim_end()),
            Self::Bind(error) => error.fmt(f),
            Self::Log(error) => f.write_str(error),
        }
    }
}

impl Process {
    /// Starts `workers` workers (0: one for each core); they serve nothing before [`Process::adopt`].
    ///
    /// # Errors
    /// The workers, or the log writer, could not start.
    pub fn start(
        workers: u32,
        node_id: &str,
        reports: impl Fn(Report) -> bool + Send + Sync + 'static,
    ) -> Result<(Self, Fleet), FleetError> {
        let workers = if workers == 0 { cores().len().max(1) } else { workers as usize };
        let shared = Shared {
            facts: Arc::new(Facts::new(workers)),
            counters: (0..workers).map(|_| Arc::default()).collect(),
            reports: Arc::new(reports),
            node_id: node_id.into(),
        };
        let fleet = Fleet::start(&shared)?;
        let mut sticky_key = [0; 32];
        fastrand::Rng::new().fill(&mut sticky_key);
        let process = Self {
            facts: shared.facts,
            counters: shared.counters,
            routes: RouteTable::new(workers, SERIES_MAX),
            writer: Writer::start().map_err(FleetError::Failed)?,
            sticky_key,
            mailboxes: fleet.mailboxes().to_vec(),
            state: Mutex::new(State {
                generation: 0,
                snapshot: None,
                bound: HashMap::new(),
                unbound: HashMap::new(),
                logs: Vec::new(),
                requests: Quota::new(0, workers),
                connections: Quota::new(0, workers),
                listeners: HashMap::new(),
            }),
        };
        Ok((process, fleet))
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.mailboxes.len()
    }

    /// The newest configuration.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.lock().snapshot.clone()
    }

    /// Builds a document and gives it to all workers. `live` makes the endpoints' table for its groups. At the first
    /// time an address that cannot be bound does not stop the others; later it refuses the whole.
    ///
    /// # Errors
    /// What is wrong; then everything stays as it was.
    pub fn adopt(
        &self,
        document: Document,
        live: impl FnOnce(&Arc<Snapshot>) -> Arc<Live>,
    ) -> Result<(Arc<Snapshot>, Problems), Refused> {
        let mut state = self.lock();
        let mut problems = Problems::new();
        let generation = state.generation + 1;
        let environment = Environment { sticky_key: &self.sticky_key };
        let Some(snapshot) = Snapshot::build(document, generation, environment, &mut problems) else {
            return Err(Refused::Problems(problems));
        };
        let snapshot = Arc::new(snapshot);
        let logs = self.open_logs(&state, &snapshot)?;
        let first = state.snapshot.is_none();
        let (opened, unbound) = self.open_listeners(&state, &snapshot.document, first)?;
        // From here on nothing can fail.
        let wanted = addresses(&snapshot.document);
        state.bound.retain(|address, _| wanted.iter().any(|(name, text, _)| (name, text) == (&address.0, &address.1)));
        state.unbound = unbound;
        let quotas = quotas(&mut state, &snapshot.document, self.workers());
        let live = live(&snapshot);
        let names = snapshot.document.routes.iter().map(|route| route.name.as_str());
        let cells = self.routes.generation(names);
        let mut sockets = self.deal(&mut state, opened);
        for ((number, mailbox), cells) in self.mailboxes.iter().enumerate().zip(cells) {
            let adoption = Adoption {
                snapshot: snapshot.clone(),
                live: live.clone(),
                cells,
                logs: logs.clone(),
                quotas: quotas.clone(),
                sockets: std::mem::take(&mut sockets[number]),
            };
            deliver(mailbox, Message::Adopt(Box::new(adoption)));
        }
        (state.generation, state.snapshot, state.logs) = (generation, Some(snapshot.clone()), logs);
        self.facts.publish(generation, clock());
        self.tell_listeners(&state);
        Ok((snapshot, problems))
    }

    /// Tries again to bind what could not be bound.
    pub fn retry_unbound(&self) {
        let mut state = self.lock();
        if state.unbound.is_empty() {
            return;
        }
        let Some(snapshot) = state.snapshot.clone() else { return };
        let open = self.open_listeners(&state, &snapshot.document, true);
        let Ok((opened, unbound)) = open else { return };
        state.unbound = unbound;
        for (number, sockets) in self.deal(&mut state, opened).into_iter().enumerate() {
            sockets.into_iter().for_each(|socket| deliver(&self.mailboxes[number], Message::Listen(socket)));
        }
        self.tell_listeners(&state);
    }

    /// Gives all workers a new table of endpoints.
    pub fn follow(&self, live: &Arc<Live>) {
        for mailbox in &self.mailboxes {
            deliver(mailbox, Message::Live(live.clone()));
        }
    }

    /// Stops accepting; what is unfinished at `deadline` is cut.
    pub fn drain(&self, deadline: Instant) {
        self.facts.drain();
        for mailbox in &self.mailboxes {
            deliver(mailbox, Message::Drain { deadline });
        }
    }

    /// Goes on in the files that now have the logs' names.
    pub fn reopen_logs(&self) {
        for mailbox in &self.mailboxes {
            deliver(mailbox, Message::FlushLogs);
        }
        for log in &self.lock().logs {
            if !log.reopen() {
                tracing::warn!(log = log.settings().name, "the log's writer is too far behind to reopen its file");
            }
        }
    }

    /// Open access logs.
    pub fn logs(&self) -> Vec<Log> {
        self.lock().logs.clone()
    }

    /// Ends the log writer, once all lines are written.
    pub fn finish(self, within: std::time::Duration) {
        let Self { writer, state, .. } = self;
        drop(state);
        writer.finish(within);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_logs(&self, state: &State, snapshot: &Snapshot) -> Result<Vec<Log>, Refused> {
        let kept = |plan: &crate::config::snapshot::LogPlan| {
            state.logs.iter().find(|log| *log.settings() == plan.settings).cloned()
        };
        let refused = |plan: &crate::config::snapshot::LogPlan, error: std::io::Error| {
            Refused::Log(format!("access_log {}: cannot be opened: {error}", plan.settings.name))
        };
        let open = |plan: &crate::config::snapshot::LogPlan| match kept(plan) {
            Some(log) => Ok(log),
            None => self.writer.open(plan.settings.clone()).map_err(|error| refused(plan, error)),
        };
        snapshot.access_logs.iter().map(open).collect()
    }

    #[expect(clippy::type_complexity, reason = "what was opened, and what could not be")]
    fn open_listeners(
        &self,
        state: &State,
        document: &Document,
        go_on: bool,
    ) -> Result<(Vec<(Address, Opened)>, HashMap<Address, String>), Refused> {
        let (mut opened, mut failed) = (Vec::new(), HashMap::new());
        for (name, text, bind) in addresses(document) {
            let address = (name, text);
            if state.bound.contains_key(&address) {
                continue;
            }
            match open(&bind, self.workers()) {
                Ok(one) => opened.push((address, one)),
                Err(error) if go_on => {
                    if !state.unbound.contains_key(&address) {
                        tracing::error!(listener = %address.0, "{error}; it is tried again each second");
                    }
                    failed.insert(address, error.to_string());
                }
                Err(error) => return Err(Refused::Bind(error)),
            }
        }
        Ok((opened, failed))
    }

    /// Deals opened sockets out to the workers.
    fn deal(&self, state: &mut State, opened: Vec<(Address, Opened)>) -> Vec<Vec<NewSocket>> {
        let mut hands: Vec<Vec<NewSocket>> = (0..self.workers()).map(|_| Vec::new()).collect();
        for ((listener, address), opened) in opened {
            let port = match &opened.bind {
                Bind::Tcp(address) => address.port(),
                Bind::Unix { .. } => 0,
            };
            tracing::info!(%listener, address = %opened.bind, "listening");
            state.bound.insert((listener.clone(), address.clone()), port);
            for (hand, fd) in hands.iter_mut().zip(opened.sockets) {
                hand.push(NewSocket { listener: listener.clone(), address: address.clone(), port, fd });
            }
        }
        hands
    }

    fn tell_listeners(&self, state: &State) {
        let fact = |(name, address): &Address, error: Option<String>| ListenerFact {
            name: name.to_string(),
            address: address.to_string(),
            error,
        };
        let bound = state.bound.keys().map(|address| fact(address, None));
        let unbound = state.unbound.iter().map(|(address, error)| fact(address, Some(error.clone())));
        self.facts.set_listeners(bound.chain(unbound).collect());
    }
}

/// The worker's mailbox holds far more than control ever has to say at once; a full one belongs to a worker that
/// stands still, which readiness says.
fn deliver(mailbox: &Sender<Message>, message: Message) {
    let mut message = message;
    while let Err(back) = mailbox.try_send(message) {
        message = back;
        std::thread::park_timeout(std::time::Duration::from_millis(1));
    }
}

/// All addresses that a document listens on.
fn addresses(document: &Document) -> Vec<(Arc<str>, Arc<str>, Bind)> {
    let enabled = document.listeners.iter().filter(|listener| listener.enabled);
    let of = |listener: &raw::Listener| {
        let name: Arc<str> = listener.name.as_str().into();
        let bind = |raw: &RawBind| match raw {
            RawBind::Tcp(address) => Bind::Tcp(*address),
            RawBind::Unix(path) => Bind::Unix {
                path: path.clone(),
                mode: listener.mode,
                owner: listener.owner.clone(),
                group: listener.group.clone(),
            },
        };
        let all = listener.bind.iter().map(|raw| (name.clone(), raw.to_string().into(), bind(raw)));
        all.collect::<Vec<_>>()
    };
    enabled.flat_map(of).collect()
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
