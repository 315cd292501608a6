//! Routes: host and path index, redirects, rewrites, header edits.
//!
//! [`Table::build`] checks and compiles what the document says; [`Table::find`] answers a request in the order
//! (priority, id) by an index whose cost does not depend on the number of routes; [`Table::explain`] scans all of them
//! with the same predicates and says where each failed.

mod compile;
mod edits;
mod explain;
mod host;
mod index;
mod lint;
mod matcher;
mod path;
mod query;
mod redirect;
mod rewrite;

pub use edits::{Edits, Facts};
pub use explain::{Considered, Explanation, Verdict};
pub use lint::{Finding, Lint};
pub use query::{Fields, Query};
pub use redirect::{Incoming, Redirect};
pub use rewrite::{Rewrite, Rewritten};

use crate::base::{Fault, Reason};
use crate::config::value::HostWildcard;
use crate::config::{Document, Problems};
use host::{HostMap, Pattern};
use index::Index;
use matcher::Matcher;

/// All routes of a document, compiled.
#[derive(Debug)]
pub struct Table {
    /// By (priority, id): a route's place is its rank.
    routes: Vec<Route>,
    /// In the document's order.
    listeners: Vec<Listener>,
}

/// One route, compiled.
#[derive(Clone, Debug)]
pub struct Route {
    /// Unique, below 2^31.
    pub id: u32,
    /// `route-<id>`, if the document gives none.
    pub name: Box<str>,
    /// Lower first.
    pub priority: i32,
    /// Its place among the document's routes: what other stages compile from it stands there too.
    pub position: usize,
    /// What it does.
    pub answer: Answer,
    /// How path and host change on the way upstream.
    pub rewrite: Rewrite,
    /// For the request upstream.
    pub request_headers: Edits,
    /// For the response, whoever made it.
    pub response_headers: Edits,
    /// Whether `response_headers` edits weir's own error pages too.
    pub edit_error_pages: bool,
    enabled: bool,
    is_default: bool,
    allow_encoded_separators: bool,
    /// Positions of listeners.
    listeners: Vec<usize>,
    matcher: Matcher,
}

/// What a route does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To its targets.
    Forward,
    /// With a Location.
    Redirect(Redirect),
}

/// A listener's part of the table.
#[derive(Debug)]
struct Listener {
    name: Box<str>,
    ports: Vec<u16>,
    wildcard: HostWildcard,
    hostnames: Vec<Pattern>,
    /// None: every host is served.
    served: Option<HostMap>,
    index: Index,
    default: Option<u32>,
}

impl Table {
    /// Compiles the document's listeners and routes. Everything that is wrong with them goes to `problems`; with any
    /// the table is not fit for traffic, but may be looked at further.
    pub fn build(document: &Document, problems: &mut Problems) -> Self {
        compile::table(document, problems)
    }

    /// Whether `listener` (its place in the document) serves `host`; else 421 (RFC 9110 section 15.5.20).
    pub fn check_host(&self, listener: usize, host: &str) -> Result<(), Fault> {
        match &self.listeners[listener].served {
            Some(served) if !served.contains(host) => Err(Fault::new(Reason::HostNotServed)),
            _ => Ok(()),
        }
    }

    /// The first enabled route of `listener` in the order (priority, id) whose predicates all hold, else its default.
    pub fn find(&self, listener: usize, query: &Query<'_>) -> Option<&Route> {
        let listener = &self.listeners[listener];
        let rank = listener.index.find(&self.routes, query).or(listener.default)?;
        Some(&self.routes[rank as usize])
    }

    /// All routes, by (priority, id).
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

/// 400, unless the winner of a path with an encoded separator says that it may be forwarded as spelled.
pub fn check_encoded_separator(winner: Option<&Route>) -> Result<&Route, Fault> {
    winner.filter(|route| route.allow_encoded_separators).ok_or(Fault::new(Reason::InvalidRequestTarget))
}

#[cfg(test)]
mod tests;
