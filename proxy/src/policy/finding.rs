//! Denials, added up: a worker gathers equal ones for a moment and sends each kind on as one finding with a count.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::base::hash::BuildMix;
use crate::base::id::RequestId;
use crate::base::{Party, Reason};

/// Findings that a worker holds at a time, and further ones for what did not fit, without names.
const FINDINGS_MAX: usize = 1024;
const NAMELESS_MAX: usize = 256;
/// Clients that a finding names.
pub const CLIENTS_MAX: usize = 8;
/// Requests that a finding names.
pub const REQUESTS_MAX: usize = 5;
/// Octets of a name that are kept: what a host name may have (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 255;
/// Stands for the names that did not fit.
pub const OTHER: &str = "_other";

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident, $token:literal;)*) => {
        /// What was denied.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Kind { $($(#[doc = $doc])+ $name,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The `finding_type` of answers.
            pub const fn token(self) -> &'static str {
                match self { $(Self::$name => $token,)* }
            }
        }
    };
}

kinds! {
    /// A request over a rate limit.
    RateLimited, "rate_limited";
    /// Packets that the kernel dropped before a connection.
    EarlyDrop, "early_drop";
    /// A connection or request of somebody who is banned.
    Banned, "banned";
    /// A connection, or a request beside others, too many of one client.
    ConnectionLimit, "connection_limit";
    /// A request whose form breaks a rule.
    BadRequest, "bad_request";
    /// An address that a name must not have.
    DnsDeny, "dns_deny";
    /// A TLS handshake that is not had here: of this version or protocol, for this name, with this certificate.
    TlsDeny, "tls_deny";
    /// Files of a listener's certificates that cannot be used: those before stay.
    TlsMaterialRejected, "tls_material_rejected";
}

impl Kind {
    /// What a request that ended so was denied for; none if it was not.
    pub fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::RateLimited => Some(Self::RateLimited),
            Reason::KernelDenied => Some(Self::EarlyDrop),
            Reason::Banned => Some(Self::Banned),
            Reason::ConnectionLimit | Reason::ClientConcurrency => Some(Self::ConnectionLimit),
            Reason::TlsVersion | Reason::TlsAlpn | Reason::TlsUnknownSni | Reason::TlsClientCert => Some(Self::TlsDeny),
            // The proxy ended it (P) for what the client sent.
            _ if reason.party() == Party::Client && reason.term().starts_with('P') => Some(Self::BadRequest),
            _ => None,
        }
    }

    /// Whether denials of different sources are different findings.
    const fn is_by_source(self) -> bool {
        matches!(self, Self::EarlyDrop | Self::Banned)
    }
}

/// Whether it was done.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// It was denied.
    Enforced,
    /// It would have been, were the rule not in shadow mode.
    WouldDeny,
}

impl Action {
    /// A word for answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::WouldDeny => "would_deny",
        }
    }
}

/// One denial, or several at once, as whoever denies sees it. Names that do not apply are empty.
#[derive(Clone, Copy, Debug)]
pub struct Denial<'a> {
    /// What was denied.
    pub kind: Kind,
    /// Whether it was.
    pub action: Action,
    /// The document's table that the rule stands in: `rate_limit`, `ban`, `connections`; `http` for rules of the form.
    pub table: &'static str,
    /// The rule's name; for rules of the form the reason.
    pub rule: &'a str,
    /// The listener's name.
    pub listener: &'a str,
    /// The request's host.
    pub host: &'a str,
    /// The name that the client asked for in TLS.
    pub sni: &'a str,
    /// A name that was resolved.
    pub fqdn: &'a str,
    /// Where it was to go.
    pub dst_ip: Option<IpAddr>,
    /// Its port.
    pub dst_port: Option<u16>,
    /// The protocol's number in IP.
    pub proto: Option<u8>,
    /// The record type of a DNS question.
    pub query_type: Option<u16>,
    /// Whose it was.
    pub client: Option<IpAddr>,
    /// The final reason.
    pub reason: &'static str,
    /// The answer's status; 0: there was none.
    pub status: u16,
    /// The request.
    pub request: Option<RequestId>,
    /// How many.
    pub times: u64,
}

