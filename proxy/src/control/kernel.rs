//! What joins the kernel half to the rest: what it is to do, whom it may never drop, whose connections it has cut.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::{mpsc, watch};
use weir_common::abi::drop as abi;

use super::audit::Audit;
use super::clients::Clients;
use super::port::Process;
use super::supervisor::Seen;
use super::{Clock, Facts};
use crate::base::{Instant, Reason};
use crate::config::raw;
use crate::config::value::KernelGroup;
use crate::kernel::status::{State, Status};
use crate::kernel::{self, Banned, EarlyDrop, Fed, Home, Kernel, Listening, RuleName, Samples, Wanted, Workers, allow};
use crate::policy::ban::Bans;
use crate::policy::finding::{self, Action, Denial};
use crate::policy::identity::Trust;
use crate::target::Live;

/// How often it is looked for what nobody tells: bound listeners, clients of the management API.
const LOOK: Duration = Duration::from_millis(250);
/// A worker whose last beat is older does not turn: two beats, so that its connections move within the second.
const BEAT_MAX: Duration = Duration::from_millis(500);
/// The warnings that the kernel half gives.
const WARNINGS: [&str; 11] = [
    "KERNEL_TOO_OLD",
    "BPF_CAPS_MISSING",
    "BPF_BLOCKED",
    "XDP_GENERIC",
    "XDP_UNSUPPORTED",
    "XDP_SLOT_BUSY",
    "CGROUP2_MISSING",
    "CGROUP_SHARED",
    "BTF_MISSING",
    "KERNEL_REFUSED",
    "KERNEL_MAP_FULL",
];

/// What the kernel half gets from the rest of control.
pub(super) struct Around {
    pub(super) clock: Clock,
    pub(super) facts: Arc<Facts>,
    pub(super) process: Arc<dyn Process>,
    pub(super) seen: Seen,
    pub(super) bans: watch::Receiver<Arc<Bans>>,
    pub(super) trust: watch::Receiver<Arc<Trust>>,
    pub(super) clients: Arc<Clients>,
    pub(super) audit: Arc<Audit>,
}

/// Starts the kernel half and what follows it. Runs within the runtime.
pub(super) fn start(around: Around, home: Option<Home>, fed: Fed, held: bool) -> Kernel {
    let (samples, drops) = Samples::channel();
    tokio::spawn(find(drops, Arc::clone(&around.audit), Arc::clone(&around.facts)));
    let workers = Arc::new(Fleet { process: Arc::clone(&around.process), facts: Arc::clone(&around.facts) });
    let (wanted_out, wanted) = watch::channel(Arc::new(around.wanted(&Arc::default())));
    let kernel = Kernel::start(kernel::Parts { home, clock: around.clock, wanted, fed, workers, samples, held });
    tokio::spawn(tell(kernel.watch(), around.seen.clone(), Arc::clone(&around.facts)));
    tokio::spawn(around.want(wanted_out));
    kernel
}

impl Around {
    /// Tells what is wanted, whenever it changes.
    async fn want(mut self, out: watch::Sender<Arc<Wanted>>) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        self.bans.mark_changed();
        let (mut bans, mut room) = (Arc::default(), None);
        loop {
            let kernel = self.kernel();
            if self.bans.has_changed().unwrap_or(false) || room != Some(kernel.prefixes_max) {
                room = Some(kernel.prefixes_max);
                let tables = Arc::clone(&self.bans.borrow_and_update());
                bans = banned(&tables, (self.clock)(), kernel.prefixes_max);
            }
            let wanted = self.wanted(&bans);
            out.send_if_modified(|known| {
                let changed = **known != wanted;
                if changed {
                    *known = Arc::new(wanted);
                }
                changed
            });
            tokio::select! {
                changed = self.seen.standing.changed() => if changed.is_err() { return },
                Ok(()) = self.bans.changed() => self.bans.mark_changed(),
                Ok(()) = self.trust.changed() => {}
                _ = looks.tick() => {}
            }
        }
    }

    fn kernel(&self) -> raw::Kernel {
        self.seen.standing().adopted.snapshot.document.kernel.clone()
    }

    fn wanted(&self, bans: &Arc<Banned>) -> Wanted {
        let standing = self.seen.standing();
        let document = &standing.adopted.snapshot.document;
        let trusted = self.trust.borrow().networks().iter().collect::<Vec<_>>();
        let clients = self.clients.recent((self.clock)()).into_iter().map(allow::host);
        let announcing = standing.adopted.snapshot.listeners.iter().flat_map(|plan| plan.proxies.networks());
        let allow = trusted.into_iter().chain(announcing).chain(clients).chain(endpoints(&standing.live));
        Wanted {
            kernel: document.kernel.clone(),
            bound: self.facts.bound().into_iter().map(|(address, _)| address).collect(),
            allow: allow.collect::<BTreeSet<_>>().into_iter().collect(),
            bans: Arc::clone(bans),
            rules: promoting(document),
        }
    }
}

