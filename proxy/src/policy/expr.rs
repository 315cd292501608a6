//! What rules ask of a request: the match language and CEL, both compiled when a document is loaded.

mod cel;
mod facts;
mod native;
mod nets;
mod pairs;
mod predicate;
mod test;
mod text;

pub use facts::{Facts, FieldName, Source, Tls};

use crate::config::raw::{Document, RuleKeys};
use crate::config::{Position, Problems};
use cel::Scope;
use test::Test;

/// What expressions are compiled against.
#[derive(Clone, Debug)]
pub struct Context {
    /// Header fields that a request may have.
    pub fields_max: u64,
    /// Pairs that a query may have.
    pub queries_max: u64,
    /// Whether there is a database of countries.
    pub countries: bool,
    /// Whether there is a database of networks.
    pub networks: bool,
    /// Names of listeners.
    pub listeners: Vec<Box<str>>,
}

impl Context {
    /// That of a document.
    pub fn of(document: &Document) -> Self {
        let limits = || document.listeners.iter().map(|listener| listener.limits.over(&document.limits));
        Self {
            fields_max: limits().map(|own| own.fields_max).fold(document.limits.fields_max, u64::max),
            queries_max: limits().map(|own| own.query_pairs_max).fold(document.limits.query_pairs_max, u64::max),
            countries: document.geoip.db.is_some(),
            networks: document.geoip.asn_db.is_some(),
            listeners: document.listeners.iter().map(|listener| listener.name.as_str().into()).collect(),
        }
    }
}

/// What one rule asks. Asking allocates nothing, but for a query that is encoded, and where CEL works values out.
#[derive(Debug)]
pub struct Expr {
    test: Test,
    /// The CEL text, for explanations.
    when: Option<Box<str>>,
}

/// Why an expression has no answer for a request: CEL's run-time errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvalError {
    /// An index outside its list.
    Index,
    /// A number beyond 64 bits.
    Overflow,
    /// By zero.
    Division,
    /// A network, made from the request, that is none.
    Network,
    /// A host pattern, made from the request, that is none.
    Pattern,
}

impl std::fmt::Display for EvalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Index => "an index lies outside its list",
            Self::Overflow => "a number is beyond 64 bits",
            Self::Division => "division by zero",
            Self::Network => "cidr was given no network",
            Self::Pattern => "host_match was given no pattern",
        })
    }
}

impl std::error::Error for EvalError {}

/// The predicate that does not hold, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// Its field: `header.x-plan`, behind `not` if it must not hold; `when` if it is an expression of CEL.
    pub predicate: String,
    /// What it wants.
    pub expected: String,
    /// What the request has.
    pub actual: String,
}

/// What is wrong with a `match` or a `when`, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wrong {
    position: Position,
    message: String,
    nearest: Option<String>,
}

impl Wrong {
    fn new(position: Position, message: impl Into<String>) -> Self {
        Self { position, message: message.into(), nearest: None }
    }
}

impl Expr {
    /// Compiles what a rule asks. Everything wrong with it goes to `problems`; with an error there is no expression.
    pub fn compile(keys: &RuleKeys<'_>, context: &Context, problems: &mut Problems) -> Option<Self> {
        let mut report = |key: &str, wrong: Wrong| {
            problems.push(keys.at.within(key, wrong.position, &wrong.message).suggest(wrong.nearest));
        };
        let native = keys.matching.map(|matching| native::compile(matching, context));
        let cel = keys.when.map(|when| cel::compile(when, context));
        let native = native.transpose().map_err(|wrongs| wrongs.into_iter().for_each(|wrong| report("match", wrong)));
        let cel = cel.transpose().map_err(|wrong| report("when", wrong));
        let tests = native.ok()?.into_iter().chain(cel.ok()?);
        let when = keys.when.map(|when| when.text().into());
        Some(Self { test: Test::all(tests.collect()), when })
    }

    /// Whether a request is what the rule asks for.
    ///
    /// # Errors
    /// CEL's run-time errors.
    #[inline]
    pub fn matches(&self, facts: &Facts<'_>) -> Result<bool, EvalError> {
        self.test.holds(facts, Scope::EMPTY)
    }

    /// The predicate for which a request that does not match fails.
    pub fn explain(&self, facts: &Facts<'_>) -> Failed {
        self.test.failing(true, facts).unwrap_or_else(|| Failed {
            predicate: "when".to_owned(),
            expected: self.when.as_deref().unwrap_or_default().to_owned(),
            actual: "false".to_owned(),
        })
    }
}

#[cfg(test)]
pub(in crate::policy) mod tests;
