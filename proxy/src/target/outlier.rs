//! Passive health: an endpoint that fails requests in a row is taken out for a while. Workers report what they saw;
//! control owns the counts and decides.

use std::collections::HashMap;
use std::time::Duration;

use super::cells::EndpointId;
use super::live::{Change, Live, Place, RouteLive};
use crate::base::Instant;

/// When an endpoint is ejected, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Failed connects and head timeouts in a row; 0: never.
    pub connect: u32,
    /// 5xx in a row; 0: never.
    pub gateway: u32,
    /// For how long, times the ejections in a row.
    pub base: Duration,
    /// For how long at most.
    pub max: Duration,
    /// Share of a group's endpoints that may be out at once, in per cent.
    pub max_percent: u32,
}

/// What a worker saw of an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// What it did.
    pub observed: Observed,
}

/// How an attempt went, as far as it says something of the endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Observed {
    /// A head below 500 came; sent only after a failure.
    Answered,
    /// No connection.
    ConnectFailed,
    /// A connection, but no head in time.
    HeadTimedOut,
    /// A 5xx, or what becomes a 502.
    ServerError,
}

/// What follows from a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing yet.
    Stays,
    /// Out until then: publish [`Change::Eject`].
    Ejected(Instant),
    /// It deserved ejection, but too many of its group are out.
    Refused,
}

/// Control's counts for every endpoint that failed lately.
#[derive(Debug, Default)]
pub struct Outliers {
    counts: HashMap<EndpointId, Count>,
    ejected: u64,
    refused: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    connect: u32,
    gateway: u32,
    /// Ejections without a good answer in between.
    ejections: u32,
}

impl Outliers {
    /// Takes a worker's report. Reports about an endpoint that is out already are late ones and count nothing.
    pub fn note(&mut self, live: &Live, report: Report, now: Instant) -> Verdict {
        let Some(place) = live.find(report.endpoint) else { return Verdict::Stays };
        let (Some(route), Some(endpoint)) = (live.route(place.slot), live.endpoint(place)) else {
            return Verdict::Stays;
        };
        let Some(rules) = route.groups().outlier.filter(|_| !endpoint.is_ejected(now)) else { return Verdict::Stays };
        if report.observed == Observed::Answered {
            self.counts.remove(&report.endpoint);
            return Verdict::Stays;
        }
        let count = self.counts.entry(report.endpoint).or_default();
        if !count.add(report.observed, &rules) {
            return Verdict::Stays;
        }
        if !has_leave(route, place, &rules, now) {
            self.refused += 1;
            return Verdict::Refused;
        }
        *count = Count { ejections: count.ejections.saturating_add(1), ..Count::default() };
        self.ejected += 1;
        Verdict::Ejected(now + rules.base.saturating_mul(count.ejections).min(rules.max))
    }

    /// The ejections that are over by `now`.
    pub fn over(&self, live: &Live, now: Instant) -> Vec<Change> {
        let over = live.endpoints().filter(|(_, endpoint)| endpoint.ejected_until.is_some_and(|until| until <= now));
        over.map(|(_, endpoint)| Change::Restore(endpoint.cells.id())).collect()
    }

    /// A probe passed: it ends an ejection, whatever time is left.
    pub fn probe_passed(&self, live: &Live, id: EndpointId, now: Instant) -> Option<Change> {
        let endpoint = live.endpoint(live.find(id)?)?;
        endpoint.is_ejected(now).then_some(Change::Restore(id))
    }

    /// When [`Outliers::over`] is worth another look.
    pub fn due(&self, live: &Live) -> Option<Instant> {
        live.endpoints().filter_map(|(_, endpoint)| endpoint.ejected_until).min()
    }

    /// Drops counts of endpoints that are gone.
    pub fn retain(&mut self, live: &Live) {
        let known: std::collections::HashSet<_> = live.endpoints().map(|(_, endpoint)| endpoint.cells.id()).collect();
        self.counts.retain(|id, _| known.contains(id));
    }

    /// Ejections so far.
    pub fn ejected(&self) -> u64 {
        self.ejected
    }

    /// Ejections refused because of max_percent.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl Count {
    /// True if a row is long enough. A head, even of a 5xx, ends the row of failed connects.
    fn add(&mut self, observed: Observed, rules: &Rules) -> bool {
        let reached = |row: u32, limit: u32| limit > 0 && row >= limit;
        match observed {
            Observed::Answered => false,
            Observed::ConnectFailed | Observed::HeadTimedOut => {
                self.connect = self.connect.saturating_add(1);
                reached(self.connect, rules.connect)
            }
            Observed::ServerError => {
                self.connect = 0;
                self.gateway = self.gateway.saturating_add(1);
                reached(self.gateway, rules.gateway)
            }
        }
    }
}

/// Whether one more of the group may go: within max_percent, or with a higher group to take over.
fn has_leave(route: &RouteLive, place: Place, rules: &Rules, now: Instant) -> bool {
    let Some(group) = route.groups().targets[place.target].group.map(usize::from) else { return false };
    let (out, all) = route
        .group_endpoints(group)
        .fold((0, 0), |(out, all), (_, _, endpoint)| (out + usize::from(endpoint.is_ejected(now)), all + 1));
    let side = &route.groups().sides[usize::from(route.groups().groups[group].side)];
    let higher = || (group + 1..side.groups.end).any(|group| route.is_usable(group, now));
    (out + 1) * 100 <= rules.max_percent as usize * all || higher()
}

#[cfg(test)]
mod tests;