fn endpoints(live: &Live) -> impl Iterator<Item = IpNet> {
    let address = |address: SocketAddr| allow::host(address.ip());
    live.endpoints().filter_map(move |(_, endpoint)| endpoint.address.map(address))
}

/// The rules whose denials may end in the kernel.
fn promoting(document: &raw::Document) -> BTreeSet<RuleName> {
    let rules = document.rate_limits.iter().filter(|rule| rule.enabled && rule.kernel.is_some());
    rules.map(|rule| RuleName { table: "rate_limit", name: rule.name.as_str().into() }).collect()
}

/// The bans that hold, as many of each IP version as there is room for.
fn banned(bans: &Bans, now: Instant, prefixes_max: u64) -> Arc<Banned> {
    let (mut banned, mut room, mut known) = (Banned::default(), [prefixes_max; 2], BTreeSet::new());
    for hit in bans.iter().filter(|hit| hit.ban.holds(now)) {
        let version = usize::from(matches!(hit.cidr, IpNet::V6(_)));
        // The document and the API may ban the same.
        if known.contains(&hit.cidr) {
            continue;
        }
        if room[version] == 0 {
            banned.left_out[version] += 1;
        } else {
            room[version] -= 1;
            known.insert(hit.cidr);
            banned.networks.push((hit.cidr, Arc::clone(&hit.ban.rule)));
        }
    }
    Arc::new(banned)
}