impl<'a> Denial<'a> {
    /// One denial of TCP by a rule, enforced, of which nothing else is known.
    pub const fn new(kind: Kind, table: &'static str, rule: &'a str, reason: Reason) -> Self {
        const TCP: u8 = 6;
        Self {
            kind,
            action: Action::Enforced,
            table,
            rule,
            listener: "",
            host: "",
            sni: "",
            fqdn: "",
            dst_ip: None,
            dst_port: None,
            proto: Some(TCP),
            query_type: None,
            client: None,
            reason: reason.token(),
            status: reason.status(),
            request: None,
            times: 1,
        }
    }

    /// The same without what clients choose.
    fn nameless(self) -> Self {
        Self { host: OTHER, sni: "", fqdn: "", ..self }
    }

    fn source(&self) -> Option<IpAddr> {
        self.client.filter(|_| self.kind.is_by_source() && self.host != OTHER)
    }
}

/// What denials of one finding have in common.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "the fields of Denial")]
pub struct Key {
    pub kind: Kind,
    pub action: Action,
    pub table: &'static str,
    pub rule: Box<str>,
    pub listener: Box<str>,
    pub host: Box<str>,
    pub sni: Box<str>,
    pub fqdn: Box<str>,
    pub dst_ip: Option<IpAddr>,
    pub dst_port: Option<u16>,
    pub proto: Option<u8>,
    pub query_type: Option<u16>,
    /// Only where denials of different sources are different findings.
    pub source: Option<IpAddr>,
}

impl Key {
    fn of(denial: &Denial<'_>) -> Self {
        let boxed = |name: &str| cut(name).into();
        Self {
            kind: denial.kind,
            action: denial.action,
            table: denial.table,
            rule: denial.rule.into(),
            listener: denial.listener.into(),
            host: boxed(denial.host),
            sni: boxed(denial.sni),
            fqdn: boxed(denial.fqdn),
            dst_ip: denial.dst_ip,
            dst_port: denial.dst_port,
            proto: denial.proto,
            query_type: denial.query_type,
            source: denial.source(),
        }
    }

    fn fits(&self, denial: &Denial<'_>) -> bool {
        let names = [(&self.host, denial.host), (&self.sni, denial.sni), (&self.fqdn, denial.fqdn)];
        (self.kind, self.action, self.table) == (denial.kind, denial.action, denial.table)
            && (&*self.rule, &*self.listener) == (denial.rule, denial.listener)
            && names.iter().all(|(own, other)| ***own == *cut(other))
            && (self.dst_ip, self.dst_port, self.proto) == (denial.dst_ip, denial.dst_port, denial.proto)
            && (self.query_type, self.source) == (denial.query_type, denial.source())
    }
}

/// As much of a name as is kept.
fn cut(name: &str) -> &str {
    let end = (0..=NAME_MAX.min(name.len())).rev().find(|end| name.is_char_boundary(*end));
    &name[..end.unwrap_or(0)]
}

/// Equal denials, added up.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// What they have in common.
    pub key: Key,
    /// The last one's reason.
    pub reason: &'static str,
    /// The last one's status.
    pub status: u16,
    /// How many.
    pub count: u64,
    /// Unix seconds of the first and the last.
    pub seen: (u64, u64),
    /// Who caused most of them.
    pub clients: Clients,
    /// The last requests.
    pub requests: Requests,
}

impl Finding {
    /// A finding of these denials alone.
    pub fn of(denial: &Denial<'_>, unix_s: u64) -> Self {
        let mut finding = Self {
            key: Key::of(denial),
            reason: denial.reason,
            status: denial.status,
            count: 0,
            seen: (unix_s, unix_s),
            clients: Clients::default(),
            requests: Requests::default(),
        };
        finding.add(denial, unix_s);
        finding
    }

    fn add(&mut self, denial: &Denial<'_>, unix_s: u64) {
        self.count += denial.times;
        // The wall clock may have been set back.
        self.seen = (self.seen.0.min(unix_s), self.seen.1.max(unix_s));
        (self.reason, self.status) = (denial.reason, denial.status);
        if let Some(client) = denial.client {
            self.clients.add(client, denial.times);
        }
        if let Some(request) = denial.request {
            self.requests.add(request);
        }
    }
}

/// The clients with most denials. Misra and Gries: whoever has more than a ninth of all is among them, and the counts
/// are too low by a ninth of all at most, never too high.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Clients(Vec<(IpAddr, u64)>);

