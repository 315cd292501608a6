//! From the document to the table: what the values mean, and everything that is wrong with them.

use std::collections::HashMap;

use super::edits::Edits;
use super::host::{HostMap, Pattern};
use super::index::Index;
use super::matcher::{Clients, FieldMatch, Matcher, PathMatch};
use super::redirect::Redirect;
use super::rewrite::Rewrite;
use super::{Answer, Listener, Route, Table};
use crate::base::regex;
use crate::config::raw::{self, Document};
use crate::config::value::{Action, Bind, PathSecurity};
use crate::config::{At, Problems};
use crate::http::is_token;

/// The document's table. With problems it is not fit for traffic: wrong keys are left out of it.
pub(super) fn table(document: &Document, problems: &mut Problems) -> Table {
    let names: HashMap<&str, usize> =
        document.listeners.iter().enumerate().map(|(at, listener)| (&*listener.name, at)).collect();
    let compiled = document.routes.iter().enumerate().map(|(at, raw)| route(at, raw, &names, problems));
    let mut routes: Vec<Route> = compiled.collect();
    routes.sort_by_key(|route| (route.priority, route.id));
    let mut ranks = vec![Vec::new(); document.listeners.len()];
    for (rank, route) in routes.iter().enumerate() {
        route.listeners.iter().for_each(|at| ranks[*at].push(rank as u32));
    }
    let listeners = document.listeners.iter().zip(ranks);
    let listeners = listeners.map(|(raw, ranks)| listener(raw, &ranks, &routes, problems)).collect();
    Table { routes, listeners }
}

fn listener(raw: &raw::Listener, ranks: &[u32], routes: &[Route], problems: &mut Problems) -> Listener {
    let hostnames = patterns(&raw.hostnames, "hostnames", &raw.at, problems);
    let mut served = HostMap::new(raw.host_wildcard);
    for pattern in &hostnames {
        served.insert(pattern, || 0);
    }
    let enabled = ranks.iter().copied().filter(|rank| routes[*rank as usize].enabled);
    let (defaults, others): (Vec<u32>, Vec<u32>) = enabled.partition(|rank| routes[*rank as usize].is_default);
    let ports = raw.bind.iter().filter_map(|bind| match bind {
        Bind::Tcp(address) => Some(address.port()),
        Bind::Unix(_) => None,
    });
    Listener {
        name: raw.name.as_str().into(),
        ports: ports.collect(),
        wildcard: raw.host_wildcard,
        hostnames,
        served: (!raw.hostnames.is_empty()).then_some(served),
        index: Index::build(routes, others.into_iter(), raw.host_wildcard),
        default: defaults.first().copied(),
    }
}

fn route(position: usize, raw: &raw::Route, names: &HashMap<&str, usize>, problems: &mut Problems) -> Route {
    check_keys(raw, problems);
    let matcher = matcher(raw, problems);
    let allow_encoded_separators = raw.path_security == PathSecurity::AllowEncodedSeparators;
    let rewrite = raw.rewrite.as_ref();
    let rewrite = rewrite.map(|raw| Rewrite::compile(raw, &matcher.path, allow_encoded_separators, problems));
    let request_headers = raw.request_headers.as_ref().map(|raw| Edits::compile(&raw.edits(), problems));
    let response_headers = raw.response_headers.as_ref().map(|raw| Edits::compile(&raw.edits(), problems));
    Route {
        id: raw.id,
        name: raw.name.as_str().into(),
        priority: raw.priority,
        position,
        answer: answer(raw, &matcher.path, problems),
        rewrite: rewrite.unwrap_or_default(),
        request_headers: request_headers.unwrap_or_default(),
        response_headers: response_headers.unwrap_or_default(),
        edit_error_pages: raw.response_headers.as_ref().is_some_and(|raw| raw.always),
        enabled: raw.enabled,
        is_default: raw.is_default,
        allow_encoded_separators,
        // A name that no listener has is the document's own problem.
        listeners: raw.listener.iter().filter_map(|name| names.get(&**name).copied()).collect(),
        matcher,
    }
}

/// Relations between the keys of one route.
fn check_keys(raw: &raw::Route, problems: &mut Problems) {
    let paths = path_keys(raw);
    let has_host = !raw.host.is_empty() || raw.host_regex.is_some();
    if raw.listener.is_empty() {
        problems.push(raw.at.problem("listener", "needs a listener"));
    }
    if let [(one, _), (other, _), ..] = paths[..] {
        problems.push(raw.at.problem(other, format!("{one} and {other} exclude each other")));
    }
    if !raw.host.is_empty() && raw.host_regex.is_some() {
        problems.push(raw.at.problem("host_regex", "host and host_regex exclude each other"));
    }
    if !raw.is_default && !has_host && paths.is_empty() {
        problems.push(raw.at.problem("", "needs a host or a path"));
    }
    if raw.is_default {
        check_default(raw, problems);
    }
}

