//! The owner of the endpoints' table: takes what the resolver, the probes and the workers learn, and makes the next one.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::probe::ProbeResult;
use super::resolver::DnsUpdate;
use crate::base::Instant;
use crate::target::health::{Flip, Flips, Streak};
use crate::target::live::Change;
use crate::target::outlier::{Outliers, Verdict};
use crate::target::{EndpointId, Groups, Live, Report};

/// Names a target across generations: the route's id, the target's name.
pub(super) type TargetKey = (u32, Box<str>);
/// Every target's last changes of health.
pub(super) type FlipTable = Arc<Mutex<HashMap<TargetKey, Flips>>>;

/// What is known of endpoints, and who changes it. No clock, no channel: `now` and events come in, tables go out.
pub(super) struct Owner {
    live: Arc<Live>,
    workers: usize,
    /// What names resolved to last.
    addresses: HashMap<Arc<str>, Vec<IpAddr>>,
    /// Where names are used: slot and target.
    uses: HashMap<Arc<str>, Vec<(usize, usize)>>,
    /// Names that clients may ask to be connected to.
    destinations: HashSet<Arc<str>>,
    streaks: HashMap<EndpointId, Streak>,
    outliers: Outliers,
    /// Shared with the API.
    flips: FlipTable,
    /// What the next table will say beside this one.
    pending: Vec<Change>,
    changed: bool,
}

impl Owner {
    /// An owner of an empty table.
    pub(super) fn new(workers: usize, now: Instant) -> Self {
        Self {
            live: Arc::new(Live::initial(&[], workers, None, now)),
            workers,
            addresses: HashMap::new(),
            uses: HashMap::new(),
            destinations: HashSet::new(),
            streaks: HashMap::new(),
            outliers: Outliers::default(),
            flips: FlipTable::default(),
            pending: Vec::new(),
            changed: false,
        }
    }

    /// The table as it was last made.
    pub(super) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The names that clients of the configuration which is adopted next may ask to be connected to.
    pub(super) fn follow_destinations(&mut self, names: impl IntoIterator<Item = Arc<str>>) {
        self.destinations = names.into_iter().collect();
    }

    /// The first table of a new configuration, with what is known of the same endpoints and names.
    pub(super) fn adopt(&mut self, routes: &[Arc<Groups>], first: bool, now: Instant) -> Arc<Live> {
        self.settle(now);
        let previous = Some(&*self.live).filter(|_| !first);
        self.live = Arc::new(Live::initial(routes, self.workers, previous, now));
        self.uses = uses(routes);
        self.addresses.retain(|name, _| self.uses.contains_key(name) || self.destinations.contains(name));
        let known: Vec<_> = self.addresses.iter().map(|(name, ips)| (Arc::clone(name), ips.clone())).collect();
        known.iter().for_each(|(name, ips)| self.put_addresses(name, ips));
        self.settle(now);
        self.forget();
        self.changed = false;
        Arc::clone(&self.live)
    }

    /// Drops what belongs to endpoints and targets that are gone.
    fn forget(&mut self) {
        let known: HashSet<_> = self.live.endpoints().map(|(_, endpoint)| endpoint.cells.id()).collect();
        self.streaks.retain(|id, _| known.contains(id));
        self.outliers.retain(&self.live);
        let targets: HashSet<TargetKey> = self
            .live
            .routes()
            .iter()
            .flat_map(|route| route.groups().targets.iter().map(|target| (route.groups().route, target.name.clone())))
            .collect();
        lock(&self.flips).retain(|key, _| targets.contains(key));
    }

    /// A name's addresses have changed.
    pub(super) fn resolved(&mut self, update: DnsUpdate) {
        self.put_addresses(&update.hostname, &update.addresses);
        if self.uses.contains_key(&update.hostname) || self.destinations.contains(&update.hostname) {
            self.addresses.insert(update.hostname, update.addresses);
        }
    }

