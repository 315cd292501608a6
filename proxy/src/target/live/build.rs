//! How one table becomes the next, and what endpoints keep on the way.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::{ADDRESSES_MAX, Change, Endpoint, Live, Member, Part, Place, RouteLive, State, TargetLive};
use crate::base::Instant;
use crate::target::balance::Table;
use crate::target::cells::{Cells, EndpointId, Waiting};
use crate::target::groups::{Group, Groups, Host, Kind, Target};

impl Live {
    /// The first table of a generation. Slots are the places in `routes`. What `previous` knows of the same endpoints
    /// and names is kept; an endpoint new beside a previous table begins its slow start.
    pub fn initial(routes: &[Arc<Groups>], workers: usize, previous: Option<&Self>, now: Instant) -> Self {
        let epoch = previous.map_or(0, |live| live.epoch) + 1;
        let known: HashMap<u32, &RouteLive> = previous
            .map(|live| live.routes.iter().map(|route| (route.groups.route, &**route)).collect())
            .unwrap_or_default();
        let routes = routes
            .iter()
            .map(|groups| {
                let before = known.get(&groups.route).copied();
                Arc::new(first_route(groups, before, Birth { epoch, workers, now, warm: previous.is_some() }))
            })
            .collect();
        let mut live = Self { epoch, workers, routes, places: Arc::default(), names: Arc::default() };
        live.places = Arc::new(live.endpoints().map(|(place, endpoint)| (endpoint.cells.id(), place)).collect());
        live
    }

    /// The next table: this one with `changes`. A change that names what is gone changes nothing.
    pub fn apply(&self, changes: &[Change], now: Instant) -> Self {
        let mut next = Self { epoch: self.epoch + 1, ..self.clone() };
        for change in changes {
            match change {
                Change::Addresses { slot, target, addresses } => next.put_addresses(*slot, *target, addresses, now),
                Change::Name { name, addresses } => {
                    let some = addresses.iter().copied().take(ADDRESSES_MAX).collect();
                    Arc::make_mut(&mut next.names).insert(Arc::clone(name), some);
                }
                Change::Health(id, state) => next.put_health(*id, *state, now),
                Change::Eject(id, until) => next.edit(*id, |endpoint| endpoint.ejected_until = Some(*until)),
                Change::Restore(id) => next.edit(*id, |endpoint| {
                    if endpoint.ejected_until.take().is_some() {
                        endpoint.warm_since = Some(now);
                    }
                }),
            }
        }
        next
    }

    /// The next table, with a name's addresses.
    pub fn with_addresses(&self, slot: usize, target: usize, addresses: &[IpAddr], now: Instant) -> Self {
        self.apply(&[Change::Addresses { slot, target, addresses: addresses.to_vec() }], now)
    }

    /// The next table, with what the probes say of an endpoint.
    pub fn with_health(&self, id: EndpointId, state: State, now: Instant) -> Self {
        self.apply(&[Change::Health(id, state)], now)
    }

    /// The next table, with an endpoint ejected.
    pub fn with_ejection(&self, id: EndpointId, until: Instant, now: Instant) -> Self {
        self.apply(&[Change::Eject(id, until)], now)
    }

    /// The next table, with an endpoint's ejection ended.
    pub fn with_restored(&self, id: EndpointId, now: Instant) -> Self {
        self.apply(&[Change::Restore(id)], now)
    }

    fn put_addresses(&mut self, slot: usize, target: usize, addresses: &[IpAddr], now: Instant) {
        let birth = Birth { epoch: self.epoch, workers: self.workers, now, warm: true };
        let Some(route) = self.routes.get_mut(slot) else { return };
        let Some(model) = route.groups.targets.get(target) else { return };
        let Kind::Origin(origin) = &model.kind else { return };
        let mut wanted: Vec<SocketAddr> = Vec::new();
        for address in addresses.iter().map(|&ip| SocketAddr::new(ip, origin.port)) {
            if wanted.len() < ADDRESSES_MAX && !wanted.contains(&address) {
                wanted.push(address);
            }
        }
        let old = &route.targets[target].endpoints;
        if old.iter().map(|endpoint| endpoint.address).eq(wanted.iter().copied().map(Some)) {
            return;
        }
        let mut targets = route.targets.clone();
        targets[target].endpoints = keep_or_make(model, old, &wanted, birth);
        let places = Arc::make_mut(&mut self.places);
        for endpoint in old {
            places.remove(&endpoint.cells.id());
        }
        let made = targets[target].endpoints.iter().enumerate();
        places.extend(made.map(|(endpoint, it)| (it.cells.id(), Place { slot, target, endpoint })));
        let parts = parts(&route.groups, &targets, &route.parts, Some(model.group), birth);
        *route = Arc::new(RouteLive { epoch: self.epoch, groups: route.groups.clone(), targets, parts });
    }

    fn put_health(&mut self, id: EndpointId, state: State, now: Instant) {
        self.edit(id, |endpoint| {
            if endpoint.state == State::Unhealthy && state != State::Unhealthy {
                endpoint.warm_since = Some(now);
            }
            if endpoint.state != state {
                endpoint.since = now;
            }
            endpoint.state = state;
        });
    }

    fn edit(&mut self, id: EndpointId, change: impl FnOnce(&mut Endpoint)) {
        let Some(place) = self.find(id) else { return };
        let route = &mut self.routes[place.slot];
        let mut targets = route.targets.clone();
        change(&mut targets[place.target].endpoints[place.endpoint]);
        // The set of endpoints is the same: so are the hash tables, which are the costly part.
        let (groups, parts) = (route.groups.clone(), route.parts.clone());
        *route = Arc::new(RouteLive { epoch: self.epoch, groups, targets, parts });
    }
}

