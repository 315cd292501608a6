//! Who is banned: immutable tables of addresses, one from the document and one from the API, looked up in both.
//!
//! CIDRs nest or are apart, they never overlap in part. Sorted by first address, shorter prefix first, the last one
//! that does not begin after an address holds it, or has an ancestor that does, or nothing holds it. So a table is the
//! sorted list and each CIDR's parent: 13 octets for an IPv4 one, 25 for an IPv6 one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::base::Instant;

/// CIDRs that the document's bans may have together.
pub const STATIC_MAX: usize = 1_000_000;
/// Bans that the API may make.
pub const DYNAMIC_MAX: usize = 65_536;

/// Who made a ban.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Origin {
    /// A `[[ban]]` of the document.
    Document,
    /// The API.
    Api,
}

impl Origin {
    /// A word for answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Api => "api",
        }
    }
}

/// What all addresses of a ban share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ban {
    /// What findings, logs and explain call it: its CIDR, or the file that its CIDRs stand in.
    pub rule: Arc<str>,
    /// Why, in the words of whoever made it; may be empty.
    pub reason: Arc<str>,
    /// When it ends; none: not by itself.
    pub expires: Option<Instant>,
    /// Who made it.
    pub origin: Origin,
}

impl Ban {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

/// A ban that an address is in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hit<'a> {
    /// The narrowest CIDR that holds the address and has not expired.
    pub cidr: IpNet,
    /// Its ban.
    pub ban: &'a Ban,
}

/// Both tables, as workers and the kernel half get them.
#[derive(Clone, Default)]
pub struct Bans {
    document: Arc<Table>,
    api: Arc<Table>,
}

impl Bans {
    /// The document's and the API's together.
    pub fn new(document: Arc<Table>, api: Arc<Table>) -> Self {
        Self { document, api }
    }

    /// The ban that `ip` is in at `now`: the document's before the API's, of each the narrowest.
    pub fn lookup(&self, ip: IpAddr, now: Instant) -> Option<Hit<'_>> {
        self.document.lookup(ip, now).or_else(|| self.api.lookup(ip, now))
    }

    /// Whether nobody is banned.
    pub fn is_empty(&self) -> bool {
        self.document.is_empty() && self.api.is_empty()
    }

    /// All CIDRs with their bans, expired ones too; within a table by address, outer ones first.
    pub fn iter(&self) -> impl Iterator<Item = Hit<'_>> {
        self.document.iter().chain(self.api.iter())
    }

    /// Whether both say the same, without looking into them.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.document, &other.document) && Arc::ptr_eq(&self.api, &other.api)
    }
}

/// The CIDRs of one side.
#[derive(Default)]
pub struct Table {
    bans: Vec<Ban>,
    v4: Sorted<u32>,
    v6: Sorted<u128>,
}

impl Table {
    /// A table of `bans`, each with CIDRs that name it by its place. Of equal CIDRs the ban that lasts longest stays.
    pub fn build(bans: Vec<Ban>, cidrs: impl IntoIterator<Item = (IpNet, u32)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (cidr, ban) in cidrs {
            match canonical(cidr) {
                IpNet::V4(net) => v4.push(Cidr { first: net.network().to_bits(), length: net.prefix_len(), ban }),
                IpNet::V6(net) => v6.push(Cidr { first: net.network().to_bits(), length: net.prefix_len(), ban }),
            }
        }
        let (v4, v6) = (Sorted::build(v4, &bans), Sorted::build(v6, &bans));
        Self { bans, v4, v6 }
    }

    /// The narrowest CIDR that holds `ip`, among those that have not expired.
    pub fn lookup(&self, ip: IpAddr, now: Instant) -> Option<Hit<'_>> {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.find(ip.to_bits(), &self.bans, now).map(|at| self.hit_v4(at)),
            IpAddr::V6(ip) => self.v6.find(ip.to_bits(), &self.bans, now).map(|at| self.hit_v6(at)),
        }
    }

    /// When, after `now`, the next ban ends.
    pub fn next_end(&self, now: Instant) -> Option<Instant> {
        self.bans.iter().filter_map(|ban| ban.expires).filter(|end| *end > now).min()
    }

    /// How many CIDRs each ban has, by its place.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.bans.len()];
        self.v4.ban.iter().chain(&self.v6.ban).for_each(|ban| counts[*ban as usize] += 1);
        counts
    }

    /// How many CIDRs it has.
    pub fn len(&self) -> usize {
        self.v4.first.len() + self.v6.first.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All CIDRs by address, outer ones first; IPv4 before IPv6.
    pub fn iter(&self) -> impl Iterator<Item = Hit<'_>> {
        let v4 = (0..self.v4.first.len()).map(|at| self.hit_v4(at));
        v4.chain((0..self.v6.first.len()).map(|at| self.hit_v6(at)))
    }

    fn hit_v4(&self, at: usize) -> Hit<'_> {
        let net = Ipv4Net::new(Ipv4Addr::from_bits(self.v4.first[at]), self.v4.length[at]).unwrap_or_default();
        Hit { cidr: net.into(), ban: &self.bans[self.v4.ban[at] as usize] }
    }

    fn hit_v6(&self, at: usize) -> Hit<'_> {
        let net = Ipv6Net::new(Ipv6Addr::from_bits(self.v6.first[at]), self.v6.length[at]).unwrap_or_default();
        Hit { cidr: net.into(), ban: &self.bans[self.v6.ban[at] as usize] }
    }
}

