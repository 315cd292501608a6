//! What is dropped: the group, what its maps should hold, who is denied.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use weir_common::abi::drop::{Denied, denied, map};

use crate::base::Instant;
use crate::config::value::KernelMode;
use crate::kernel::allow::{Allow, canonical};
use crate::kernel::deny::{By, Deny, Entry, Refused, RuleName};
use crate::kernel::drop::{Drop, Heirloom, Sizes, Tables};
use crate::kernel::full::{self, Full, Refusals};
use crate::kernel::handover::Standing;
use crate::kernel::link;
use crate::kernel::network::Network;
use crate::kernel::object::Failure;
use crate::kernel::probe::Obstacle;
use crate::kernel::rules::Rules;
use crate::kernel::samples::Samples;
use crate::kernel::scope::{self, Place, Scope};
use crate::kernel::status::Counts;
use crate::kernel::{Shown, Wanted, allowed};
use crate::policy::tier::Promotion;

/// Its state.
pub(super) struct Dropping {
    obstacle: Option<Obstacle>,
    samples: Samples,
    reader: Option<tokio::task::JoinHandle<()>>,
    rules: Arc<Rules>,
    wanted: Option<Arc<Wanted>>,
    places: Vec<Place>,
    unknown: Vec<String>,
    allow: Allow,
    deny: Deny,
    group: Option<Drop>,
    failure: Option<Failure>,
    refused: Vec<(Place, link::Refused)>,
    network: Arc<Network>,
    full: Full,
    cuts: Vec<IpNet>,
    /// Of groups that are gone.
    counts_before: Counts,
    /// What another process has left, until the group is loaded.
    heirloom: Option<Heirloom>,
}

impl Dropping {
    pub(super) fn new(obstacle: Option<Obstacle>, samples: Samples) -> Self {
        Self {
            obstacle,
            samples,
            reader: None,
            rules: Arc::default(),
            wanted: None,
            places: Vec::new(),
            unknown: Vec::new(),
            allow: Allow::default(),
            deny: Deny::new(0),
            group: None,
            failure: None,
            refused: Vec::new(),
            network: Arc::default(),
            full: Full::default(),
            cuts: Vec::new(),
            counts_before: Counts::default(),
            heirloom: None,
        }
    }

    /// Goes on from where another process has been, with what is wanted next.
    pub(super) fn inherit(&mut self, heirloom: Option<Heirloom>, standing: Standing) {
        self.heirloom = heirloom;
        standing.restore(&mut self.deny);
    }

    /// Who is denied, with what it has dropped.
    pub(super) fn standing(&self) -> Standing {
        Standing::of(&self.deny, |source| self.group.as_ref()?.denied(source))
    }

    /// The group, if there is one.
    pub(super) fn group(&mut self) -> Option<&mut Drop> {
        self.group.as_mut()
    }

    /// Does what a new configuration, listener or address asks for.
    pub(super) fn follow(&mut self, wanted: Arc<Wanted>, network: Arc<Network>, now: Instant) {
        let kernel = &wanted.kernel;
        let enforced = self.enforces();
        self.deny.resize(usize::try_from(kernel.deny_max).unwrap_or(usize::MAX));
        self.places = scope::places(&kernel.interfaces, &wanted.bound, &network);
        self.unknown = scope::unknown(&kernel.interfaces, &network).into_iter().map(str::to_owned).collect();
        self.allow = allowed(&wanted, &network);
        self.network = network;
        self.wanted = Some(Arc::clone(&wanted));
        let gone = self.deny.keep_rules(|rule| wanted.rules.contains(rule));
        self.forget(gone, "its rule is gone");
        let allowed = self.deny.keep_denied(&self.allow);
        self.forget(allowed, "it is allowed now");
        self.reload(now);
        // Where no group is loaded in its place, the other process's ends.
        self.heirloom = None;
        self.sync();
        self.connect();
        self.cut_unless(enforced);
    }

