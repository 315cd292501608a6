//! The endpoint that answers an attempt: one policy per file below, the same eligibility for all.
//!
//! A [`Balancer`] is one route's state on one worker: turns, averages, queues. It follows the route's table by itself
//! ([`RouteLive::epoch`]), keeping what it knows of endpoints that stay. In-flight counts are the workers' in common.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::cells::EndpointId;
use super::choose::{self, Choice};
use super::groups::Groups;
use super::key::Keys;
use super::live::RouteLive;
use super::queue::{Far, Queue, Refused, Ticket};
use super::sticky::Stick;
use crate::base::Instant;
use crate::config::value::Balance;

mod balancers;
mod field;
mod hash_ketama;
mod hash_maglev;
mod least_active_requests;
mod local;
mod p2c_ewma;
mod random;
mod round_robin;
mod table;
mod weighted_round_robin;

pub use balancers::Balancers;
use field::{Endpoints, Field, Targets, View};
use local::Local;
pub use local::{Connection, InFlight};
pub use table::Table;

/// How often a pick is made anew when another worker took the slot in between.
const RACES_MAX: usize = 4;

/// What an attempt asks for.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The request.
    pub keys: &'a dyn Keys,
    /// Its group.
    pub choice: Choice,
    /// The loop turn's clock.
    pub now: Instant,
    /// Wall clock, seconds since 1970: sticky cookies expire by it.
    pub unix: u64,
    /// Endpoints tried already: taken again only if there is no other.
    pub exclude: &'a [EndpointId],
    /// Whether this worker holds an idle connection to an endpoint: asked only where connections are at their limit.
    pub idle: &'a dyn Fn(EndpointId) -> bool,
}

/// What an attempt gets.
#[derive(Debug)]
pub enum Pick {
    /// This endpoint, with a slot reserved.
    Endpoint(Picked),
    /// All that are usable are at their limits: wait ([`Balancer::enter`]).
    Full,
    /// None is usable any more.
    Unusable,
}

/// A picked endpoint.
#[derive(Debug)]
pub struct Picked {
    /// Index of the target.
    pub target: u16,
    /// Index of the endpoint within the table that was asked.
    pub endpoint: u16,
    /// Where to connect; `None`: the target is static.
    pub address: Option<SocketAddr>,
    /// The reserved slot; the attempt's outcome is told to it, dropping frees it.
    pub inflight: InFlight,
    /// What became of the sticky cookie.
    pub stick: Stick,
    /// It was tried before: the retry waits its backoff.
    pub again: bool,
}

/// One route's balancing state on one worker.
#[derive(Debug)]
pub struct Balancer {
    worker: usize,
    epoch: u64,
    far: Far,
    rng: fastrand::Rng,
    /// The group model that `groups` and `turns` were made for.
    shape: Option<Arc<Groups>>,
    groups: Vec<Turns>,
    /// Next endpoint of each target.
    turns: Vec<usize>,
    locals: Vec<Vec<Rc<Local>>>,
}

/// A group's turn.
#[derive(Debug)]
struct Turns {
    cursor: usize,
    smooth: Vec<i64>,
    queue: Rc<Queue>,
}

impl Balancer {
    /// The group for a request: see [`choose::choose`].
    pub fn choose(&mut self, live: &RouteLive, keys: &dyn Keys, now: Instant) -> Option<Choice> {
        choose::choose(live, keys, self.rng.u64(..), now)
    }

    /// The endpoint for an attempt, with a slot reserved.
    pub fn pick(&mut self, live: &RouteLive, ask: &Ask<'_>) -> Pick {
        self.follow(live);
        if usize::from(ask.choice.group) >= self.groups.len() {
            // Chosen by another generation's model: its caller chooses again.
            return Pick::Unusable;
        }
        for _ in 0..RACES_MAX {
            let Some(found) = self.find(live, ask) else { break };
            if let Some(picked) = self.reserve(live, found) {
                return Pick::Endpoint(picked);
            }
        }
        let heeds = ask.choice.mode.heeds_health();
        let mut all = live.group_endpoints(usize::from(ask.choice.group));
        if all.any(|(_, _, endpoint)| !heeds || endpoint.is_usable(ask.now)) { Pick::Full } else { Pick::Unusable }
    }

    /// What a pick would take, without a slot. Turns move on all the same: explain asks balancers of its own.
    pub fn preview(&mut self, live: &RouteLive, ask: &Ask<'_>) -> Option<(u16, u16)> {
        self.follow(live);
        if usize::from(ask.choice.group) >= self.groups.len() {
            return None;
        }
        self.find(live, ask).map(|found| (found.target as u16, found.endpoint as u16))
    }

    /// Whether requests wait for the group on this worker: a newcomer then enters without picking.
    pub fn has_line(&mut self, live: &RouteLive, choice: Choice) -> bool {
        self.follow(live);
        self.groups.get(usize::from(choice.group)).is_some_and(|group| !group.queue.is_empty())
    }

