//! Who is denied in the kernel, by which rule, until when; what was refused, and why. A model without a map or a clock.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::allow::{Allow, canonical};
use crate::base::Instant;
use crate::policy::tier::Promotion;

/// Promotions of one second; more are refused.
const PROMOTIONS_MAX: u32 = 1000;
/// The most specific IPv6 network that is denied: a client may have a whole one.
const V6_BITS: u8 = 64;

/// A rule of a table of the document.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleName {
    /// The table: `rate_limit`.
    pub table: &'static str,
    /// The rule's name there.
    pub name: Arc<str>,
}

/// Who has denied a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum By {
    /// A rule.
    Rule(RuleName),
    /// An operator, with a reason in their own words.
    Operator(Arc<str>),
}

/// One denied source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// By whom.
    pub by: By,
    /// Since when.
    pub since: Instant,
    /// Until when.
    pub expires: Instant,
    /// For how long, in all.
    pub ttl: Duration,
    /// Packets dropped, but for those that the map counts now.
    pub packets: u64,
    /// Their octets, likewise.
    pub bytes: u64,
}

/// Why a source is not denied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Some of its addresses are never dropped.
    Allowed,
    /// There is no room.
    Full,
    /// There were too many promotions within a second.
    TooFast,
    /// The drop program does not run.
    Off,
}

impl Refused {
    /// All, as metrics show them.
    pub const ALL: [Self; 4] = [Self::Allowed, Self::Full, Self::TooFast, Self::Off];

    /// A word for metrics and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Full => "full",
            Self::TooFast => "rate",
            Self::Off => "off",
        }
    }
}

/// What a relapse is measured by.
struct Past {
    ttl: Duration,
    /// After that it is forgotten.
    until: Instant,
}

/// The denied sources.
pub struct Deny {
    entries: BTreeMap<IpNet, Entry>,
    past: HashMap<IpNet, Past>,
    entries_max: usize,
    /// The second that promotions are counted in, and how many there were.
    second: (Instant, u32),
    promoted: u64,
    refused: [u64; Refused::ALL.len()],
}

