//! What is asked of a request as a whole: predicates, combined.

use super::cel::{Scope, Term};
use super::predicate::Predicate;
use super::{EvalError, Facts, Failed};

/// A yes or no. `All` of none holds, `Any` of none does not.
#[derive(Debug)]
pub(super) enum Test {
    All(Box<[Test]>),
    Any(Box<[Test]>),
    Not(Box<Test>),
    Is(Predicate),
    /// What CEL asks beyond predicates.
    Term(Box<Term>),
}

impl Test {
    /// Everything in `tests`, cheap ones first: the order changes no answer.
    pub(super) fn all(mut tests: Vec<Self>) -> Self {
        match (tests.len(), tests.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                Self::All(cheap_first(
                    tests,
                    last,
                    |test| if let Self::All(inner) = test { Ok(inner) } else { Err(test) },
                ))
            }
        }
    }

    /// Something in `tests`, cheap ones first.
    pub(super) fn any(mut tests: Vec<Self>) -> Self {
        match (tests.len(), tests.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                Self::Any(cheap_first(
                    tests,
                    last,
                    |test| if let Self::Any(inner) = test { Ok(inner) } else { Err(test) },
                ))
            }
        }
    }

    pub(super) fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            test => Self::Not(Box::new(test)),
        }
    }

    /// An answer that no request changes.
    pub(super) fn constant(holds: bool) -> Self {
        if holds { Self::All([].into()) } else { Self::Any([].into()) }
    }

    /// Whether it holds. An error is the answer only where the rest does not decide (as CEL's `&&` and `||` have it).
    #[inline]
    pub(super) fn holds(&self, facts: &Facts<'_>, scope: Scope<'_>) -> Result<bool, EvalError> {
        match self {
            Self::Is(predicate) => Ok(predicate.holds(facts)),
            Self::All(tests) => decided(tests, false, facts, scope),
            Self::Any(tests) => decided(tests, true, facts, scope),
            Self::Not(test) => test.holds(facts, scope).map(|holds| !holds),
            Self::Term(term) => term.holds(facts, scope),
        }
    }

    fn weight(&self) -> u32 {
        match self {
            Self::Is(predicate) => predicate.weight(),
            Self::All(tests) | Self::Any(tests) => tests.iter().map(Self::weight).sum(),
            Self::Not(test) => test.weight(),
            Self::Term(_) => 50,
        }
    }

    /// The first predicate for which it is not `wanted`; none if it is CEL's own.
    pub(super) fn failing(&self, wanted: bool, facts: &Facts<'_>) -> Option<Failed> {
        match self {
            Self::Is(predicate) => Some(Failed {
                predicate: format!("{}{}", if wanted { "" } else { "not " }, predicate.name()),
                expected: predicate.expected(),
                actual: predicate.actual(facts),
            }),
            Self::Not(test) => test.failing(!wanted, facts),
            Self::All(tests) | Self::Any(tests) => {
                let fails = |test: &&Self| test.holds(facts, Scope::EMPTY) == Ok(!wanted);
                tests.iter().find(fails)?.failing(wanted, facts)
            }
            Self::Term(_) => None,
        }
    }
}

/// Nested tests of the same kind are part of it.
fn cheap_first(tests: Vec<Test>, last: Option<Test>, same: impl Fn(Test) -> Result<Box<[Test]>, Test>) -> Box<[Test]> {
    let mut flat = Vec::with_capacity(tests.len() + 1);
    for test in tests.into_iter().chain(last) {
        match same(test) {
            Ok(inner) => flat.extend(inner),
            Err(test) => flat.push(test),
        }
    }
    flat.sort_by_key(Test::weight);
    flat.into()
}

/// `decisive` if any test says so; else an error if there was one.
#[inline]
fn decided(tests: &[Test], decisive: bool, facts: &Facts<'_>, scope: Scope<'_>) -> Result<bool, EvalError> {
    let mut error = None;
    for test in tests {
        match test.holds(facts, scope) {
            Ok(holds) if holds == decisive => return Ok(decisive),
            Ok(_) => {}
            Err(found) => error = error.or(Some(found)),
        }
    }
    error.map_or(Ok(!decisive), Err)
}
