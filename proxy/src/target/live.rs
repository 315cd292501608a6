//! What is true of every route's targets just now: an immutable table with its own epoch, beside the snapshot.
//!
//! Control makes the next table from the one before ([`Live::apply`]) and sends it to the workers. What endpoints keep
//! from table to table: their counters ([`Cells`]), their state, their ejection and their slow start. They keep it across
//! generations too, as long as route, target, origin and address are the same.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::balance::Table;
use super::cells::{Cells, EndpointId, Waiting};
use super::groups::Groups;
use crate::base::Instant;

mod build;

/// At most so many addresses of a name are used.
pub const ADDRESSES_MAX: usize = 64;

/// Every route's endpoints. A route is named by its slot: its place in the list that [`Live::initial`] was given.
#[derive(Clone, Debug)]
pub struct Live {
    epoch: u64,
    workers: usize,
    routes: Vec<Arc<RouteLive>>,
    /// Where each endpoint stands: made anew only when a set of endpoints changes.
    places: Arc<HashMap<EndpointId, Place>>,
    /// Addresses of names that no target has, but that clients may ask to be connected to.
    names: Arc<HashMap<Arc<str>, Arc<[IpAddr]>>>,
}

/// One route's endpoints, with the group model that they belong to.
#[derive(Debug)]
pub struct RouteLive {
    epoch: u64,
    groups: Arc<Groups>,
    targets: Vec<TargetLive>,
    parts: Vec<Part>,
}

/// One target's endpoints.
#[derive(Clone, Debug, Default)]
pub struct TargetLive {
    /// In the order of the addresses given; one without an address for a static target; none while unresolved.
    pub endpoints: Vec<Endpoint>,
}

/// One address of a target.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its counters, shared by workers, epochs and generations.
    pub cells: Arc<Cells>,
    /// Where it is; `None` for a static target.
    pub address: Option<SocketAddr>,
    /// What the probes say.
    pub state: State,
    /// Since when they say so.
    pub since: Instant,
    /// Not usable before this.
    pub ejected_until: Option<Instant>,
    /// When its slow start began: discovery, or the end of ill health.
    pub warm_since: Option<Instant>,
    /// Names it in sticky cookies, on every node alike.
    pub sticky_hash: u64,
}

/// What the probes say of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum State {
    /// Not probed, or not often enough: usable.
    #[default]
    Unknown,
    /// Usable.
    Healthy,
    /// Not usable.
    Unhealthy,
}

impl State {
    /// The word of explain, metrics and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What belongs to one group: who waits for it, and its endpoints as a flat list and a hash table.
#[derive(Clone, Debug)]
pub struct Part {
    /// Who waits, over all workers.
    pub waiting: Arc<Waiting>,
    /// The group's endpoints; filled for policies that pick endpoints straight away.
    pub members: Arc<[Member]>,
    /// The hash policies' table over the members.
    pub table: Arc<Table>,
}

/// An endpoint of a group, by place, with its share of its target's weight.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Member {
    /// Index of the target.
    pub target: u16,
    /// Index of the endpoint within it.
    pub endpoint: u16,
    /// The target's weight divided by its endpoints.
    pub share: f64,
}

/// Where an endpoint stands in a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The route's slot.
    pub slot: usize,
    /// Index of the target.
    pub target: usize,
    /// Index of the endpoint.
    pub endpoint: usize,
}

/// One thing that control learned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A name's addresses are these; kept ones keep their state, others are gone for new requests.
    Addresses {
        /// The route's slot.
        slot: usize,
        /// Index of the target.
        target: usize,
        /// At most [`ADDRESSES_MAX`] count; none: unresolved.
        addresses: Vec<IpAddr>,
    },
    /// The same of a name that clients may ask to be connected to.
    Name {
        /// The name.
        name: Arc<str>,
        /// At most [`ADDRESSES_MAX`] count; none: unresolved.
        addresses: Vec<IpAddr>,
    },
    /// The probes changed their mind.
    Health(EndpointId, State),
    /// Ejected until then.
    Eject(EndpointId, Instant),
    /// The ejection ended, by time or by a passed probe.
    Restore(EndpointId),
}

impl Endpoint {
    /// Whether requests may go there: not unhealthy, not ejected.
    pub fn is_usable(&self, now: Instant) -> bool {
        self.state != State::Unhealthy && !self.is_ejected(now)
    }

    /// Whether an ejection is in force.
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.ejected_until.is_some_and(|until| now < until)
    }

    /// The share of its weight that counts, in thousandths: from 100, linear, to 1000 after `slow_start`.
    pub fn warmth(&self, now: Instant, slow_start: Duration) -> u32 {
        if slow_start.is_zero() {
            return 1000;
        }
        let Some(since) = self.warm_since.max(self.ejected_until) else { return 1000 };
        let passed = now.since(since).as_nanos().min(slow_start.as_nanos());
        // At most 900, as passed is at most slow_start.
        100 + (900 * passed / slow_start.as_nanos()) as u32
    }
}

impl RouteLive {
    /// The table's epoch in which this route last changed.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The group model.
    pub fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }

    /// All targets, in the model's order.
    pub fn targets(&self) -> &[TargetLive] {
        &self.targets
    }

    /// The groups' parts, in the model's order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The endpoints of the group at `group`, by place.
    pub fn group_endpoints(&self, group: usize) -> impl Iterator<Item = (usize, usize, &Endpoint)> {
        self.groups.groups[group].targets.iter().flat_map(move |&target| {
            let endpoints = &self.targets[usize::from(target)].endpoints;
            endpoints.iter().enumerate().map(move |(at, endpoint)| (usize::from(target), at, endpoint))
        })
    }

    /// Whether the group at `group` has an endpoint that may be used.
    pub fn is_usable(&self, group: usize, now: Instant) -> bool {
        self.group_endpoints(group).any(|(_, _, endpoint)| endpoint.is_usable(now))
    }
}

impl Live {
    /// Grows with every table, across generations.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The route in `slot`.
    pub fn route(&self, slot: usize) -> Option<&Arc<RouteLive>> {
        self.routes.get(slot)
    }

    /// All routes by slot.
    pub fn routes(&self) -> &[Arc<RouteLive>] {
        &self.routes
    }

    /// Addresses of a name that clients may ask to be connected to; none: unresolved.
    pub fn addresses(&self, name: &str) -> &[IpAddr] {
        self.names.get(name).map_or(&[], |addresses| addresses)
    }

    /// Where an endpoint stands, if it still does.
    pub fn find(&self, id: EndpointId) -> Option<Place> {
        self.places.get(&id).copied()
    }

    /// The endpoint at `place`.
    pub fn endpoint(&self, place: Place) -> Option<&Endpoint> {
        self.routes.get(place.slot)?.targets.get(place.target)?.endpoints.get(place.endpoint)
    }

    /// Every endpoint of every route.
    pub fn endpoints(&self) -> impl Iterator<Item = (Place, &Endpoint)> {
        self.routes.iter().enumerate().flat_map(|(slot, route)| {
            route.targets.iter().enumerate().flat_map(move |(target, live)| {
                let endpoints = live.endpoints.iter().enumerate();
                endpoints.map(move |(endpoint, it)| (Place { slot, target, endpoint }, it))
            })
        })
    }
}

#[cfg(test)]
mod tests;