impl Deny {
    /// Nobody is denied.
    pub fn new(entries_max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            past: HashMap::new(),
            entries_max,
            second: (Instant::default(), 0),
            promoted: 0,
            refused: [0; Refused::ALL.len()],
        }
    }

    /// Denies a client for a rule. None: it is denied already.
    ///
    /// # Errors
    /// Why it is not denied, which is counted.
    pub fn promote(&mut self, promotion: Promotion, allow: &Allow, now: Instant) -> Result<Option<IpNet>, Refused> {
        let outcome = self.try_promote(promotion, allow, now);
        match outcome {
            Ok(Some(_)) => self.promoted += 1,
            Ok(None) => {}
            Err(why) => self.refuse(why),
        }
        outcome
    }

    fn try_promote(&mut self, promotion: Promotion, allow: &Allow, now: Instant) -> Result<Option<IpNet>, Refused> {
        let Promotion { address, table, rule, ttl, ttl_max } = promotion;
        let source = key(address).ok_or(Refused::Allowed)?;
        if self.entries.get(&source).is_some_and(|entry| now < entry.expires) {
            return Ok(None);
        }
        self.room(source, allow)?;
        if !self.within_rate(now) {
            return Err(Refused::TooFast);
        }
        let before = self.past.remove(&source).filter(|past| now < past.until);
        let ttl = before.map_or(ttl, |past| past.ttl * 2).clamp(ttl.min(ttl_max), ttl_max);
        self.insert(source, By::Rule(RuleName { table, name: rule }), ttl, now);
        self.past_of(source, ttl, ttl_max, now);
        Ok(Some(source))
    }

    /// Denies a source for an operator, in place of what there was.
    ///
    /// # Errors
    /// Why it is not denied.
    pub fn add(
        &mut self,
        source: IpNet,
        ttl: Duration,
        reason: Arc<str>,
        allow: &Allow,
        now: Instant,
    ) -> Result<(), Refused> {
        if !self.entries.contains_key(&source) {
            self.room(source, allow)?;
        } else if allow.overlaps(source) {
            return Err(Refused::Allowed);
        }
        let counted = self.entries.get(&source).map(|entry| (entry.packets, entry.bytes));
        self.insert(source, By::Operator(reason), ttl, now);
        counted.into_iter().for_each(|(packets, bytes)| self.count(source, packets, bytes));
        Ok(())
    }

    /// Adds what a map has counted that counts no longer.
    pub fn count(&mut self, source: IpNet, packets: u64, bytes: u64) {
        if let Some(entry) = self.entries.get_mut(&source) {
            entry.packets += packets;
            entry.bytes += bytes;
        }
    }

    /// Lets a source in again, and forgets that it was denied.
    pub fn release(&mut self, source: IpNet) -> Option<Entry> {
        self.past.remove(&source);
        self.entries.remove(&source)
    }

    /// Forgets an entry that a map has refused.
    pub fn refused_by_map(&mut self, source: IpNet) {
        self.entries.remove(&source);
        self.past.remove(&source);
        self.refuse(Refused::Full);
    }

    /// Counts a refusal.
    pub fn refuse(&mut self, why: Refused) {
        self.refused[why as usize] += 1;
    }

    /// Takes out what has ended.
    pub fn expire(&mut self, now: Instant) -> Vec<(IpNet, Entry)> {
        self.past.retain(|_, past| now < past.until);
        self.take(|entry| entry.expires <= now)
    }

    /// Takes out what a rule has put there that promotes no longer.
    pub fn keep_rules(&mut self, stays: impl Fn(&RuleName) -> bool) -> Vec<(IpNet, Entry)> {
        self.take(|entry| matches!(&entry.by, By::Rule(rule) if !stays(rule)))
    }

    /// Takes out what is never dropped now.
    pub fn keep_denied(&mut self, allow: &Allow) -> Vec<(IpNet, Entry)> {
        let allowed: Vec<_> = self.entries.keys().copied().filter(|source| allow.overlaps(*source)).collect();
        allowed.into_iter().filter_map(|source| Some((source, self.release(source)?))).collect()
    }

    /// Puts an entry of another process's back, whatever room there is.
    pub fn restore(&mut self, source: IpNet, entry: Entry) {
        self.entries.insert(source, entry);
    }

    /// What relapses are measured by: who, how long the last time was, and until when it counts.
    pub fn past(&self) -> impl Iterator<Item = (IpNet, Duration, Instant)> {
        self.past.iter().map(|(source, past)| (*source, past.ttl, past.until))
    }

    /// Has a relapse measured by what another process has seen.
    pub fn remember(&mut self, source: IpNet, ttl: Duration, until: Instant) {
        self.past.insert(source, Past { ttl, until });
    }

    /// Takes out everything.
    pub fn clear(&mut self) -> Vec<(IpNet, Entry)> {
        self.take(|_| true)
    }

    fn take(&mut self, which: impl Fn(&Entry) -> bool) -> Vec<(IpNet, Entry)> {
        let sources: Vec<_> = self.entries.iter().filter(|(_, entry)| which(entry)).map(|(net, _)| *net).collect();
        sources.into_iter().filter_map(|source| Some((source, self.entries.remove(&source)?))).collect()
    }

    /// Changes how many there may be; those that are there stay.
    pub fn resize(&mut self, entries_max: usize) {
        self.entries_max = entries_max;
    }

    /// All entries, by address.
    pub fn entries(&self) -> &BTreeMap<IpNet, Entry> {
        &self.entries
    }

    /// Promotions that were made.
    pub fn promoted(&self) -> u64 {
        self.promoted
    }

    /// What was refused, why.
    pub fn refusals(&self) -> [(Refused, u64); Refused::ALL.len()] {
        Refused::ALL.map(|why| (why, self.refused[why as usize]))
    }

    fn room(&self, source: IpNet, allow: &Allow) -> Result<(), Refused> {
        if allow.overlaps(source) {
            return Err(Refused::Allowed);
        }
        if self.entries.len() >= self.entries_max { Err(Refused::Full) } else { Ok(()) }
    }

    fn within_rate(&mut self, now: Instant) -> bool {
        if now.since(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += 1;
        self.second.1 <= PROMOTIONS_MAX
    }

    fn insert(&mut self, source: IpNet, by: By, ttl: Duration, now: Instant) {
        let entry = Entry { by, since: now, expires: now + ttl, ttl, packets: 0, bytes: 0 };
        self.entries.insert(source, entry);
    }

    /// A source that stays away for as long as it may be denied at most has served its time.
    fn past_of(&mut self, source: IpNet, ttl: Duration, ttl_max: Duration, now: Instant) {
        if self.past.len() < self.entries_max {
            self.past.insert(source, Past { ttl, until: now + ttl + ttl_max });
        }
    }
}

/// What a source is denied by: an IPv4 address, or the /64 that holds an IPv6 network. None for a wider network.
pub fn key(source: IpNet) -> Option<IpNet> {
    match canonical(source) {
        IpNet::V4(net) => (net.prefix_len() == 32).then_some(IpNet::V4(net)),
        IpNet::V6(net) if net.prefix_len() < V6_BITS => None,
        IpNet::V6(net) => Some(canonical(IpNet::new(IpAddr::V6(net.addr()), V6_BITS).ok()?)),
    }
}

#[cfg(test)]
mod tests;
