//! A route's targets, compiled: sides of the split, priority groups, what each target is, and the rules for choosing.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::health::Check;
use super::outlier::Rules;
use super::sticky::Sticky;
use crate::config::value::{Balance, HashKey, TargetProtocol};
use crate::listen::proxy_protocol::Version;
use crate::tls::Outgoing;

mod compile;

pub use compile::{Context, Secure, compile};

/// The group model of one route: immutable, shared by every worker of a generation.
#[derive(Debug)]
pub struct Groups {
    /// The route's number.
    pub route: u32,
    /// Enabled and disabled targets, ordered by (position, place in the document).
    pub targets: Vec<Target>,
    /// The sides of the split, or one side without a name.
    pub sides: Vec<Side>,
    /// All sides' groups, a side's in rising priority_group. A disabled target is in none.
    pub groups: Vec<Group>,
    /// What a keyed split hashes; `None`: random, or no split.
    pub split_key: Option<HashKey>,
    /// The balancing policy.
    pub balance: Balance,
    /// What the hash policies hash.
    pub hash_key: HashKey,
    /// Sticky cookies.
    pub sticky: Option<Sticky>,
    /// Weight rises over this long after ill health or discovery.
    pub slow_start: Duration,
    /// Below this share of usable endpoints health is ignored.
    pub panic_percent: u32,
    /// Whether a route without a usable target uses all of its lowest group.
    pub use_all: bool,
    /// Limits of endpoints and queues.
    pub limits: Limits,
    /// Passive ejection.
    pub outlier: Option<Rules>,
}

/// Limits of a route's endpoints and queues; 0 is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Requests in flight at one endpoint, over all workers.
    pub inflight_max: u32,
    /// Connections to one endpoint, over all workers.
    pub connections_max: u32,
    /// Requests that wait in one group and worker.
    pub queue_max: u32,
    /// How long a request waits; zero: not at all.
    pub queue_timeout: Duration,
}

/// A configured destination.
#[derive(Debug)]
pub struct Target {
    /// Unique within the route.
    pub name: Box<str>,
    /// A disabled one is shown, never used.
    pub enabled: bool,
    /// Where it goes.
    pub kind: Kind,
    /// What is spoken there; of no meaning for a static answer.
    pub protocol: TargetProtocol,
    /// How it learns whose connection it gets.
    pub announces: Option<Version>,
    /// 0 is tried first.
    pub priority_group: u8,
    /// 1 to 1,000,000.
    pub weight: u32,
    /// Its side of the split, by index.
    pub side: u16,
    /// Its group, by index; `None` if disabled.
    pub group: Option<u16>,
    /// Active checks.
    pub health: Option<Arc<Check>>,
}

/// Where a target goes.
#[derive(Debug)]
pub enum Kind {
    /// To the endpoints of an origin.
    Origin(Origin),
    /// Nowhere: weir answers.
    Static(Arc<Static>),
}

/// An origin (RFC 6454 section 4: scheme, host, port).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// Host and port as written: the Host a request gets, and the ketama ring's name.
    pub authority: Box<str>,
    /// A name for the resolver, or an address.
    pub host: Host,
    /// 80, or 443 over TLS, unless written.
    pub port: u16,
    /// What its sessions go by, if its scheme is https.
    pub tls: Option<Arc<Outgoing>>,
    /// The same for what only HTTP/1.1 can carry, where the origin may choose.
    pub tls_http1: Option<Arc<Outgoing>>,
}

/// The host of an origin.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// An address: resolved at once, for ever.
    Address(IpAddr),
    /// A name, lower case, without a trailing dot.
    Name(Box<str>),
}

/// The response of a static target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Static {
    /// 200 to 599.
    pub status: u16,
    /// Fields as written, a name for each line.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The body, not sent to HEAD or with 204 and 304.
    pub body: Arc<[u8]>,
}

/// One side of a split.
#[derive(PartialEq, Eq, Debug)]
pub struct Side {
    /// Empty where there is no split.
    pub name: Box<str>,
    /// Its share; 0: none.
    pub weight: u32,
    /// Its groups in [`Groups::groups`].
    pub groups: Range<usize>,
}

/// The enabled targets of one side and one priority_group.
#[derive(PartialEq, Eq, Debug)]
pub struct Group {
    /// Which side.
    pub side: u16,
    /// Which priority_group.
    pub priority: u8,
    /// Indices of its targets, in order.
    pub targets: Vec<u16>,
}

impl Balance {
    /// Whether a key decides.
    pub fn is_hash(self) -> bool {
        matches!(self, Self::HashKetama | Self::HashMaglev)
    }

    /// Whether it picks endpoints straight away, which share their target's weight; the others pick a target, then
    /// its endpoints in turn.
    pub fn picks_endpoints(self) -> bool {
        self.is_hash() || self == Self::P2cEwma
    }

    /// Whether weights count.
    pub fn is_weighted(self) -> bool {
        let weighted = [Self::WeightedRoundRobin, Self::WeightedRandom, Self::WeightedLeastActiveRequests];
        self.picks_endpoints() || weighted.contains(&self)
    }
}

impl Origin {
    /// The scheme of its URL.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}

impl Target {
    /// The origin, if it has one.
    pub fn origin(&self) -> Option<&Origin> {
        match &self.kind {
            Kind::Origin(origin) => Some(origin),
            Kind::Static(_) => None,
        }
    }

    /// The static response, if it is one.
    pub fn fixed(&self) -> Option<&Arc<Static>> {
        match &self.kind {
            Kind::Origin(_) => None,
            Kind::Static(response) => Some(response),
        }
    }
}

impl Groups {
    /// Whether a request of this group bypasses the cache: one of its targets is static.
    pub fn bypasses_cache(&self, group: u16) -> bool {
        let targets = self.groups.get(usize::from(group)).map_or(&[][..], |group| &group.targets);
        targets.iter().any(|&target| self.targets[usize::from(target)].fixed().is_some())
    }

    /// The side's name, empty where there is no split.
    pub fn side_name(&self, group: u16) -> &str {
        self.groups.get(usize::from(group)).map_or("", |group| &self.sides[usize::from(group.side)].name)
    }

    /// Host names that the resolver has to answer for, with the target's index.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str, u16)> {
        self.targets.iter().enumerate().filter(|(_, target)| target.enabled).filter_map(|(at, target)| {
            match target.origin() {
                Some(Origin { host: Host::Name(name), port, .. }) => Some((at, &**name, *port)),
                _ => None,
            }
        })
    }
}
