//! A route's predicates. The index, the scan of `explain` and lint all use this one code.

mod client;
mod field;
mod path;

pub(crate) use client::Clients;
pub(crate) use field::FieldMatch;
pub(crate) use path::PathMatch;

use std::borrow::Cow;

use regex::bytes::Regex;

use super::host::Pattern;
use super::query::Query;
use crate::config::value::HostWildcard;
use crate::http::query_pairs;

/// Everything that must be true of a request for a route to match.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    /// Any of them; none: any host.
    pub(crate) hosts: Vec<Pattern>,
    pub(crate) host_regex: Option<Regex>,
    pub(crate) path: PathMatch,
    /// Any of them; none: any method.
    pub(crate) methods: Vec<Box<[u8]>>,
    pub(crate) clients: Option<Clients>,
    pub(crate) headers: Vec<FieldMatch>,
    pub(crate) parameters: Vec<FieldMatch>,
}

/// One predicate of a matcher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Predicate {
    Host,
    Path,
    Method,
    Client,
    Header(usize),
    Parameter(usize),
}

impl Matcher {
    /// Whether the host and path tries decide this matcher alone.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.host_regex.is_none()
            && self.path.is_indexed()
            && self.methods.is_empty()
            && self.clients.is_none()
            && self.headers.is_empty()
            && self.parameters.is_empty()
    }

    /// Whether everything holds that the tries have not decided.
    pub(crate) fn rest_holds(&self, query: &Query<'_>) -> bool {
        self.host_regex.as_ref().is_none_or(|regex| regex.is_match(query.host.as_bytes()))
            && (self.path.is_indexed() || self.path.matches(query.route_path))
            && self.first_condition_failed(query).is_none()
    }

    /// The first predicate that does not hold; none: the route matches.
    pub(crate) fn first_failed(&self, query: &Query<'_>, wildcard: HostWildcard) -> Option<Predicate> {
        if !self.host_holds(query.host, wildcard) {
            return Some(Predicate::Host);
        }
        if !self.path.matches(query.route_path) {
            return Some(Predicate::Path);
        }
        self.first_condition_failed(query)
    }

    fn host_holds(&self, host: &str, wildcard: HostWildcard) -> bool {
        (self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(host, wildcard)))
            && self.host_regex.as_ref().is_none_or(|regex| regex.is_match(host.as_bytes()))
    }

    fn first_condition_failed(&self, query: &Query<'_>) -> Option<Predicate> {
        if !self.methods.is_empty() && !self.methods.iter().any(|method| **method == *query.method) {
            return Some(Predicate::Method);
        }
        if self.clients.as_ref().is_some_and(|clients| !clients.contains(query.client)) {
            return Some(Predicate::Client);
        }
        let header =
            self.headers.iter().position(|field| !field.holds_for(|holds| query.fields.any(&field.name, holds)));
        header.map(Predicate::Header).or_else(|| {
            let pairs = query.query.unwrap_or_default();
            let holds = |field: &FieldMatch| field.holds_for(|holds| any_parameter(pairs, &field.name, holds));
            self.parameters.iter().position(|field| !holds(field)).map(Predicate::Parameter)
        })
    }

    /// The predicate's name, what it wants, and what the request has, for people.
    pub(crate) fn describe(&self, predicate: Predicate, query: &Query<'_>) -> (Cow<'static, str>, String, String) {
        let text = |octets: &[u8]| octets.escape_ascii().to_string();
        match predicate {
            Predicate::Host => ("host".into(), self.hosts_text(), query.host.to_owned()),
            Predicate::Path => (self.path.key().into(), self.path.to_string(), text(query.route_path)),
            Predicate::Method => {
                let methods: Vec<String> = self.methods.iter().map(|method| text(method)).collect();
                ("method".into(), methods.join(", "), text(query.method))
            }
            Predicate::Client => {
                let client = query.client.map_or("unix".to_owned(), |client| client.to_string());
                ("client".into(), self.clients.as_ref().map(Clients::to_string).unwrap_or_default(), client)
            }
            Predicate::Header(at) => {
                let field = &self.headers[at];
                let actual = field.actual(|each| query.fields.any(&field.name, each));
                (format!("header {}", field.name).into(), field.to_string(), actual)
            }
            Predicate::Parameter(at) => {
                let field = &self.parameters[at];
                let pairs = query.query.unwrap_or_default();
                let actual = field.actual(|each| any_parameter(pairs, &field.name, each));
                (format!("query {}", field.name).into(), field.to_string(), actual)
            }
        }
    }

    pub(crate) fn hosts_text(&self) -> String {
        match &self.host_regex {
            Some(regex) => format!("regex {}", regex.as_str()),
            None if self.hosts.is_empty() => "*".to_owned(),
            None => self.hosts.iter().map(Pattern::to_string).collect::<Vec<_>>().join(", "),
        }
    }

    /// Whether every request that meets the conditions of `other` (all but host and path) meets these; says no where it
    /// cannot know.
    pub(crate) fn conditions_cover(&self, other: &Self) -> bool {
        self.methods_cover(other) && self.conditions_but_method_cover(other)
    }

    /// Whether some request that meets the conditions of `other` meets these, and all would but for the method.
    pub(crate) fn conditions_meet_by_method(&self, other: &Self) -> bool {
        let methods_meet = self.methods.is_empty()
            || other.methods.is_empty()
            || other.methods.iter().any(|method| self.methods.contains(method));
        methods_meet && self.conditions_but_method_cover(other)
    }

    fn conditions_but_method_cover(&self, other: &Self) -> bool {
        let all_in = |ours: &[FieldMatch], theirs: &[FieldMatch]| ours.iter().all(|field| theirs.contains(field));
        let clients = match (&self.clients, &other.clients) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => ours.covers(theirs),
        };
        clients && all_in(&self.headers, &other.headers) && all_in(&self.parameters, &other.parameters)
    }

    fn methods_cover(&self, other: &Self) -> bool {
        self.methods.is_empty()
            || (!other.methods.is_empty() && other.methods.iter().all(|method| self.methods.contains(method)))
    }
}

/// Whether `holds` is true for any value of the parameter `name`. Allocates only where the query is encoded, and only for
/// routes that ask about it.
fn any_parameter(query: &[u8], name: &str, mut holds: impl FnMut(&[u8]) -> bool) -> bool {
    query_pairs(query).any(|(key, value)| *key == *name.as_bytes() && holds(&value))
}