    /// A place in the group's line, for at most the route's queue_timeout.
    pub fn enter(&mut self, live: &RouteLive, choice: Choice) -> Result<Ticket, Refused> {
        let limits = live.groups().limits;
        if limits.queue_timeout.is_zero() {
            return Err(Refused::Full);
        }
        self.follow(live);
        let group = self.groups.get(usize::from(choice.group)).ok_or(Refused::Full)?;
        group.queue.enter(limits.queue_max)
    }

    /// The average time to head of an endpoint on this worker: what p2c_ewma goes by.
    pub fn ewma(&self, target: usize, endpoint: usize, now: Instant) -> Option<std::time::Duration> {
        Some(self.locals.get(target)?.get(endpoint)?.ewma(now))
    }

    fn find(&mut self, live: &RouteLive, ask: &Ask<'_>) -> Option<Found> {
        let Self { groups, turns, locals, rng, .. } = self;
        let group = usize::from(ask.choice.group);
        let mut state = Policy { rng, turns, group: &mut groups[group], locals };
        let fresh = View { live, ask, group, avoid: ask.exclude };
        let sticky = live.groups().sticky.as_ref();
        let held = sticky.and_then(|sticky| sticky.held(live, ask));
        if let Some((target, endpoint)) = held.filter(|&(target, endpoint)| fresh.admits(target, endpoint)) {
            return Some(Found { target, endpoint, stick: Stick::Honoured, again: false });
        }
        // A session's endpoint that is only busy, or just failed this request, stays its endpoint.
        let stick = match (sticky, held) {
            (None, _) => Stick::Off,
            (Some(_), None) => Stick::Set,
            (Some(_), Some(_)) => Stick::Away,
        };
        let found = |(target, endpoint), again| Found { target, endpoint, stick, again };
        if let Some(at) = state.pick(&fresh) {
            return Some(found(at, false));
        }
        if ask.exclude.is_empty() {
            return None;
        }
        state.pick(&View { avoid: &[], ..fresh }).map(|at| found(at, true))
    }

    fn reserve(&self, live: &RouteLive, found: Found) -> Option<Picked> {
        let endpoint = &live.targets()[found.target].endpoints[found.endpoint];
        let max = if endpoint.address.is_some() { live.groups().limits.inflight_max } else { 0 };
        let inflight = self.locals[found.target][found.endpoint].enter(max)?;
        Some(Picked {
            target: found.target as u16,
            endpoint: found.endpoint as u16,
            address: endpoint.address,
            inflight,
            stick: found.stick,
            again: found.again,
        })
    }
}

struct Found {
    target: usize,
    endpoint: usize,
    stick: Stick,
    again: bool,
}

/// A policy's moving parts, borrowed for one pick.
struct Policy<'a> {
    rng: &'a mut fastrand::Rng,
    turns: &'a mut [usize],
    group: &'a mut Turns,
    locals: &'a [Vec<Rc<Local>>],
}

impl Policy<'_> {
    fn pick(&mut self, view: &View<'_>) -> Option<(usize, usize)> {
        let groups: &Groups = view.live.groups();
        match groups.balance {
            Balance::HashKetama | Balance::HashMaglev => self.by_hash(view, groups),
            Balance::P2cEwma => {
                let field = Endpoints { view, locals: self.locals };
                let at = p2c_ewma::pick(self.rng, &field, |at| field.cost(at))?;
                Some(field.place(at))
            }
            _ => self.by_target(view, groups.balance),
        }
    }

    fn by_hash(&mut self, view: &View<'_>, groups: &Groups) -> Option<(usize, usize)> {
        let part = &view.live.parts()[view.group];
        let admits = |member: usize| {
            let member = &part.members[member];
            view.admits(usize::from(member.target), usize::from(member.endpoint))
        };
        let key = |key: &[u8]| (!key.is_empty()).then(|| part.table.find(key, admits));
        match groups.hash_key.with(view.ask.keys, key) {
            None => self.by_target(view, Balance::RoundRobin),
            Some(member) => {
                let member = &part.members[member?];
                Some((usize::from(member.target), usize::from(member.endpoint)))
            }
        }
    }

    fn by_target(&mut self, view: &View<'_>, balance: Balance) -> Option<(usize, usize)> {
        let field = Targets { view, weighted: balance.is_weighted() };
        let at = match balance {
            Balance::WeightedRoundRobin => weighted_round_robin::pick(&mut self.group.smooth, &field),
            Balance::Random | Balance::WeightedRandom => random::pick(self.rng, &field),
            Balance::LeastActiveRequests | Balance::WeightedLeastActiveRequests => {
                least_active_requests::pick(&mut self.group.cursor, &field)
            }
            _ => round_robin::pick(&mut self.group.cursor, self.rng, &field),
        }?;
        let target = field.target(at);
        let within = field::Within { view, target };
        Some((target, round_robin::pick(&mut self.turns[target], self.rng, &within)?))
    }
}

#[cfg(test)]
mod tests;
