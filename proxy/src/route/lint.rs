//! Lint: routes that are valid and probably not what was meant. Only what is certain is reported; what two regexes have
//! in common is never guessed.

mod cover;
mod redirects;

use std::collections::HashSet;

use super::Table;
use super::host::{HostMap, Pattern};
use super::matcher::PathMatch;
use crate::config::{Document, Problem, Problems};
use cover::{Piece, Shadow};

/// What is odd about a route.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lint {
    /// Earlier routes take every request of it.
    Shadowed,
    /// An earlier, broader route takes a part of its requests.
    BroadBeforeSpecific,
    /// An earlier route has the same match.
    Duplicate,
    /// A default on a listener where another route matches everything.
    DefaultUnreachable,
    /// A wildcard whose apex no route names.
    NoApex,
    /// Following its Location leads back to it.
    RedirectLoop,
}

impl Lint {
    /// The token of reports.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Shadowed => "shadowed",
            Self::BroadBeforeSpecific => "broad_before_specific",
            Self::Duplicate => "duplicate",
            Self::DefaultUnreachable => "default_unreachable",
            Self::NoApex => "no_apex",
            Self::RedirectLoop => "redirect_loop",
        }
    }
}

/// One odd route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What is odd.
    pub lint: Lint,
    /// The route's place in the document.
    pub position: usize,
    /// A sentence that names it.
    pub message: String,
}

impl Table {
    /// Everything odd, in the order in which routes are asked.
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.lint_shadows(&mut findings);
        self.lint_defaults(&mut findings);
        self.lint_apexes(&mut findings);
        self.lint_redirects(&mut findings);
        findings
    }

    /// Reports everything odd as warnings at the routes of `document`, from which this table is.
    pub fn warn(&self, document: &Document, problems: &mut Problems) {
        problems.extend(self.lint().into_iter().map(|finding| {
            let at = &document.routes[finding.position].at;
            // The sentence names the route itself.
            Problem { message: finding.message, ..at.warning("", "") }
        }));
    }

    fn finding(&self, lint: Lint, rank: u32, message: String) -> Finding {
        Finding { lint, position: self.routes[rank as usize].position, message }
    }

    fn lint_shadows(&self, findings: &mut Vec<Finding>) {
        for (rank, route) in self.routes.iter().enumerate().filter(|(_, route)| route.enabled && !route.is_default) {
            let (rank, id) = (rank as u32, route.id);
            let (lint, message) = match self.shadow(rank) {
                Shadow::None => continue,
                Shadow::Duplicate(other) => {
                    (Lint::Duplicate, format!("route {id} never matches: route {other} has the same match"))
                }
                Shadow::Whole(others) => {
                    let cover = if others.len() == 1 { "covers" } else { "cover" };
                    (Lint::Shadowed, format!("route {id} never matches: {} {cover} it", routes_text(&others)))
                }
                Shadow::Part(other) => (
                    Lint::BroadBeforeSpecific,
                    format!(
                        "route {id} is more specific than route {other}, which comes first and takes a part of its requests"
                    ),
                ),
            };
            findings.push(self.finding(lint, rank, message));
        }
    }

    fn lint_defaults(&self, findings: &mut Vec<Finding>) {
        for (at, listener) in self.listeners.iter().enumerate() {
            let Some(default) = listener.default else { continue };
            let any = [Pattern::Any];
            let hosts = if listener.hostnames.is_empty() { &any[..] } else { &listener.hostnames };
            let all: Option<Vec<u32>> = hosts.iter().map(|host| self.takes_everything(at, host)).collect();
            let Some(mut others) = all.filter(|others| !others.is_empty()) else { continue };
            others.sort_unstable();
            others.dedup();
            let id = self.routes[default as usize].id;
            let cover = if others.len() == 1 { "covers" } else { "cover" };
            let message = format!(
                "route {id} never answers on listener {}: {} {cover} every path of it",
                listener.name,
                routes_text(&others)
            );
            findings.push(self.finding(Lint::DefaultUnreachable, default, message));
        }
    }

    /// The id of a route that matches every path of every host of `host`.
    fn takes_everything(&self, listener: usize, host: &Pattern) -> Option<u32> {
        let root = PathMatch::Prefix(b"/"[..].into());
        let piece = Piece { listener, host };
        let ranks = self.ranks_over(&piece, Some(b"/"));
        let mut routes = ranks.into_iter().map(|rank| &self.routes[rank as usize]);
        routes.find(|route| route.matcher.is_unconditional() && route.matcher.path.covers(&root)).map(|route| route.id)
    }

    fn lint_apexes(&self, findings: &mut Vec<Finding>) {
        for (at, listener) in self.listeners.iter().enumerate() {
            let here = || self.routes.iter().enumerate().filter(move |(_, r)| r.enabled && r.listeners.contains(&at));
            let mut named = HostMap::new(listener.wildcard);
            here().flat_map(|(_, route)| &route.matcher.hosts).for_each(|host| {
                named.insert(host, || 0);
            });
            let by_regex = |apex: &str| {
                let regexes = here().filter_map(|(_, route)| route.matcher.host_regex.as_ref());
                regexes.into_iter().any(|regex| regex.is_match(apex.as_bytes()))
            };
            let mut seen = HashSet::new();
            for (rank, route) in here() {
                for apex in route.matcher.hosts.iter().filter_map(Pattern::apex).filter(|apex| seen.insert(*apex)) {
                    if named.contains(apex) || self.check_host(at, apex).is_err() || by_regex(apex) {
                        continue;
                    }
                    let message =
                        format!("route {} matches *.{apex}, which is not {apex}, and no route names that", route.id);
                    findings.push(self.finding(Lint::NoApex, rank as u32, message));
                }
            }
        }
    }

    fn lint_redirects(&self, findings: &mut Vec<Finding>) {
        for rank in 0..self.routes.len() as u32 {
            if let Some(chain) = self.redirect_loop(rank) {
                let message = format!("route {} redirects in a loop: {chain}", self.routes[rank as usize].id);
                findings.push(self.finding(Lint::RedirectLoop, rank, message));
            }
        }
    }
}

fn routes_text(ids: &[u32]) -> String {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    match &ids[..] {
        [one] => format!("route {one}"),
        [first @ .., last] => format!("routes {} and {last}", first.join(", ")),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests;