/// A CIDR as people write it: host bits off, IPv4-mapped as IPv4.
pub fn canonical(cidr: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    match cidr.trunc() {
        IpNet::V6(net) if net.prefix_len() >= MAPPED => {
            let mapped = net.network().to_ipv4_mapped().and_then(|ip| Ipv4Net::new(ip, net.prefix_len() - MAPPED).ok());
            mapped.map_or(IpNet::V6(net), IpNet::V4)
        }
        other => other,
    }
}

/// An address as a number.
trait Bits: Copy + Ord {
    const WIDTH: u8;
    /// Whether `self` and `other` agree in their first `length` bits.
    fn agrees(self, other: Self, length: u8) -> bool;
}

impl Bits for u32 {
    const WIDTH: u8 = 32;

    fn agrees(self, other: Self, length: u8) -> bool {
        (self ^ other).checked_shr(u32::from(Self::WIDTH - length)).unwrap_or(0) == 0
    }
}

impl Bits for u128 {
    const WIDTH: u8 = 128;

    fn agrees(self, other: Self, length: u8) -> bool {
        (self ^ other).checked_shr(u32::from(Self::WIDTH - length)).unwrap_or(0) == 0
    }
}

struct Cidr<B> {
    first: B,
    length: u8,
    ban: u32,
}

/// No parent.
const ROOT: u32 = u32::MAX;
/// From one sample of the first addresses to the next: the samples of a million fit the nearest caches.
const STRIDE: usize = 256;

/// CIDRs by first address, then by length, a column each: the search reads only the first.
#[derive(Default)]
struct Sorted<B> {
    first: Vec<B>,
    length: Vec<u8>,
    ban: Vec<u32>,
    /// Place of the narrowest other CIDR that holds this one.
    parent: Vec<u32>,
    /// Every [`STRIDE`]th of `first`.
    samples: Vec<B>,
}

impl<B: Bits> Sorted<B> {
    fn build(mut cidrs: Vec<Cidr<B>>, bans: &[Ban]) -> Self {
        // What lasts longest comes first, and the others are dropped: none is longest.
        let left = |cidr: &Cidr<B>| bans[cidr.ban as usize].expires.map_or(u64::MAX, Instant::nanos);
        cidrs.sort_unstable_by_key(|cidr| (cidr.first, cidr.length, std::cmp::Reverse(left(cidr)), cidr.ban));
        cidrs.dedup_by_key(|cidr| (cidr.first, cidr.length));
        let mut open: Vec<u32> = Vec::new();
        let mut parent = Vec::with_capacity(cidrs.len());
        for (at, cidr) in cidrs.iter().enumerate() {
            let holds = |outer: &u32| {
                let outer = &cidrs[*outer as usize];
                cidr.first.agrees(outer.first, outer.length)
            };
            while open.pop_if(|outer| !holds(outer)).is_some() {}
            parent.push(open.last().copied().unwrap_or(ROOT));
            open.push(u32::try_from(at).unwrap_or(ROOT));
        }
        Self {
            samples: cidrs.iter().step_by(STRIDE).map(|cidr| cidr.first).collect(),
            first: cidrs.iter().map(|cidr| cidr.first).collect(),
            length: cidrs.iter().map(|cidr| cidr.length).collect(),
            ban: cidrs.iter().map(|cidr| cidr.ban).collect(),
            parent,
        }
    }

    /// The place of the narrowest CIDR that holds `ip` and whose ban holds at `now`.
    fn find(&self, ip: B, bans: &[Ban], now: Instant) -> Option<usize> {
        let mut at = self.last_not_after(ip)?;
        loop {
            if ip.agrees(self.first[at], self.length[at]) && bans[self.ban[at] as usize].holds(now) {
                return Some(at);
            }
            at = Some(self.parent[at]).filter(|parent| *parent != ROOT)? as usize;
        }
    }

    /// The last that does not begin after `ip`.
    fn last_not_after(&self, ip: B) -> Option<usize> {
        let block = self.samples.partition_point(|first| *first <= ip).checked_sub(1)? * STRIDE;
        let end = self.first.len().min(block + STRIDE);
        Some(block + self.first[block..end].partition_point(|first| *first <= ip) - 1)
    }
}

#[cfg(test)]
mod tests;
