//! Hostnames of targets to addresses: asked at start and whenever an answer's TTL is over, by the allow-list's leave.

mod entry;
mod lookup;
mod shown;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use shown::{Row, Shown};

use super::{Clock, Facts};
use crate::base::{Instant, Reason};
use crate::config::value::NamePattern;
use crate::policy::finding::{Denial, Kind};
use entry::Answer;
use lookup::Lookups;
use shown::Table;

/// Lookups under way at once.
const LOOKUPS_MAX: usize = 32;
/// The first round ends by then, whatever was answered.
const FIRST_ROUND_MAX: Duration = Duration::from_secs(5);
/// Without an answer for so long, a name is asked for ahead of its time: readiness wants one each 10 s.
const SIGN_OF_LIFE: Duration = Duration::from_secs(4);

/// `[resolver]`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name servers; none: those of /etc/resolv.conf.
    pub servers: Vec<SocketAddr>,
    /// Wait for one answer.
    pub timeout: Duration,
    /// An answer holds so long at least.
    pub ttl_min: Duration,
    /// An answer holds so long at most.
    pub ttl_max: Duration,
    /// How long the last answer serves while there is no new one.
    pub stale_max: Duration,
    /// Names beside the document's that may be resolved.
    pub allow: Vec<NamePattern>,
    /// Addresses that no name may have.
    pub deny_ips: Vec<IpNet>,
}

impl From<&crate::config::raw::Resolver> for Settings {
    fn from(raw: &crate::config::raw::Resolver) -> Self {
        Self {
            servers: raw.servers.clone(),
            timeout: raw.timeout,
            ttl_min: raw.ttl_min,
            ttl_max: raw.ttl_max,
            stale_max: raw.stale_max,
            allow: raw.allow.clone(),
            deny_ips: raw.deny_ips.clone(),
        }
    }
}

/// A hostname's addresses have changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DnsUpdate {
    /// The name, lower case, without a trailing dot.
    pub hostname: Arc<str>,
    /// Its addresses; none: unresolved.
    pub addresses: Vec<IpAddr>,
}

/// A hostname of the document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The name, lower case, without a trailing dot.
    pub hostname: Arc<str>,
    /// The targets that use it, as `route/target`.
    pub used_by: Vec<String>,
}

/// Resolutions by their result.
#[derive(Default, Debug)]
pub struct Counts {
    /// Answers with an address that may be used.
    pub answered: AtomicU64,
    /// Addresses withheld because of `deny_ips`.
    pub denied: AtomicU64,
    /// Answers that there is no such name, or no address of it.
    pub absent: AtomicU64,
    /// No answer.
    pub failed: AtomicU64,
}

/// What the driver is told.
enum Command {
    Want { settings: Box<Settings>, names: Vec<Wanted> },
}

/// The resolver's handle. Its driver ends when the handle is dropped.
pub struct Resolver {
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
}