    /// What is denied and was not dropped until now has connections to be cut.
    fn cut_unless(&mut self, enforced: bool) {
        if self.enforces() && !enforced {
            self.cuts.extend(self.deny.entries().keys());
        }
    }

    /// Loads the group where there is something to attach it to, and unloads it where it is off.
    fn reload(&mut self, now: Instant) {
        let Some(wanted) = self.wanted.clone() else { return };
        if wanted.kernel.mode == KernelMode::Off || self.obstacle.is_some() {
            self.unload();
            let gone = self.deny.clear();
            self.forget(gone, "the kernel half is off");
            return;
        }
        let sizes = Sizes::of(&wanted.kernel);
        let suits = self.group.as_ref().is_some_and(|group| group.sizes == sizes);
        if suits || self.places.is_empty() && self.group.is_none() {
            // Another size was refused, and is no longer asked for.
            self.failure = None;
            return;
        }
        match Drop::load(sizes) {
            Ok(group) => self.replace(group, now),
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// Puts a group in the place of the one before it, its maps filled first.
    fn replace(&mut self, mut group: Drop, now: Instant) {
        self.failure = None;
        if let Some(ring) = group.take_samples() {
            let reader = tokio::spawn(self.samples.clone().read(ring, Arc::clone(&self.rules)));
            self.reader.replace(reader).inspect(tokio::task::JoinHandle::abort);
        }
        self.deny.expire(now);
        let entries: Vec<_> = self.deny.entries().iter().map(|(source, entry)| (*source, entry.clone())).collect();
        let mut before = self.group.replace(group);
        self.sync();
        for (source, entry) in &entries {
            if !self.write(*source, entry) {
                self.refuse(*source);
            }
        }
        if let (Some(before), Some(group)) = (&mut before, &mut self.group) {
            group.take_sources(before);
            group.take_links(before);
        }
        if let (Some(heirloom), Some(group)) = (self.heirloom.take(), &mut self.group) {
            group.inherit(heirloom);
        }
        before.into_iter().for_each(|before| self.settle(&before));
    }

    fn unload(&mut self) {
        self.reader.take().inspect(tokio::task::JoinHandle::abort);
        (self.failure, self.refused) = (None, Vec::new());
        if let Some(group) = self.group.take() {
            self.settle(&group);
        }
    }

    /// Keeps what a group has counted.
    fn settle(&mut self, group: &Drop) {
        self.counts_before = self.counts_before.plus(&group.counts());
        let denied: Vec<_> = self.deny.entries().keys().copied().collect();
        for source in denied {
            if let Some((packets, bytes)) = group.denied(source) {
                self.deny.count(source, packets, bytes);
            }
        }
    }

    fn sync(&mut self) {
        let (Some(wanted), Some(group)) = (&self.wanted, &mut self.group) else { return };
        let scope = Scope::of(&wanted.bound, &self.network);
        let (bans, mut refused) = bans(wanted, group.sizes.prefixes as usize, &self.rules);
        refused.add(map::SCOPE, scope.refused);
        [map::ALLOW4, map::ALLOW6].into_iter().zip(self.allow.refused).for_each(|(map, n)| refused.add(map, n));
        let used =
            bans.values().copied().chain(self.deny.entries().values().map(|entry| self.rules.number(&name(entry))));
        let used: BTreeSet<u32> = used.collect();
        refused.append(&group.sync(&Tables::of(&scope, &self.allow, bans), &wanted.kernel));
        self.full.filled(refused);
        self.rules.keep(&used);
    }

    /// Attaches where the group should be and is not.
    pub(super) fn attach(&mut self, now: Instant) {
        let enforced = self.enforces();
        if self.failure.is_some() {
            self.reload(now);
        }
        self.connect();
        self.cut_unless(enforced);
    }

    fn connect(&mut self) {
        let (Some(wanted), Some(group)) = (&self.wanted, &mut self.group) else { return };
        self.refused = group.attach(&self.places, wanted.kernel.attach);
    }

    /// Looks whether the links still hold, and whether one no longer does.
    pub(super) fn verify(&mut self) -> bool {
        let lost: Vec<_> = self.group.iter_mut().flat_map(Drop::lost).collect();
        lost.iter().for_each(|place| tracing::warn!(interface = place.name, "drop program was detached"));
        !lost.is_empty()
    }

    /// Whether something should be attached and is not.
    pub(super) fn falls_short(&self) -> bool {
        let attached = self.group.as_ref().map_or(0, |group| group.links().count());
        self.failure.is_some() || self.group.is_some() && attached < self.places.len()
    }

    /// Whether packets of denied sources are met anywhere.
    fn is_attached(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.links().next().is_some())
    }

    fn enforces(&self) -> bool {
        self.is_attached() && self.wanted.as_ref().is_some_and(|wanted| wanted.kernel.mode == KernelMode::Enforce)
    }

    /// Denies a client that a rule has denied too often.
    pub(super) fn promote(&mut self, promotion: Promotion, now: Instant) {
        if !self.is_attached() {
            return self.deny.refuse(Refused::Off);
        }
        let listed = self.wanted.as_ref().is_some_and(|wanted| {
            wanted.rules.iter().any(|rule| rule.table == promotion.table && rule.name == promotion.rule)
        });
        // Its rule was removed while the promotion was on its way.
        if !listed {
            return;
        }
        let (table, rule, address) = (promotion.table, Arc::clone(&promotion.rule), promotion.address);
        match self.deny.promote(promotion, &self.allow, now) {
            Ok(Some(source)) if self.put(source) => {
                let ttl = self.deny.entries().get(&source).map_or(0, |entry| entry.ttl.as_secs());
                let enforced = self.enforces();
                tracing::info!(%source, table, %rule, ttl_s = ttl, enforced, "source denied in the kernel");
            }
            Ok(_) => {}
            Err(why) => {
                self.note(why);
                tracing::debug!(source = %address, table, %rule, why = why.word(), "source not denied");
            }
        }
    }

    /// Denies a source for an operator.
    pub(super) fn deny(&mut self, source: IpNet, ttl: Duration, reason: Arc<str>, now: Instant) -> Result<(), Refused> {
        if !self.is_attached() {
            return Err(Refused::Off);
        }
        let counted = self.group.as_ref().and_then(|group| group.denied(source));
        let added = self.deny.add(source, ttl, Arc::clone(&reason), &self.allow, now);
        added.inspect_err(|why| self.note(*why))?;
        // Written anew, the map counts from zero.
        counted.into_iter().for_each(|(packets, bytes)| self.deny.count(source, packets, bytes));
        if !self.put(source) {
            return Err(Refused::Full);
        }
        tracing::info!(%source, %reason, ttl_s = ttl.as_secs(), "source denied in the kernel by an operator");
        Ok(())
    }

    /// Writes a source's entry, and has its connections cut if it is enforced.
    fn put(&mut self, source: IpNet) -> bool {
        let Some(entry) = self.deny.entries().get(&source).cloned() else { return false };
        if !self.write(source, &entry) {
            self.refuse(source);
            return false;
        }
        if self.enforces() {
            self.cuts.push(source);
        }
        true
    }

    /// The map has no room for an entry.
    fn refuse(&mut self, source: IpNet) {
        self.deny.refused_by_map(source);
        self.full.refused(map::DENY);
    }

    /// Counts what the map would have refused, had it been asked.
    fn note(&mut self, why: Refused) {
        if why == Refused::Full {
            self.full.refused(map::DENY);
        }
    }

    fn write(&mut self, source: IpNet, entry: &Entry) -> bool {
        let (Some(wanted), Some(group)) = (&self.wanted, &mut self.group) else { return false };
        let value = Denied {
            expires_ns: entry.expires.nanos(),
            packets: 0,
            bytes: 0,
            rule: self.rules.number(&name(entry)),
            flags: match entry.by {
                By::Rule(_) => denied::PROMOTED,
                By::Operator(_) => denied::OPERATOR,
            },
        };
        group.deny(source, value, &wanted.kernel)
    }

    /// Lets a source in again.
    pub(super) fn release(&mut self, source: IpNet) -> Option<Entry> {
        let entry = self.deny.release(source)?;
        let entry = self.erase(source, entry);
        tracing::info!(%source, packets = entry.packets, bytes = entry.bytes, "source released in the kernel");
        Some(entry)
    }

    /// Takes a source out of the map; its entry with the last count.
    fn erase(&mut self, source: IpNet, mut entry: Entry) -> Entry {
        if let (Some(wanted), Some(group)) = (&self.wanted, &mut self.group)
            && let Some((packets, bytes)) = group.release(source, &wanted.kernel)
        {
            entry.packets += packets;
            entry.bytes += bytes;
        }
        entry
    }

    fn forget(&mut self, gone: impl IntoIterator<Item = (IpNet, Entry)>, why: &'static str) {
        for (source, entry) in gone {
            let Entry { packets, bytes, .. } = self.erase(source, entry);
            tracing::info!(%source, packets, bytes, why, "source no longer denied in the kernel");
        }
    }

    /// Takes out what has ended.
    pub(super) fn sweep(&mut self, now: Instant) {
        let ended = self.deny.expire(now);
        self.forget(ended, "its time is over");
    }

    /// Notes sources that have sent a whole request head.
    pub(super) fn know(&mut self, sources: Vec<std::net::IpAddr>, now: Instant) {
        let (Some(wanted), Some(group)) = (&self.wanted, &mut self.group) else { return };
        let syn = &wanted.kernel.syn;
        if (syn.rate > 0 || syn.total > 0) && !syn.known_ttl.is_zero() {
            group.know(sources, (now + syn.known_ttl).nanos());
        }
    }

    /// A denied source, with what it has dropped.
    pub(super) fn show(&self, source: IpNet) -> Option<Shown> {
        let mut entry = self.deny.entries().get(&source)?.clone();
        if let Some((packets, bytes)) = self.group.as_ref().and_then(|group| group.denied(source)) {
            entry.packets += packets;
            entry.bytes += bytes;
        }
        Some(Shown { source, entry })
    }

    /// Denied sources by address, with what they have dropped, and how many there are.
    pub(super) fn list(&self, offset: usize, limit: usize) -> (Vec<Shown>, usize) {
        let entries = self.deny.entries();
        let sources = entries.keys().skip(offset).take(limit);
        (sources.filter_map(|source| self.show(*source)).collect(), entries.len())
    }

    /// Sources whose connections are to be reset, sorted.
    pub(super) fn take_cuts(&mut self) -> Option<Arc<[IpNet]>> {
        self.cuts.sort_unstable();
        (!self.cuts.is_empty()).then(|| std::mem::take(&mut self.cuts).into())
    }
}

/// Bans for the maps, and what finds no room.
fn bans(wanted: &Wanted, room: usize, rules: &Rules) -> (BTreeMap<IpNet, u32>, Refusals) {
    let (mut bans, mut left, mut refused) = (BTreeMap::new(), [room; 2], Refusals::default());
    if !wanted.kernel.bans {
        return (bans, refused);
    }
    [map::DENY4, map::DENY6].into_iter().zip(wanted.bans.left_out).for_each(|(map, n)| refused.add(map, n));
    for (network, rule) in &wanted.bans.networks {
        let network = canonical(*network);
        let left = &mut left[usize::from(matches!(network, IpNet::V6(_)))];
        if bans.contains_key(&network) {
            continue;
        }
        if *left == 0 {
            refused.add(full::ban(&network), 1);
            continue;
        }
        *left -= 1;
        bans.insert(network, rules.number(&RuleName { table: "ban", name: Arc::clone(rule) }));
    }
    (bans, refused)
}

/// What samples call an entry.
fn name(entry: &Entry) -> RuleName {
    match &entry.by {
        By::Rule(rule) => rule.clone(),
        By::Operator(_) => RuleName { table: "kernel", name: "operator".into() },
    }
}

#[cfg(test)]
mod tests;