fn path_keys(raw: &raw::Route) -> Vec<(&'static str, &str)> {
    let keys = [
        ("path_prefix", &raw.path_prefix),
        ("path_exact", &raw.path_exact),
        ("path_regex", &raw.path_regex),
        ("path_prefix_raw", &raw.path_prefix_raw),
    ];
    keys.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))).collect()
}

fn check_default(raw: &raw::Route, problems: &mut Problems) {
    let path = path_keys(raw).into_iter().find(|path| *path != ("path_prefix", "/"));
    let keys = [
        ("host", !raw.host.is_empty()),
        ("host_regex", raw.host_regex.is_some()),
        ("method", !raw.method.is_empty()),
        ("client", !raw.client.is_empty()),
        ("header", !raw.header.is_empty()),
        ("query", !raw.query.is_empty()),
    ];
    let present = keys.into_iter().filter(|(_, present)| *present).map(|(key, _)| key);
    for key in path.map(|(key, _)| key).into_iter().chain(present) {
        let message = format!("is the default, so {key} cannot be: its only match key is path_prefix = \"/\"");
        problems.push(raw.at.problem(key, message));
    }
}

fn matcher(raw: &raw::Route, problems: &mut Problems) -> Matcher {
    let host_regex = raw
        .host_regex
        .as_deref()
        .and_then(|source| regex(source).map_err(|why| problems.push(raw.at.problem("host_regex", why))).ok());
    let mut hosts = patterns(&raw.host, "host", &raw.at, problems);
    // Beside `*` no other pattern says anything.
    if hosts.contains(&Pattern::Any) {
        hosts.clear();
    }
    let methods = raw.method.iter();
    for method in methods.clone().filter(|method| !is_token(method.as_bytes())) {
        problems.push(raw.at.problem("method", format!("\"{method}\" is no method")));
    }
    Matcher {
        hosts,
        host_regex,
        path: path(raw, problems),
        methods: methods.map(|method| method.as_bytes().into()).collect(),
        clients: Clients::compile(&raw.client),
        headers: fields(&raw.header, str::to_ascii_lowercase, problems),
        parameters: fields(&raw.query, str::to_owned, problems),
    }
}

fn patterns(texts: &[String], key: &str, at: &At, problems: &mut Problems) -> Vec<Pattern> {
    let parsed = texts.iter().map(|text| Pattern::parse(text).map_err(|why| problems.push(at.problem(key, why))));
    parsed.filter_map(Result::ok).collect()
}

fn path(raw: &raw::Route, problems: &mut Problems) -> PathMatch {
    // The default's "/" is no condition: it also answers `OPTIONS *`, which has no path.
    let keys = if raw.is_default { Vec::new() } else { path_keys(raw) };
    let Some((key, text)) = keys.first().copied() else { return PathMatch::Any };
    let compiled = match key {
        "path_prefix" => PathMatch::prefix(text),
        "path_exact" => PathMatch::exact(text),
        "path_regex" => PathMatch::pattern(text),
        _ => PathMatch::raw(text),
    };
    compiled.unwrap_or_else(|why| {
        problems.push(raw.at.problem(key, why));
        PathMatch::Any
    })
}

fn fields(raw: &[raw::FieldMatch], name: fn(&str) -> String, problems: &mut Problems) -> Vec<FieldMatch> {
    let compiled = raw.iter().map(|field| {
        FieldMatch::compile(field, name(&field.name)).map_err(|why| problems.push(field.at.problem("value", why)))
    });
    compiled.filter_map(Result::ok).collect()
}

fn answer(raw: &raw::Route, path: &PathMatch, problems: &mut Problems) -> Answer {
    let both = "a route either forwards or redirects";
    match (raw.action, &raw.redirect) {
        (Action::Forward, None) => Answer::Forward,
        (Action::Forward, Some(redirect)) => {
            problems.push(redirect.at.problem("", format!("has a redirect, but its action is forward: {both}")));
            Answer::Forward
        }
        (Action::Redirect, None) => {
            problems.push(raw.at.problem("action", "action redirect needs [route.redirect]"));
            Answer::Forward
        }
        (Action::Redirect, Some(redirect)) => {
            check_redirect(raw, problems);
            Redirect::compile(redirect, path, problems).map_or(Answer::Forward, Answer::Redirect)
        }
    }
}

/// What only a forwarded request meets.
fn check_redirect(raw: &raw::Route, problems: &mut Problems) {
    if let Some(target) = raw.targets.first() {
        let message = "has a target, but its action is redirect: a route either forwards or redirects";
        problems.push(target.at.problem("", message));
    }
    let unused = [
        ("rewrite", raw.rewrite.as_ref().map(|rewrite| &rewrite.at)),
        ("request_headers", raw.request_headers.as_ref().map(|edits| &edits.at)),
    ];
    for (key, at) in unused.into_iter().filter_map(|(key, at)| Some((key, at?))) {
        problems.push(at.problem("", format!("{key} has no effect on a redirect")));
    }
}
