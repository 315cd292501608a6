//! What only a whole object or the whole document shows: duplicates, references, relations between keys.

mod kernel;
mod limit;
mod tls;

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::problem::{At, Code};
use super::raw::{
    AccessLog, Ban, ClientProxy, Document, Health, Listener, Management, Outlier, Resolver, Route, Target,
};
use super::reader::{Reader, nearest};
use super::value::{
    AccessLogFormat, AccessLogOutput, Bind, HealthKind, Protocol, ProxyProtocol, TargetProtocol, is_token,
};
pub(super) use kernel::{kernel, kernel_syn};
pub(super) use limit::{deny_response, kernel_tier, rate_limit};
pub(super) use tls::{listed_certificate, listener_tls, target_tls};

pub(super) fn document(document: &mut Document, reader: &mut Reader) {
    unique(reader, document.listeners.iter().map(|one| (one.name.as_str(), "name", &one.at)));
    unique(reader, document.routes.iter().map(|one| (one.id, "id", &one.at)));
    unique(reader, document.routes.iter().map(|one| (one.name.as_str(), "name", &one.at)));
    unique(reader, document.templates.iter().map(|one| (one.name.as_str(), "name", &one.at)));
    unique(reader, document.access_logs.iter().map(|one| (one.name.as_str(), "name", &one.at)));
    unique(reader, document.rate_limits.iter().map(|one| (one.name.as_str(), "name", &one.at)));
    binds(document, reader);
    defaults(document, reader);
    limit::rate_limits(document, reader);
    // A name may belong to an object that was left out for a problem of its own.
    if !reader.incomplete {
        references(document, reader);
    }
}

/// Reports each name that an earlier object has.
fn unique<'a, K: Eq + Hash + std::fmt::Display>(
    reader: &mut Reader,
    named: impl Iterator<Item = (K, &'a str, &'a At)>,
) {
    let mut seen: HashMap<K, &At> = HashMap::new();
    for (name, key, at) in named {
        match seen.get(&name) {
            Some(first) => {
                let message = format!("{key} {name} is taken: line {} has it", first.line());
                reader.push(at.coded(Code::Duplicate, key, message));
            }
            None => {
                seen.insert(name, at);
            }
        }
    }
}

fn binds(document: &Document, reader: &mut Reader) {
    let own = document.management.listen.iter().chain(&document.metrics.listen).copied().map(Bind::Tcp);
    let mut seen: HashMap<Bind, &str> = own.map(|bind| (bind, "weir itself")).collect();
    for listener in document.listeners.iter().filter(|listener| listener.enabled) {
        // Each bind to port 0 gets a port of its own.
        let fixed = |bind: &&Bind| !matches!(bind, Bind::Tcp(address) if address.port() == 0);
        for bind in listener.bind.iter().filter(fixed) {
            if let Some(first) = seen.insert(bind.clone(), &listener.name) {
                let message = format!("bind {bind} is taken: {first} has it");
                reader.push(listener.at.coded(Code::Duplicate, "bind", message));
            }
        }
    }
}

fn defaults(document: &Document, reader: &mut Reader) {
    let mut first: HashMap<&str, u32> = HashMap::new();
    for route in document.routes.iter().filter(|route| route.is_default && route.enabled) {
        for listener in &route.listener {
            if let Some(other) = first.insert(listener, route.id) {
                let message = format!("is_default: listener {listener} has a default, route {other}");
                reader.push(route.at.coded(Code::Duplicate, "is_default", message));
            }
        }
    }
}

fn references(document: &Document, reader: &mut Reader) {
    let listeners: HashSet<_> = document.listeners.iter().map(|one| one.name.as_str()).collect();
    let templates: HashSet<_> = document.templates.iter().map(|one| one.name.as_str()).collect();
    for route in &document.routes {
        for name in &route.listener {
            known(reader, &listeners, "listener", name, &route.at);
        }
        for answer in route.targets.iter().filter_map(|target| target.static_.as_ref()) {
            if let Some(name) = &answer.template {
                known(reader, &templates, "template", name, &answer.at);
            }
        }
    }
    for response in document.rate_limits.iter().map(|rule| &rule.response) {
        if let Some(name) = &response.template {
            known(reader, &templates, "template", name, &response.at);
        }
    }
}

fn known(reader: &mut Reader, names: &HashSet<&str>, kind: &str, name: &str, at: &At) {
    if !names.contains(name) {
        let message = format!("there is no {kind} \"{name}\"");
        let near = nearest(name, names.iter().copied());
        reader.push(at.coded(Code::UnknownReference, kind, message).suggest(near));
    }
}

pub(super) fn listener(listener: &mut Listener, reader: &mut Reader) {
    if !is_token(&listener.request_id_header) {
        let message =
            format!("request_id_header = \"{}\" is not a field name", listener.request_id_header.escape_debug());
        reader.push(listener.at.problem("request_id_header", message));
    }
    if listener.limits.memory_max.is_some() {
        reader.push(
            listener.limits.at.problem("memory_max", "memory_max is for the whole process: it stands in [limits]"),
        );
    }
    let plain = listener.protocol == Protocol::Http;
    for key in ["tls", "sni_check"].into_iter().filter(|key| plain && listener.at.has(key)) {
        reader.push(listener.at.problem(key, format!("{key} needs protocol = \"https\"")));
    }
    if !plain && listener.h2c {
        reader.push(listener.at.problem("h2c", "h2c needs protocol = \"http\": over TLS HTTP/2 is agreed on by alpn"));
    }
    let unix = listener.bind.iter().any(|bind| matches!(bind, Bind::Unix(_)));
    for key in ["mode", "owner", "group"].into_iter().filter(|key| !unix && listener.at.has(key)) {
        reader.push(listener.at.problem(key, format!("{key} is for socket files: no bind is unix:")));
    }
}