/// When and for whom a table is made.
#[derive(Clone, Copy)]
struct Birth {
    epoch: u64,
    workers: usize,
    now: Instant,
    /// Whether new endpoints begin with a slow start: not where all are new.
    warm: bool,
}

fn first_route(groups: &Arc<Groups>, before: Option<&RouteLive>, birth: Birth) -> RouteLive {
    let targets: Vec<_> = groups.targets.iter().map(|target| first_target(target, before, birth)).collect();
    let old = before.map_or_else(Vec::new, |route| inherit_waiting(groups, route, birth.workers));
    let parts = parts(groups, &targets, &old, None, birth);
    RouteLive { epoch: birth.epoch, groups: groups.clone(), targets, parts }
}

/// A target's endpoints at the start of a generation: the address that is its host, or those that its name had.
fn first_target(target: &Target, before: Option<&RouteLive>, birth: Birth) -> TargetLive {
    let old = before.and_then(|route| same_target(target, route)).map_or(&[][..], |live| &live.endpoints);
    let Kind::Origin(origin) = &target.kind else {
        let endpoint = old.first().cloned().unwrap_or_else(|| make(target, None, birth));
        return TargetLive { endpoints: vec![endpoint] };
    };
    let addresses: Vec<SocketAddr> = match &origin.host {
        Host::Address(ip) => vec![SocketAddr::new(*ip, origin.port)],
        Host::Name(_) => old.iter().filter_map(|endpoint| endpoint.address).collect(),
    };
    let mut endpoints = keep_or_make(target, old, &addresses, birth);
    if target.health.is_none() {
        // Nobody probes it any more: what the last probe said no longer holds.
        endpoints.iter_mut().for_each(|endpoint| endpoint.state = State::Unknown);
    }
    TargetLive { endpoints }
}

/// The target of an earlier table that is the same destination: same route, name and origin.
fn same_target<'a>(target: &Target, route: &'a RouteLive) -> Option<&'a TargetLive> {
    let same = |other: &Target| other.name == target.name && other.origin() == target.origin();
    let at = route.groups.targets.iter().position(same)?;
    route.targets.get(at)
}

fn keep_or_make(target: &Target, old: &[Endpoint], addresses: &[SocketAddr], birth: Birth) -> Vec<Endpoint> {
    let kept = |address| old.iter().find(|endpoint| endpoint.address == Some(address)).cloned();
    addresses.iter().map(|&at| kept(at).unwrap_or_else(|| make(target, Some(at), birth))).collect()
}

fn make(target: &Target, address: Option<SocketAddr>, birth: Birth) -> Endpoint {
    Endpoint {
        cells: Cells::new(),
        address,
        state: target.health.as_ref().map_or(State::Unknown, |check| check.start),
        since: birth.now,
        ejected_until: None,
        warm_since: birth.warm.then_some(birth.now),
        sticky_hash: sticky_hash(target, address),
    }
}

/// The same on every node and after every restart: cookies outlive both.
fn sticky_hash(target: &Target, address: Option<SocketAddr>) -> u64 {
    let address = address.map(|address| address.to_string()).unwrap_or_default();
    xxh3_64(format!("{}\0{address}", target.name).as_bytes())
}

/// The earlier generation's waiting counts for the groups that are still the same (side and priority_group).
fn inherit_waiting(groups: &Groups, before: &RouteLive, workers: usize) -> Vec<Part> {
    let same = |group: &Group, old: &Group| {
        old.priority == group.priority
            && before.groups.sides[usize::from(old.side)].name == groups.sides[usize::from(group.side)].name
    };
    let part = |group: &Group| {
        let at = before.groups.groups.iter().position(|old| same(group, old));
        let waiting = at.and_then(|at| before.parts.get(at)).map(|part| part.waiting.clone());
        let waiting = waiting.filter(|waiting| waiting.workers() == workers.max(1));
        let waiting = waiting.unwrap_or_else(|| Waiting::new(workers));
        Part { waiting, members: Arc::new([]), table: Arc::new(Table::None) }
    };
    groups.groups.iter().map(part).collect()
}

/// The groups' parts: rebuilt for `only` that group (as a target names it), or for all.
fn parts(groups: &Groups, targets: &[TargetLive], old: &[Part], only: Option<Option<u16>>, birth: Birth) -> Vec<Part> {
    let one = |at: usize| {
        if only.is_some_and(|only| only.map(usize::from) != Some(at)) {
            return old[at].clone();
        }
        let waiting = old.get(at).map(|part| part.waiting.clone());
        let members = members(groups, targets, at);
        let table = Table::build(groups, targets, &members);
        Part {
            waiting: waiting.unwrap_or_else(|| Waiting::new(birth.workers)),
            members: members.into(),
            table: Arc::new(table),
        }
    };
    (0..groups.groups.len()).map(one).collect()
}

fn members(groups: &Groups, targets: &[TargetLive], group: usize) -> Vec<Member> {
    if !groups.balance.picks_endpoints() {
        return Vec::new();
    }
    let of = |&target: &u16| {
        let count = targets[usize::from(target)].endpoints.len();
        let share = f64::from(groups.targets[usize::from(target)].weight) / count.max(1) as f64;
        (0..count).map(move |endpoint| Member { target, endpoint: endpoint as u16, share })
    };
    groups.groups[group].targets.iter().flat_map(of).collect()
}