/// Has readiness say what the kernel half lacks.
async fn tell(mut status: watch::Receiver<Arc<Status>>, seen: Seen, facts: Arc<Facts>) {
    loop {
        let now = Arc::clone(&status.borrow_and_update());
        let required = &seen.standing().adopted.snapshot.document.kernel.required;
        facts.set_kernel_lost(lost(&now, required));
        for code in WARNINGS {
            let hints: Vec<&str> =
                now.warnings.iter().filter(|warning| warning.code == code).map(|warning| &*warning.hint).collect();
            facts.warn(code, (!hints.is_empty()).then(|| hints.join("; ")));
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// Makes findings of samples: as many as there are, which is what the kernel could tell.
async fn find(mut drops: mpsc::Receiver<EarlyDrop>, audit: Arc<Audit>, facts: Arc<Facts>) {
    while let Some(drop) = drops.recv().await {
        let listener = listener(&facts.bound(), drop.destination);
        let rule = drop.rule.as_ref().map_or(drop.cause.name(), |rule| &rule.name);
        let table = drop.rule.as_ref().map_or("kernel", |rule| rule.table);
        audit.found(&Denial {
            action: match drop.action {
                abi::Action::Drop => Action::Enforced,
                abi::Action::WouldDrop => Action::WouldDeny,
            },
            listener: &listener,
            dst_ip: Some(drop.destination.ip()),
            dst_port: Some(drop.destination.port()),
            client: Some(drop.source.ip()),
            ..Denial::new(finding::Kind::EarlyDrop, table, rule, Reason::KernelDenied)
        });
    }
}

/// The listener of an address, which may be bound to all of them.
fn listener(bound: &[(SocketAddr, String)], to: SocketAddr) -> String {
    let wildcard =
        |one: &SocketAddr| one.ip().is_unspecified() && one.is_ipv4() == to.is_ipv4() && one.port() == to.port();
    let exact = bound.iter().find(|(one, _)| *one == to);
    let found = exact.or_else(|| bound.iter().find(|(one, _)| wildcard(one)));
    found.map(|(_, name)| name.clone()).unwrap_or_default()
}

/// The first required group that does not run everywhere it should, and why. What was turned off is not lost.
fn lost(status: &Status, required: &[KernelGroup]) -> Option<String> {
    required.iter().find_map(|wanted| {
        let group = status.group(wanted.word());
        let why = match group {
            Some(group) if group.state == State::Attached || group.is_unwanted => return None,
            Some(group) => group.why.as_deref().unwrap_or("detached"),
            None => "not loaded yet",
        };
        Some(format!("{}: {why}", wanted.word()))
    })
}

/// The workers, as the kernel half sees them.
struct Fleet {
    process: Arc<dyn Process>,
    facts: Arc<Facts>,
}

impl Workers for Fleet {
    fn count(&self) -> usize {
        self.facts.workers().len()
    }

    fn cores(&self) -> Vec<usize> {
        crate::worker::cores()
    }

    fn serve(&self) -> bool {
        self.facts.applied() > 0
    }

    fn stalls(&self, worker: usize) -> bool {
        let facts = &self.facts.workers()[worker];
        let now = crate::worker::clock();
        facts.has_ended() || facts.last_beat().is_some_and(|beat| now.since(beat) >= BEAT_MAX)
    }

    fn share_listeners(&self, worker: usize, tell: &std::sync::mpsc::Sender<Vec<Listening>>) -> bool {
        self.process.share_listeners(worker, tell)
    }

    fn cut(&self, worker: usize, denied: &Arc<[IpNet]>) -> bool {
        self.process.cut(worker, denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::status::Group;
    use crate::policy::ban::{Ban, Origin, Table};

    #[test]
    fn required_part_is_lost_unless_it_is_attached_everywhere() {
        let group = |state| Group { state, ..Group::off("drop", "why not") };
        let of = |state| {
            let status = Status { groups: vec![group(state)], ..Status::default() };
            lost(&status, &[KernelGroup::Drop])
        };
        assert_eq!(of(State::Attached), None);
        for state in [State::Off, State::Failed, State::Partial] {
            assert_eq!(of(state).as_deref(), Some("drop: why not"));
        }
        for group in
            [Group::unwanted("flow", "performance mode is off"), Group::unwanted("steer", "there is one worker")]
        {
            let required = if group.name == "flow" { KernelGroup::Flow } else { KernelGroup::Steer };
            let status = Status { groups: vec![group], ..Status::default() };
            assert_eq!(lost(&status, &[required]), None);
        }
        assert_eq!(lost(&Status::default(), &[KernelGroup::Flow]).as_deref(), Some("flow: not loaded yet"));
        assert_eq!(lost(&Status::default(), &[]), None);
    }

    #[test]
    fn bans_without_room_are_counted_by_ip_version_and_those_made_twice_once() {
        let table = |cidrs: &[&str]| {
            let ban = Ban { rule: "list".into(), reason: "".into(), origin: Origin::Api, expires: None };
            let cidrs = cidrs.iter().map(|cidr| (cidr.parse().expect("a network"), 0));
            Arc::new(Table::build(vec![ban], cidrs))
        };
        let document = table(&["192.0.2.0/24", "2001:db8::/32"]);
        let bans = Bans::new(document, table(&["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]));
        let found = |room| {
            let banned = banned(&bans, Instant::from_nanos(1), room);
            (banned.networks.len(), banned.left_out)
        };
        assert_eq!(found(3), (4, [0, 0]));
        assert_eq!(found(2), (3, [1, 0]));
        assert_eq!(found(0).0, 0);
    }

    #[test]
    fn packets_belong_to_the_listener_of_their_address_or_of_all_addresses() {
        let bound = [("0.0.0.0:80", "all"), ("192.0.2.1:80", "one"), ("[::]:80", "six")];
        let bound = bound.map(|(address, name)| (address.parse().expect("an address"), name.to_owned()));
        let name = |to: &str| listener(&bound, to.parse().expect("an address"));
        assert_eq!([name("192.0.2.1:80"), name("192.0.2.2:80"), name("[2001:db8::1]:80")], ["one", "all", "six"]);
        assert_eq!(name("192.0.2.1:81"), "");
    }
}