pub(super) fn client_proxy(proxy: &mut ClientProxy, reader: &mut Reader) {
    if !is_token(&proxy.header) {
        let message = format!("header = \"{}\" is not a field name", proxy.header.escape_debug());
        reader.push(proxy.at.problem("header", message));
    }
    match (proxy.cidrs.is_empty(), &proxy.file) {
        (true, None) => reader.push(proxy.at.problem("", "needs cidrs or a file of them")),
        (false, Some(_)) => reader.push(proxy.at.problem("file", "has both cidrs and a file")),
        _ => (),
    }
}

pub(super) fn ban(ban: &mut Ban, reader: &mut Reader) {
    match (&ban.cidr, &ban.file) {
        (None, None) => reader.push(ban.at.problem("", "needs a cidr or a file of them")),
        (Some(_), Some(_)) => reader.push(ban.at.problem("file", "has both a cidr and a file")),
        _ => (),
    }
}

pub(super) fn route(route: &mut Route, reader: &mut Reader) {
    if route.name.is_empty() {
        route.name = format!("route-{}", route.id);
    }
    if route.id > i32::MAX.unsigned_abs() {
        reader.push(route.at.problem("", "needs an id: there is none above the highest one"));
    }
    unique(reader, route.targets.iter().map(|one| (one.name.as_str(), "name", &one.at)));
    unique(reader, route.listener.iter().map(|name| (name.as_str(), "listener", &route.at)));
}

pub(super) fn target(target: &mut Target, reader: &mut Reader) {
    match (&target.url, &target.static_) {
        (None, None) => reader.push(target.at.problem("", "needs a url or a static answer")),
        (Some(_), Some(answer)) => reader.push(answer.at.problem("", "has both a url and a static answer")),
        _ => (),
    }
    if target.static_.is_some() && target.at.has("protocol") {
        reader.push(target.at.problem("protocol", "protocol has no effect with a static answer"));
    }
    let is_https = |url: &String| url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let is_https = target.url.as_ref().is_some_and(is_https);
    if target.tls.is_some() && !is_https {
        reader.push(target.at.problem("tls", "tls needs a url that is https://"));
    }
    if target.proxy_protocol != ProxyProtocol::Off {
        let wrong = match target.protocol {
            _ if target.static_.is_some() => Some("proxy_protocol has no effect with a static answer"),
            TargetProtocol::Http1 => None,
            _ => Some("proxy_protocol needs protocol = \"http1\": a connection of HTTP/2 serves many clients"),
        };
        wrong.into_iter().for_each(|message| reader.push(target.at.problem("proxy_protocol", message)));
    }
    let protocol = target.protocol;
    let scheme = match protocol {
        TargetProtocol::H2 | TargetProtocol::Auto if !is_https => "https",
        TargetProtocol::H2c if is_https => "http",
        _ => "",
    };
    if !scheme.is_empty() && target.url.is_some() {
        let message = format!("protocol = \"{}\" needs a url that is {scheme}://", protocol.word());
        reader.push(target.at.problem("protocol", message));
    }
    let both = target.static_.as_ref().filter(|answer| answer.body.is_some() && answer.template.is_some());
    if let Some(answer) = both {
        reader.push(answer.at.problem("template", "static has both a body and a template"));
    }
}

pub(super) fn health(health: &mut Health, reader: &mut Reader) {
    if health.timeout > health.interval {
        reader.push(health.at.problem("timeout", "health.timeout is above health.interval"));
    }
    if !health.path.starts_with('/') {
        reader.push(health.at.problem("path", "health.path must begin with \"/\""));
    }
    if health.service.is_some() && health.kind != HealthKind::Grpc {
        reader.push(health.at.problem("service", "health.service needs kind = \"grpc\""));
    }
}

pub(super) fn outlier(outlier: &mut Outlier, reader: &mut Reader) {
    if outlier.base > outlier.max {
        reader.push(outlier.at.problem("base", "outlier.base is above outlier.max"));
    }
}

pub(super) fn resolver(resolver: &mut Resolver, reader: &mut Reader) {
    if resolver.ttl_min > resolver.ttl_max {
        reader.push(resolver.at.problem("ttl_min", "ttl_min is above ttl_max"));
    }
}

pub(super) fn management(management: &mut Management, reader: &mut Reader) {
    for address in management.listen.iter().filter(|address| !address.ip().is_loopback()) {
        let message = format!("listen = \"{address}\" is not a loopback address, which the management API needs");
        reader.push(management.at.problem("listen", message));
    }
}

pub(super) fn access_log(log: &mut AccessLog, reader: &mut Reader) {
    let template = log.format == AccessLogFormat::Template;
    let file = log.output == AccessLogOutput::File;
    let relations = [
        (template && log.template.is_none(), "format", "format = \"template\" needs a template"),
        (!template && log.template.is_some(), "template", "template needs format = \"template\""),
        (file && log.path.is_none(), "output", "output = \"file\" needs a path"),
        (!file && log.path.is_some(), "path", "path needs output = \"file\""),
    ];
    for (_, key, message) in relations.into_iter().filter(|(wrong, ..)| *wrong) {
        reader.push(log.at.problem(key, message));
    }
}
