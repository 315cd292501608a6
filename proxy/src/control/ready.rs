//! Readiness: what each check says now, and since when. Looked at twice a second; a check that holds again says so by
//! itself.

mod assess;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;

use super::{Clock, Facts};
use assess::{CHECKS, Failure, SERVING, assess};

pub(super) use assess::CHECK_NAMES;

/// From one look to the next.
pub(super) const PERIOD: Duration = Duration::from_millis(500);

/// The answer of /ready.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    /// Whether traffic may come, whatever else fails.
    pub(super) serving: bool,
    pub(super) node_id: String,
    /// The first failing check whose dependencies hold.
    pub(super) root: Option<&'static str>,
    pub(super) revision: Revision,
    pub(super) checks: Vec<Check>,
    pub(super) warnings: Vec<Warning>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(super) struct Revision {
    pub(super) desired: u64,
    pub(super) applied: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) ok: bool,
    /// A fixed sentence per code.
    pub(super) detail: &'static str,
    pub(super) code: Option<&'static str>,
    /// RFC 3339; when it last changed.
    pub(super) since: String,
    pub(super) depends_on: &'static [&'static str],
    /// The failing check it follows from.
    pub(super) suppressed_by: Option<&'static str>,
    pub(super) hint: Option<&'static str>,
    /// What was seen.
    pub(super) evidence: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Warning {
    pub(super) code: &'static str,
    pub(super) since: String,
    pub(super) hint: String,
}

impl Readiness {
    /// The same without the checks named.
    pub(super) fn without(mut self, excluded: &[String]) -> Self {
        self.checks.retain(|check| !excluded.iter().any(|name| name == check.name));
        self.conclude();
        self
    }

    /// Derives what follows from the checks.
    fn conclude(&mut self) {
        let failing: Vec<&'static str> = self.checks.iter().filter(|check| !check.ok).map(|check| check.name).collect();
        let cause = |check: &Check| check.depends_on.iter().find(|name| failing.contains(name)).copied();
        self.checks.iter_mut().for_each(|check| check.suppressed_by = cause(check).filter(|_| !check.ok));
        self.ready = failing.is_empty();
        self.serving = !failing.iter().any(|name| SERVING.contains(name));
        self.root = self.checks.iter().find(|check| !check.ok && check.suppressed_by.is_none()).map(|check| check.name);
    }
}

/// Asks for what the document leaves out, which no process can make up for.
const OF_THE_DOCUMENT: &str = "service_plane";

/// What a process lacks that is to take over: the first check that fails, but for one with this code.
pub(super) fn lack(facts: &Facts, now: crate::base::Instant, but_for: Option<&str>) -> Option<String> {
    let rules = CHECKS.iter().zip(assess(facts, now)).filter(|(rule, _)| rule.name != OF_THE_DOCUMENT);
    let failures = rules.filter_map(|(rule, failure)| Some((rule.name, failure?)));
    let mut counted = failures.filter(|(_, failure)| Some(failure.code) != but_for);
    counted.next().map(|(name, failure)| format!("{name}: {}: {} {}", failure.code, failure.detail, failure.evidence))
}

/// Whether every worker turns.
pub(super) fn workers_turn(facts: &Facts, now: crate::base::Instant) -> bool {
    assess(facts, now).first().is_some_and(Option::is_none)
}

/// Remembers since when each check says what it says.
pub(super) struct Watch {
    facts: Arc<Facts>,
    clock: Clock,
    node_id: Arc<str>,
    states: Vec<(Option<&'static str>, String)>,
    refused: Option<(String, String)>,
    /// Since when other warnings hold, by code.
    warned: BTreeMap<&'static str, String>,
}

impl Watch {
    pub(super) fn new(facts: Arc<Facts>, clock: Clock, node_id: Arc<str>) -> Self {
        let since = timestamp();
        Self {
            facts,
            clock,
            node_id,
            states: vec![(None, since); CHECKS.len()],
            refused: None,
            warned: BTreeMap::new(),
        }
    }

    /// Looks, and says what it sees.
    pub(super) fn look(&mut self) -> Readiness {
        let failures = assess(&self.facts, (self.clock)());
        let checks = failures.into_iter().enumerate().map(|(at, failure)| self.check(at, failure)).collect();
        let mut readiness = Readiness {
            ready: false,
            serving: false,
            node_id: self.node_id.to_string(),
            root: None,
            revision: Revision { desired: self.facts.published().0, applied: self.facts.applied() },
            checks,
            warnings: self.warnings(),
        };
        readiness.conclude();
        readiness
    }

    fn check(&mut self, at: usize, failure: Option<Failure>) -> Check {
        let code = failure.as_ref().map(|failure| failure.code);
        let state = &mut self.states[at];
        if state.0 != code {
            *state = (code, timestamp());
            tracing::info!(check = CHECKS[at].name, code = code.unwrap_or("ok"), "readiness has changed");
        }
        let rule = &CHECKS[at];
        Check {
            name: rule.name,
            ok: failure.is_none(),
            detail: failure.as_ref().map_or(rule.fine, |failure| failure.detail),
            code,
            since: state.1.clone(),
            depends_on: rule.depends_on,
            suppressed_by: None,
            hint: failure.as_ref().map(|failure| failure.hint),
            evidence: failure.map(|failure| failure.evidence),
        }
    }

    /// What an operator should know though it fails nothing.
    fn warnings(&mut self) -> Vec<Warning> {
        let refused = self.facts.reload_refused();
        if refused.as_ref() != self.refused.as_ref().map(|(why, _)| why) {
            self.refused = refused.map(|why| (why, timestamp()));
        }
        let warning = |(why, since): &(String, String)| Warning {
            code: "RELOAD_REFUSED",
            since: since.clone(),
            hint: format!("the configuration before it is in force: {why}"),
        };
        let refused = self.refused.iter().map(warning);
        let told = self.facts.warnings();
        self.warned.retain(|code, _| told.contains_key(code));
        let others = told.into_iter().map(|(code, hint)| {
            let since = self.warned.entry(code).or_insert_with(timestamp).clone();
            Warning { code, since, hint }
        });
        refused.chain(others).collect()
    }

    /// Looks for ever.
    pub(super) async fn run(mut self, published: watch::Sender<Arc<Readiness>>) {
        let mut turns = tokio::time::interval(PERIOD);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            turns.tick().await;
            published.send_replace(Arc::new(self.look()));
            if published.is_closed() {
                return;
            }
        }
    }
}

fn timestamp() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests;