    fn put_addresses(&mut self, name: &str, addresses: &[IpAddr]) {
        for &(slot, target) in self.uses.get(name).into_iter().flatten() {
            self.pending.push(Change::Addresses { slot, target, addresses: addresses.to_vec() });
        }
        if let Some(name) = self.destinations.get(name) {
            self.pending.push(Change::Name { name: Arc::clone(name), addresses: addresses.to_vec() });
        }
    }

    /// A probe has ended.
    pub(super) fn probed(&mut self, result: &ProbeResult, now: Instant) {
        self.settle(now);
        let id = result.endpoint;
        if result.passed {
            self.pending.extend(self.outliers.probe_passed(&self.live, id, now));
        }
        let Some(place) = self.live.find(id) else { return };
        let (Some(route), Some(endpoint)) = (self.live.route(place.slot), self.live.endpoint(place)) else { return };
        let target = &route.groups().targets[place.target];
        let Some(check) = &target.health else { return };
        let streak = self.streaks.entry(id).or_insert_with(|| Streak::new(endpoint.state));
        let from = streak.state();
        let Some(to) = streak.note(result.passed, check) else { return };
        let address = endpoint.address.map(|address| address.to_string()).unwrap_or_default();
        tracing::info!(route = route.groups().route, target = %target.name, %address, from = from.word(), to = to.word(),
            cause = %result.cause, "health has changed");
        let flip = Flip { at: now, address: address.into(), from, to, cause: result.cause.clone() };
        lock(&self.flips).entry((route.groups().route, target.name.clone())).or_default().push(flip);
        self.pending.push(Change::Health(id, to));
    }

    /// A worker has seen how an endpoint did.
    pub(super) fn reported(&mut self, report: Report, now: Instant) {
        self.settle(now);
        match self.outliers.note(&self.live, report, now) {
            Verdict::Stays => {}
            Verdict::Ejected(until) => {
                tracing::info!(endpoint = report.endpoint.number(), observed = ?report.observed, "endpoint ejected");
                self.pending.push(Change::Eject(report.endpoint, until));
            }
            Verdict::Refused => tracing::debug!(endpoint = report.endpoint.number(), "ejection refused"),
        }
    }

    /// Ends the ejections whose time is over.
    pub(super) fn tick(&mut self, now: Instant) {
        if self.outliers.due(&self.live).is_some_and(|due| due <= now) {
            self.pending.extend(self.outliers.over(&self.live, now));
        }
    }

    /// Whether an ejection is to be ended by time.
    pub(super) fn has_ejected(&self) -> bool {
        self.outliers.due(&self.live).is_some()
    }

    /// The table, if it differs from the one given last.
    pub(super) fn publish(&mut self, now: Instant) -> Option<Arc<Live>> {
        self.settle(now);
        std::mem::take(&mut self.changed).then(|| Arc::clone(&self.live))
    }

    /// Makes the next table, so that what is judged next is judged by all that is known.
    fn settle(&mut self, now: Instant) {
        if !self.pending.is_empty() {
            self.live = Arc::new(self.live.apply(&self.pending, now));
            self.pending.clear();
            self.changed = true;
        }
    }

    /// Every target's last changes of health.
    pub(super) fn flips(&self) -> FlipTable {
        Arc::clone(&self.flips)
    }

    /// Ejections, and refused ones.
    pub(super) fn ejections(&self) -> (u64, u64) {
        (self.outliers.ejected(), self.outliers.refused())
    }
}

fn lock(flips: &FlipTable) -> std::sync::MutexGuard<'_, HashMap<TargetKey, Flips>> {
    flips.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where each name is used.
fn uses(routes: &[Arc<Groups>]) -> HashMap<Arc<str>, Vec<(usize, usize)>> {
    let mut uses: HashMap<Arc<str>, Vec<_>> = HashMap::new();
    for (slot, groups) in routes.iter().enumerate() {
        for (target, name, _) in groups.names() {
            match uses.get_mut(name) {
                Some(places) => places.push((slot, target)),
                None => drop(uses.insert(name.into(), vec![(slot, target)])),
            }
        }
    }
    uses
}

#[cfg(test)]
mod tests;
