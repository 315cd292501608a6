//! The step from 429 to the network card: which clients a rule has denied so often that the kernel is to drop them.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::identity::Identity;
use super::limit::Tables;
use super::limit::algorithm::{Algorithm, Start, Step, exchange};
use super::limit::key::KeyPlan;
use super::limit::store::{Now, bytes};
use super::limit::tables::Table;
use crate::base::Instant;
use crate::config::raw::KernelTier;

/// Clients whose denials are counted at once; of more than these, those silent longest are forgotten.
const CLIENTS: u64 = 65_536;
/// Octets of a rule's count of denials.
pub const BYTES: u64 = bytes::<AtomicU64>(CLIENTS);

const _: () = assert!(BYTES < 3 << 20, "a tier stays small beside its rule's table");

/// Bits of an address that are one client.
const IPV4_PREFIX: u8 = 32;
const IPV6_PREFIX: u8 = 64;

/// The kernel tier of one rule.
pub struct Tier {
    window: Window,
    /// Nanoseconds.
    idle: u64,
    ttl: Duration,
    ttl_max: Duration,
    table: &'static str,
    rule: Arc<str>,
    plan: KeyPlan,
    counts: Arc<Table>,
}

/// A client that the kernel is to drop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promotion {
    /// A /32 or a /64.
    pub address: IpNet,
    /// The rule's table in the document: `rate_limit`.
    pub table: &'static str,
    /// The rule's name.
    pub rule: Arc<str>,
    /// For how long, the first time.
    pub ttl: Duration,
    /// For how long at most, doubled with each relapse.
    pub ttl_max: Duration,
}

/// What one more denial comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tiered {
    /// Not enough yet.
    Counted,
    /// Enough: the count begins anew.
    Promoted(Promotion),
    /// Enough, but the packets are a proxy's: the address is not the connection's other end.
    NotPeer,
}

impl Tier {
    /// The tier of the rule whose table `counts` is; denials that are counted there stay.
    pub(super) fn build(raw: &KernelTier, rule: &str, counts: &Arc<Table>, tables: &Tables) -> Self {
        counts.denials(CLIENTS);
        Self {
            window: Window { after: raw.after, within: millis(raw.within) },
            idle: nanos(raw.within * 2),
            ttl: raw.ttl,
            ttl_max: raw.ttl_max,
            table: "rate_limit",
            rule: rule.into(),
            plan: KeyPlan::new(&[], IPV4_PREFIX, IPV6_PREFIX, tables.secret()),
            counts: counts.clone(),
        }
    }

    /// Counts an enforced denial of a client. A client that nobody knows is not counted.
    pub fn denied(&self, client: Identity, now: Instant) -> Tiered {
        let Some(address) = client.ip() else { return Tiered::Counted };
        // Denials of a client that a proxy names never add to those of the peer that has its address.
        let key = self.plan.address_key(u8::from(client.is_peer()), address);
        let now = Now { ns: now.nanos(), idle: self.idle };
        // Who finds no room is not promoted: this errs towards serving.
        let over = self.counts.denials(CLIENTS).charge(&self.window, key, now).unwrap_or(false);
        match (over, client.is_peer()) {
            (false, _) => Tiered::Counted,
            (true, false) => {
                self.counts.unpromoted.fetch_add(1, Ordering::Relaxed);
                Tiered::NotPeer
            }
            (true, true) => Tiered::Promoted(self.promotion(address)),
        }
    }

    fn promotion(&self, address: IpAddr) -> Promotion {
        Promotion {
            address: client_net(address),
            table: self.table,
            rule: self.rule.clone(),
            ttl: self.ttl,
            ttl_max: self.ttl_max,
        }
    }
}

/// The net that is one client.
fn client_net(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(v4) => Ipv4Net::from(v4).into(),
        IpAddr::V6(v6) => {
            let net = Ipv6Addr::from(u128::from(v6) & u128::MAX << (128 - u32::from(IPV6_PREFIX)));
            Ipv6Net::new(net, IPV6_PREFIX).map_or(Ipv6Net::from(net), |net| net).into()
        }
    }
}

/// Counts denials from a client's first one on, for so long; the next one begins anew. A state is the millisecond of the
/// first above the count.
struct Window {
    after: u64,
    /// Milliseconds.
    within: u64,
}

/// More than the largest `after`.
const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

const _: () = assert!(COUNT_MAX > 1_000_000, "the largest allowed count fits");

impl Window {
    fn step(&self, state: u64, now_ms: u64) -> Step<bool> {
        let (first, count) = (state >> COUNT_BITS, state & COUNT_MAX);
        let over = count == 0 || now_ms.saturating_sub(first) >= self.within;
        let (first, count) = if over { (now_ms, 0) } else { (first, count) };
        match count >= self.after {
            true => Step::To(0, true),
            false => Step::To(first << COUNT_BITS | (count + 1), false),
        }
    }
}

impl Algorithm for Window {
    type Cell = AtomicU64;
    type Outcome = bool;

    fn begin(&self, cell: &AtomicU64, _: Start, _: u64) {
        // Nobody is dropped for what another did.
        cell.store(0, Ordering::Relaxed);
    }

    fn charge(&self, cell: &AtomicU64, now: u64, held: impl Fn() -> bool) -> Option<bool> {
        exchange(cell, held, |state| self.step(state, now / 1_000_000))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
