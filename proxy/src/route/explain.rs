//! Why a request meets its route and no other: every route of the document, with the first predicate that failed.

use std::borrow::Cow;

use super::query::Query;
use super::{Route, Table};

/// What became of one route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It answers.
    Matched,
    /// A predicate does not hold.
    Failed,
    /// It is switched off.
    Disabled,
    /// It answers because no other did.
    Default,
    /// An earlier one answers.
    NotReached,
}

impl Verdict {
    /// The token of records and the API.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Failed => "failed",
            Self::Disabled => "disabled",
            Self::Default => "default",
            Self::NotReached => "not_reached",
        }
    }
}

/// One route, and where it failed if it did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Considered {
    /// The route's id.
    pub id: u32,
    /// The route's priority.
    pub priority: i32,
    /// What became of it.
    pub verdict: Verdict,
    /// The predicate that failed; empty unless the verdict is failed, as are the next two.
    pub predicate: Cow<'static, str>,
    /// What it wants.
    pub expected: String,
    /// What the request has.
    pub actual: String,
}

/// All routes in the order in which they are asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// By (priority, id); the default, which is asked last, stands last.
    pub routes: Vec<Considered>,
    /// The id of the route that answers, by the scan.
    pub winner: Option<u32>,
    /// The id of the route that traffic would meet, if the index finds another than the scan: a defect of weir.
    pub disagreement: Option<Option<u32>>,
}

impl Table {
    /// Asks every route, with the predicates that the index asks.
    pub fn explain(&self, listener: usize, query: &Query<'_>) -> Explanation {
        let mut winner = None;
        let (defaults, others): (Vec<&Route>, Vec<&Route>) = self.routes.iter().partition(|route| route.is_default);
        let mut routes = Vec::with_capacity(self.routes.len());
        for route in others.into_iter().chain(defaults) {
            let considered = self.consider(listener, route, query, winner.is_some());
            if matches!(considered.verdict, Verdict::Matched | Verdict::Default) {
                winner = Some(route.id);
            }
            routes.push(considered);
        }
        let found = self.find(listener, query).map(|route| route.id);
        Explanation { routes, winner, disagreement: (found != winner).then_some(found) }
    }

    fn consider(&self, listener: usize, route: &Route, query: &Query<'_>, over: bool) -> Considered {
        let of = |verdict| Considered {
            id: route.id,
            priority: route.priority,
            verdict,
            predicate: Cow::Borrowed(""),
            expected: String::new(),
            actual: String::new(),
        };
        if !route.enabled {
            return of(Verdict::Disabled);
        }
        if !route.listeners.contains(&listener) {
            let names: Vec<&str> = route.listeners.iter().map(|at| &*self.listeners[*at].name).collect();
            let actual = self.listeners[listener].name.to_string();
            return Considered {
                predicate: "listener".into(),
                expected: names.join(", "),
                actual,
                ..of(Verdict::Failed)
            };
        }
        if over {
            return of(Verdict::NotReached);
        }
        if route.is_default {
            return of(Verdict::Default);
        }
        match route.matcher.first_failed(query, self.listeners[listener].wildcard) {
            None => of(Verdict::Matched),
            Some(failed) => {
                let (predicate, expected, actual) = route.matcher.describe(failed, query);
                Considered { predicate, expected, actual, ..of(Verdict::Failed) }
            }
        }
    }
}