/// Takes what is denied.
pub type Found = Box<dyn Fn(&Denial<'_>) + Send + Sync>;

struct Shared {
    found: Found,
    table: Mutex<Table>,
    counts: Counts,
    facts: Arc<Facts>,
    clock: Clock,
}

impl Shared {
    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolver {
    /// Starts the driver on the current runtime; it tells `updates` of every change, and `found` of
    /// addresses that names must not have.
    pub fn start(facts: Arc<Facts>, clock: Clock, updates: mpsc::Sender<DnsUpdate>, found: Found) -> Self {
        let (commands, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { found, table: Mutex::default(), counts: Counts::default(), facts, clock });
        tokio::spawn(Driver::new(Arc::clone(&shared), updates).run(receiver));
        Self { commands, shared }
    }

    /// Resolves exactly these names from now on; what is known of those that stay is kept.
    pub fn want(&self, settings: Settings, names: Vec<Wanted>) {
        let _ = self.commands.send(Command::Want { settings: Box::new(settings), names });
    }

    /// What is known, for people: all names, or `hostname`, or those with `ip`.
    pub fn shown(&self, hostname: Option<&str>, ip: Option<IpAddr>) -> Vec<Row> {
        self.shared.table().rows(hostname, ip, (self.shared.clock)())
    }

    /// Resolutions so far.
    pub fn counts(&self) -> &Counts {
        &self.shared.counts
    }
}

/// The task that asks.
struct Driver {
    shared: Arc<Shared>,
    updates: mpsc::Sender<DnsUpdate>,
    lookups: Option<Arc<Lookups>>,
    settings: Option<Arc<Settings>>,
    /// Names by when they are to be asked for.
    due: BTreeSet<(Instant, Arc<str>)>,
    /// The same, by name.
    scheduled: HashMap<Arc<str>, Instant>,
    under_way: JoinSet<(Arc<str>, Answer)>,
    first_round_until: Option<Instant>,
}

impl Driver {
    fn new(shared: Arc<Shared>, updates: mpsc::Sender<DnsUpdate>) -> Self {
        Self {
            shared,
            updates,
            lookups: None,
            settings: None,
            due: BTreeSet::new(),
            scheduled: HashMap::new(),
            under_way: JoinSet::new(),
            first_round_until: None,
        }
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            self.ask_due();
            let pause = self.pause();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Want { settings, names }) => self.want(*settings, names).await,
                    None => return,
                },
                Some(answer) = self.under_way.join_next() => {
                    // A lookup that panicked has said nothing: its name is due again with the sign of life.
                    if let Ok((name, answer)) = answer {
                        self.answered(name, answer).await;
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
            self.end_first_round();
        }
    }

    fn now(&self) -> Instant {
        (self.shared.clock)()
    }

    /// How long nothing is to be done but to wait.
    fn pause(&self) -> Duration {
        let now = self.now();
        let due = self.due.first().map(|(due, _)| *due).filter(|_| self.under_way.len() < LOOKUPS_MAX);
        let next = due.map_or(SIGN_OF_LIFE, |due| due.since(now).min(SIGN_OF_LIFE));
        self.first_round_until.map_or(next, |until| until.since(now).min(next)).max(Duration::from_millis(1))
    }

    async fn want(&mut self, settings: Settings, names: Vec<Wanted>) {
        let now = self.now();
        let settings = Arc::new(settings);
        self.lookups = Lookups::new(&settings).map(Arc::new);
        self.settings = Some(Arc::clone(&settings));
        let first = self.shared.facts.resolver.names() == 0 && !names.is_empty();
        if first {
            self.first_round_until = Some(now + FIRST_ROUND_MAX);
        }
        let hostnames: Vec<_> = names.iter().map(|wanted| Arc::clone(&wanted.hostname)).collect();
        let changed = self.shared.table().want(names, &settings);
        self.shared.facts.resolver.begin(hostnames.len(), now, first);
        let wanted: HashSet<&Arc<str>> = hostnames.iter().collect();
        self.due.retain(|(_, name)| wanted.contains(name));
        self.scheduled.retain(|name, _| wanted.contains(name));
        for name in &hostnames {
            if !self.scheduled.contains_key(name) {
                self.schedule(Arc::clone(name), now);
            }
        }
        for update in changed {
            let _ = self.updates.send(update).await;
        }
    }

    fn schedule(&mut self, name: Arc<str>, due: Instant) {
        if let Some(before) = self.scheduled.insert(Arc::clone(&name), due) {
            self.due.remove(&(before, Arc::clone(&name)));
        }
        self.due.insert((due, name));
    }

    /// Asks for the names whose time has come; without any answer lately, for one more.
    fn ask_due(&mut self) {
        let now = self.now();
        let quiet = self.shared.facts.resolver.last_answer().is_none_or(|last| now.since(last) >= SIGN_OF_LIFE);
        while self.under_way.len() < LOOKUPS_MAX {
            let idle = quiet && self.under_way.is_empty();
            let Some((due, _)) = self.due.first() else { return };
            if *due > now && !idle {
                return;
            }
            let Some((_, name)) = self.due.pop_first() else { return };
            self.scheduled.remove(&name);
            self.ask(name);
        }
    }

    fn ask(&mut self, name: Arc<str>) {
        let lookups = self.lookups.clone();
        self.under_way.spawn(async move {
            let answer = match lookups {
                Some(lookups) => lookups.ask(&name).await,
                None => Answer::Failed("no name server is known".to_owned()),
            };
            (name, answer)
        });
    }

    async fn answered(&mut self, name: Arc<str>, answer: Answer) {
        let now = self.now();
        let Some(settings) = self.settings.clone() else { return };
        self.count(&name, &answer, &settings, now);
        let noted = self.shared.table().entry(&name).map(|entry| {
            let changed = entry.note(answer, &settings, now, unix_seconds());
            (changed, entry.due(&settings))
        });
        // A name that is no longer wanted has no entry.
        let Some((changed, due)) = noted else { return };
        self.schedule(Arc::clone(&name), due);
        if let Some(addresses) = changed {
            let _ = self.updates.send(DnsUpdate { hostname: name, addresses }).await;
        }
    }

    fn count(&self, name: &str, answer: &Answer, settings: &Settings, now: Instant) {
        let counts = &self.shared.counts;
        let add = |cell: &AtomicU64, n: usize| cell.fetch_add(n as u64, Ordering::Relaxed);
        match answer {
            Answer::Addresses { ips, .. } => {
                let denied: Vec<_> = ips.iter().filter(|&&ip| entry::is_denied(ip, &settings.deny_ips)).collect();
                denied.iter().for_each(|ip| (self.shared.found)(&denial(name, **ip)));
                add(&counts.denied, denied.len());
                add(&counts.answered, usize::from(denied.len() < ips.len()));
            }
            Answer::Absent => drop(add(&counts.absent, 1)),
            Answer::Failed(_) => drop(add(&counts.failed, 1)),
        }
        if !matches!(answer, Answer::Failed(_)) {
            self.shared.facts.resolver.answered(now);
        }
    }

    /// The first round is over once every name has been asked for, or its time is up.
    fn end_first_round(&mut self) {
        let Some(until) = self.first_round_until else { return };
        if self.now() >= until || self.shared.table().all_asked() {
            self.first_round_until = None;
            self.shared.facts.resolver.end_first_round();
        }
    }
}

/// That a name must not have an address.
fn denial(name: &str, ip: IpAddr) -> Denial<'_> {
    const A: u16 = 1;
    const AAAA: u16 = 28;
    Denial {
        host: name,
        fqdn: name,
        dst_ip: Some(ip.to_canonical()),
        proto: None,
        query_type: Some(if ip.is_ipv4() { A } else { AAAA }),
        reason: "denied_address",
        status: 0,
        ..Denial::new(Kind::DnsDeny, "resolver", "deny_ips", Reason::UpstreamDnsFailed)
    }
}

fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