impl Clients {
    /// Counts denials of a client.
    pub fn add(&mut self, client: IpAddr, mut times: u64) {
        if let Some((_, count)) = self.0.iter_mut().find(|(known, _)| *known == client) {
            *count = count.saturating_add(times);
            return;
        }
        if self.0.len() == CLIENTS_MAX {
            let least = self.0.iter().map(|(_, count)| *count).min().unwrap_or_default().min(times);
            self.0.iter_mut().for_each(|(_, count)| *count -= least);
            self.0.retain(|(_, count)| *count > 0);
            times -= least;
        }
        if times > 0 {
            self.0.push((client, times));
        }
    }

    /// They, with how often at least.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, u64)> {
        self.0.iter().copied()
    }
}

/// The last requests of a finding, the newest last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Requests(Vec<RequestId>);

impl Requests {
    /// Adds a newer one.
    pub fn add(&mut self, request: RequestId) {
        if self.0.len() == REQUESTS_MAX {
            self.0.remove(0);
        }
        self.0.push(request);
    }

    /// They, the newest last.
    pub fn iter(&self) -> impl Iterator<Item = RequestId> {
        self.0.iter().copied()
    }
}

/// A worker's findings of the moment. Bounded: what does not fit is counted under [`OTHER`] while there is room there.
#[derive(Default)]
pub struct Findings {
    table: HashMap<u64, Finding, BuildMix>,
    /// Keyed by chance: hosts are chosen by clients.
    hashes: RandomState,
}

impl Findings {
    /// Adds a denial to its finding; false if it is lost. Only a finding's first denial allocates.
    pub fn add(&mut self, denial: &Denial<'_>, unix_s: u64) -> bool {
        self.put(denial, unix_s, FINDINGS_MAX) || self.put(&denial.nameless(), unix_s, FINDINGS_MAX + NAMELESS_MAX)
    }

    fn put(&mut self, denial: &Denial<'_>, unix_s: u64, max: usize) -> bool {
        let hash = self.hash(denial);
        if let Some(finding) = self.table.get_mut(&hash) {
            // A collision of 64 keyed bits is as rare as a lost denial may be.
            let fits = finding.key.fits(denial);
            if fits {
                finding.add(denial, unix_s);
            }
            return fits;
        }
        let has_room = self.table.len() < max;
        if has_room {
            self.table.insert(hash, Finding::of(denial, unix_s));
        }
        has_room
    }

    fn hash(&self, denial: &Denial<'_>) -> u64 {
        let names = (denial.table, denial.rule, denial.listener, cut(denial.host), cut(denial.sni), cut(denial.fqdn));
        let rest = (denial.dst_ip, denial.dst_port, denial.proto, denial.query_type, denial.source());
        self.hashes.hash_one((denial.kind, denial.action, names, rest))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Gives them all away.
    pub fn take(&mut self) -> Vec<Finding> {
        let found = self.table.drain().map(|(_, finding)| finding).collect();
        self.table.shrink_to(FINDINGS_MAX / 16);
        found
    }
}

/// Batches that may wait for control, which takes them each 100 ms.
const BATCHES_MAX: usize = 256;

/// The way of findings from all workers to control.
pub struct Outlet {
    batches: ArrayQueue<Vec<Finding>>,
    unwanted: AtomicBool,
}

impl Default for Outlet {
    fn default() -> Self {
        Self { batches: ArrayQueue::new(BATCHES_MAX), unwanted: AtomicBool::new(false) }
    }
}

impl Outlet {
    /// Queues a batch. What comes back is lost: count its denials under [`crate::base::metric::Queue::Finding`].
    pub fn send(&self, batch: Vec<Finding>) -> Result<(), Vec<Finding>> {
        self.batches.push(batch)
    }

    /// Says whether findings are wanted.
    pub fn want(&self, wanted: bool) {
        self.unwanted.store(!wanted, Ordering::Relaxed);
    }

    /// Whether findings are wanted: in performance mode nobody collects any.
    pub fn is_wanted(&self) -> bool {
        !self.unwanted.load(Ordering::Relaxed)
    }

    /// The oldest batch that waits.
    pub fn take(&self) -> Option<Vec<Finding>> {
        self.batches.pop()
    }
}

#[cfg(test)]
mod tests;
