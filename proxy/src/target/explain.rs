//! A route's endpoints as explain, the API and traces show them: what each is, and why it was passed over.

use std::time::Duration;

use super::balance::Balancer;
use super::choose::Choice;
use super::live::{Endpoint, RouteLive};
use crate::base::Instant;

/// One endpoint, or a target without any.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// The target's name.
    pub target: Box<str>,
    /// The endpoint's address; empty for a static target or while unresolved.
    pub address: String,
    /// What is spoken there; `None` for a static target.
    pub protocol: Option<&'static str>,
    /// The target's priority_group.
    pub group: u8,
    /// The target's weight.
    pub weight: u32,
    /// unknown, healthy, unhealthy, ejected, unresolved, disabled.
    pub state: &'static str,
    /// Since when its health is what it is.
    pub since: Option<Instant>,
    /// Requests in flight over all workers.
    pub inflight: u32,
    /// The average time to head on the worker asked, if one was.
    pub ewma: Option<Duration>,
    /// Why it cannot be picked; `None`: it can.
    pub skip_reason: Option<Skip>,
}

/// Why an endpoint is not among those to pick from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Skip {
    /// The target is disabled.
    Disabled,
    /// It has no address yet.
    Unresolved,
    /// The split chose another side.
    OtherSide,
    /// Another priority group serves alone.
    OtherGroup,
    /// Its probes fail.
    Unhealthy,
    /// It failed requests.
    Ejected,
    /// Its in-flight or connection limit is reached.
    AtLimit,
}

impl Skip {
    /// The word of explain and traces.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Unresolved => "unresolved",
            Self::OtherSide => "other_split",
            Self::OtherGroup => "other_group",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::AtLimit => "at_limit",
        }
    }
}

/// All rows of a route in the targets' order. `balancer` is a worker's own, where there is one to ask.
pub fn rows(live: &RouteLive, choice: Option<Choice>, balancer: Option<&Balancer>, now: Instant) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, target) in live.groups().targets.iter().enumerate() {
        let blank = Row {
            target: target.name.clone(),
            address: String::new(),
            protocol: target.origin().map(|_| target.protocol.word()),
            group: target.priority_group,
            weight: target.weight,
            state: if target.enabled { "unresolved" } else { "disabled" },
            since: None,
            inflight: 0,
            ewma: None,
            skip_reason: Some(if target.enabled { Skip::Unresolved } else { Skip::Disabled }),
        };
        let endpoints = &live.targets()[at].endpoints;
        if endpoints.is_empty() || !target.enabled {
            rows.push(blank);
            continue;
        }
        rows.extend(endpoints.iter().enumerate().map(|(place, endpoint)| Row {
            address: endpoint.address.map(|address| address.to_string()).unwrap_or_default(),
            state: if endpoint.is_ejected(now) { "ejected" } else { endpoint.state.word() },
            since: Some(endpoint.since),
            inflight: endpoint.cells.inflight(),
            ewma: balancer.and_then(|balancer| balancer.ewma(at, place, now)),
            skip_reason: skip(live, at, endpoint, choice, now),
            ..blank.clone()
        }));
    }
    rows
}

fn skip(live: &RouteLive, target: usize, endpoint: &Endpoint, choice: Option<Choice>, now: Instant) -> Option<Skip> {
    let groups = live.groups();
    let own = groups.targets[target].group;
    let heeds = choice.is_none_or(|choice| choice.mode.heeds_health());
    if let Some(chosen) = choice.filter(|choice| Some(choice.group) != own) {
        let same_side = groups.groups[usize::from(chosen.group)].side == groups.targets[target].side;
        return Some(if same_side { Skip::OtherGroup } else { Skip::OtherSide });
    }
    if heeds && endpoint.is_ejected(now) {
        return Some(Skip::Ejected);
    }
    if heeds && !endpoint.is_usable(now) {
        return Some(Skip::Unhealthy);
    }
    let full = |count: u32, max: u32| max > 0 && count >= max;
    let (limits, cells) = (&groups.limits, &endpoint.cells);
    let at_limit = full(cells.inflight(), limits.inflight_max) || full(cells.connections(), limits.connections_max);
    (endpoint.address.is_some() && at_limit).then_some(Skip::AtLimit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::choose::choose;
    use crate::target::live::State;
    use crate::target::testing::{Request, SECOND, START, groups, id, live, route};

    #[test]
    fn rows_say_why_each_endpoint_is_passed_over() {
        let target = |name: &str, url: &str, more: &str| {
            format!("[[route.target]]\nname = \"{name}\"\nurl = \"{url}\"\nweight = 3\n{more}\n")
        };
        let text = [
            target("a", "http://127.0.0.1:81", ""),
            target("b", "http://127.0.0.2", ""),
            target("c", "http://127.0.0.3", ""),
            target("d", "http://d.test", ""),
            target("e", "http://127.0.0.5", "enabled = false"),
            target("f", "http://127.0.0.6", "priority_group = 1"),
        ];
        let table = live(&groups(&text.concat()));
        let table = table.with_health(id(&table, 1, 0), State::Unhealthy, START + SECOND);
        let table = table.with_ejection(id(&table, 2, 0), START + SECOND * 9, START);
        let now = START + SECOND * 2;
        let choice = choose(route(&table), &Request::default(), 0, now);
        let rows = rows(route(&table), choice, None, now);
        let shown: Vec<_> = rows
            .iter()
            .map(|row| (&*row.target, row.address.as_str(), row.group, row.state, row.skip_reason.map(Skip::word)))
            .collect();
        assert_eq!(
            shown,
            [
                ("a", "127.0.0.1:81", 0, "unknown", None),
                ("b", "127.0.0.2:80", 0, "unhealthy", Some("unhealthy")),
                ("c", "127.0.0.3:80", 0, "ejected", Some("ejected")),
                ("d", "", 0, "unresolved", Some("unresolved")),
                ("e", "", 0, "disabled", Some("disabled")),
                ("f", "127.0.0.6:80", 1, "unknown", Some("other_group")),
            ]
        );
        assert_eq!((rows[1].since, rows[0].weight), (Some(START + SECOND), 3));
    }
}
