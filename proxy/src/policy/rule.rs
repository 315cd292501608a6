//! Rules of any kind: sorted, walked, counted per worker, explained.

mod cells;
mod id;

pub use cells::{RuleCells, RuleCounters, RuleTable, RuleTotals};
pub use id::RuleId;

use super::expr::{Context, Expr, Facts, Failed};
use crate::config::Problems;
use crate::config::raw::RuleKeys;
use crate::config::value::{OnError, RuleMode};

/// Rules that a trace or an explanation shows.
pub const SHOWN_MAX: usize = 64;

/// Enabled rules of one kind, in the order of priority and then of the document.
#[derive(Debug)]
pub struct Rules<A> {
    list: Box<[Rule<A>]>,
}

/// One rule: what it asks, and what it then does.
#[derive(Debug)]
pub struct Rule<A> {
    /// The same for as long as its kind and name are.
    pub id: RuleId,
    /// Unique among its kind.
    pub name: Box<str>,
    /// Whether it acts, or is only recorded.
    pub mode: RuleMode,
    /// What it does.
    pub action: A,
    /// Its place in the order, and of its counters.
    pub slot: usize,
    on_error: OnError,
    expr: Expr,
}

/// What became of one rule, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged<'r> {
    /// The rule's name.
    pub rule: &'r str,
    /// Its mode.
    pub mode: RuleMode,
    /// What came out.
    pub verdict: Verdict,
}

/// What came out of asking a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It matches.
    Matched,
    /// It does not, because of this predicate.
    Failed(Failed),
    /// Its expression failed with this message, and it matches nevertheless or does not.
    Error {
        /// What went wrong.
        message: String,
        /// Whether it counts as a match.
        matches: bool,
    },
}

impl Verdict {
    /// The word of the API and the trace.
    pub const fn token(&self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Failed(_) => "failed",
            Self::Error { .. } => "error",
        }
    }
}

/// Gathers rules of one kind while a document is compiled.
pub struct RulesBuilder<'c, A> {
    kind: &'static str,
    context: &'c Context,
    found: Vec<(i32, Rule<A>)>,
}

impl<'c, A> RulesBuilder<'c, A> {
    /// None yet. `kind` is the table's name in the document: `rate_limit`.
    pub fn new(kind: &'static str, context: &'c Context) -> Self {
        Self { kind, context, found: Vec::new() }
    }

    /// Compiles what a rule asks; what is wrong with it goes to `problems`. A disabled rule is judged and left out.
    pub fn push(&mut self, keys: &RuleKeys<'_>, action: Option<A>, problems: &mut Problems) {
        let expr = Expr::compile(keys, self.context, problems);
        let (Some(expr), Some(action), true) = (expr, action, keys.enabled) else { return };
        let rule = Rule {
            id: RuleId::of(self.kind, keys.name),
            name: keys.name.into(),
            mode: keys.mode,
            action,
            slot: 0,
            on_error: keys.on_error,
            expr,
        };
        self.found.push((keys.priority, rule));
    }

    /// The rules in their order.
    pub fn build(mut self) -> Rules<A> {
        self.found.sort_by_key(|(priority, _)| *priority);
        let in_order = self.found.into_iter().enumerate().map(|(slot, (_, rule))| Rule { slot, ..rule });
        Rules { list: in_order.collect() }
    }
}

impl<A> Rules<A> {
    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Rule<A>> {
        self.list.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The rules that match, in order, each asked when the one before has been dealt with, so that a caller that stops
    /// asks no more. Counts what it asks; what becomes of a match is the caller's to count.
    pub fn matching<'s>(&'s self, facts: &Facts<'_>, cells: &RuleCells) -> impl Iterator<Item = &'s Rule<A>> {
        self.list.iter().filter(move |rule| rule.asked(facts, cells.slot(rule.slot)))
    }

    /// What each rule says of a request, at most [`SHOWN_MAX`] of them; nothing is counted.
    pub fn explain<'r>(&'r self, facts: &Facts<'_>) -> Vec<Judged<'r>> {
        self.list.iter().take(SHOWN_MAX).map(|rule| rule.judged(facts)).collect()
    }
}

impl<A> Rule<A> {
    fn asked(&self, facts: &Facts<'_>, counters: &RuleCounters) -> bool {
        counters.evaluated.add(1);
        let matches = self.expr.matches(facts).unwrap_or_else(|_| {
            counters.errors.add(1);
            self.on_error == OnError::Match
        });
        counters.matched.add(u64::from(matches));
        matches
    }

    /// Whether it matches, without counting: for explanations.
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.expr.matches(facts).unwrap_or(self.on_error == OnError::Match)
    }

    fn judged(&self, facts: &Facts<'_>) -> Judged<'_> {
        let verdict = match self.expr.matches(facts) {
            Ok(true) => Verdict::Matched,
            Ok(false) => Verdict::Failed(self.expr.explain(facts)),
            Err(error) => Verdict::Error { message: error.to_string(), matches: self.on_error == OnError::Match },
        };
        Judged { rule: &self.name, mode: self.mode, verdict }
    }
}

#[cfg(test)]
mod tests;
