//! What a policy chooses among: candidates with weights, seen through the same eligibility.

use std::rc::Rc;
use std::time::Duration;

use super::Ask;
use super::local::Local;
use crate::target::cells::EndpointId;
use crate::target::live::{Endpoint, RouteLive};

/// Candidates by number.
pub(super) trait Field {
    /// How many, eligible or not.
    fn len(&self) -> usize;
    /// The weight that counts now, in thousandths; zero: not eligible.
    fn weight(&self, at: usize) -> u64;
    /// Requests in flight.
    fn active(&self, at: usize) -> u64;
    /// How far its slow start is, in thousandths.
    fn warmth(&self, at: usize) -> u32;
}

/// One group, through the eyes of one attempt.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) live: &'a RouteLive,
    pub(super) ask: &'a Ask<'a>,
    pub(super) group: usize,
    pub(super) avoid: &'a [EndpointId],
}

impl View<'_> {
    pub(super) fn endpoint(&self, target: usize, endpoint: usize) -> &Endpoint {
        &self.live.targets()[target].endpoints[endpoint]
    }

    /// Usable, not to be avoided, below its limits.
    pub(super) fn admits(&self, target: usize, endpoint: usize) -> bool {
        let endpoint = self.endpoint(target, endpoint);
        let usable = !self.ask.choice.mode.heeds_health() || endpoint.is_usable(self.ask.now);
        usable && !self.avoid.contains(&endpoint.cells.id()) && self.has_room(endpoint)
    }

    fn has_room(&self, endpoint: &Endpoint) -> bool {
        if endpoint.address.is_none() {
            return true;
        }
        let (limits, cells) = (&self.live.groups().limits, &endpoint.cells);
        let below = |count: u32, max: u32| max == 0 || count < max;
        below(cells.inflight(), limits.inflight_max)
            && (below(cells.connections(), limits.connections_max) || (self.ask.idle)(cells.id()))
    }

    fn warmth(&self, endpoint: &Endpoint) -> u32 {
        endpoint.warmth(self.ask.now, self.live.groups().slow_start)
    }
}

/// A group's targets.
pub(super) struct Targets<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) weighted: bool,
}

impl Targets<'_> {
    pub(super) fn target(&self, at: usize) -> usize {
        usize::from(self.view.live.groups().groups[self.view.group].targets[at])
    }
}

impl Field for Targets<'_> {
    fn len(&self) -> usize {
        self.view.live.groups().groups[self.view.group].targets.len()
    }

    fn weight(&self, at: usize) -> u64 {
        let weight = if self.weighted { self.view.live.groups().targets[self.target(at)].weight } else { 1 };
        u64::from(weight) * u64::from(self.warmth(at))
    }

    fn active(&self, at: usize) -> u64 {
        let endpoints = &self.view.live.targets()[self.target(at)].endpoints;
        endpoints.iter().map(|endpoint| u64::from(endpoint.cells.inflight())).sum()
    }

    /// The mean of its eligible endpoints; zero if it has none.
    fn warmth(&self, at: usize) -> u32 {
        let target = self.target(at);
        let endpoints = &self.view.live.targets()[target].endpoints;
        if self.view.live.groups().slow_start.is_zero() {
            return if (0..endpoints.len()).any(|at| self.view.admits(target, at)) { 1000 } else { 0 };
        }
        let eligible = (0..endpoints.len()).filter(|&at| self.view.admits(target, at));
        let (sum, count) = eligible.fold((0, 0), |(sum, n), at| (sum + self.view.warmth(&endpoints[at]), n + 1));
        sum / u32::max(count, 1)
    }
}

/// One target's endpoints.
pub(super) struct Within<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) target: usize,
}

impl Field for Within<'_> {
    fn len(&self) -> usize {
        self.view.live.targets()[self.target].endpoints.len()
    }

    fn weight(&self, at: usize) -> u64 {
        u64::from(self.warmth(at))
    }

    fn active(&self, at: usize) -> u64 {
        u64::from(self.view.endpoint(self.target, at).cells.inflight())
    }

    fn warmth(&self, at: usize) -> u32 {
        if self.view.admits(self.target, at) { self.view.warmth(self.view.endpoint(self.target, at)) } else { 0 }
    }
}

/// A group's endpoints, whatever their target.
pub(super) struct Endpoints<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) locals: &'a [Vec<Rc<Local>>],
}

impl Endpoints<'_> {
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let member = &self.view.live.parts()[self.view.group].members[at];
        (usize::from(member.target), usize::from(member.endpoint))
    }

    /// Expected wait per unit of weight: average time to head, times those before and the request itself.
    pub(super) fn cost(&self, at: usize) -> f64 {
        let (target, endpoint) = self.place(at);
        let average: Duration = self.locals[target][endpoint].ewma(self.view.ask.now);
        let share = self.view.live.parts()[self.view.group].members[at].share * f64::from(self.warmth(at));
        average.as_secs_f64() * (self.active(at) + 1) as f64 / share
    }
}

impl Field for Endpoints<'_> {
    fn len(&self) -> usize {
        self.view.live.parts()[self.view.group].members.len()
    }

    fn weight(&self, at: usize) -> u64 {
        u64::from(self.warmth(at))
    }

    fn active(&self, at: usize) -> u64 {
        let (target, endpoint) = self.place(at);
        u64::from(self.view.endpoint(target, endpoint).cells.inflight())
    }

    fn warmth(&self, at: usize) -> u32 {
        let (target, endpoint) = self.place(at);
        let admits = self.view.admits(target, endpoint);
        if admits { self.view.warmth(self.view.endpoint(target, endpoint)) } else { 0 }
    }
}
