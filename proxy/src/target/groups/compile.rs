//! From a route's document to its group model: what the keys mean together.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::{Group, Groups, Host, Kind, Limits, Origin, Side, Static, Target};
use crate::config::raw::{Health, Route, StaticAnswer, Sticky as RawSticky, Target as RawTarget, TargetTls};
use crate::config::value::{AllUnhealthy, HashKey, HealthKind, ProxyProtocol, Secret, SplitKey, TargetProtocol};
use crate::config::{Code, Problems};
use crate::listen::proxy_protocol::Version;
use crate::target::health::Check;
use crate::target::outlier::Rules;
use crate::target::sticky::Sticky;
use crate::tls::{Flaw, Outgoing};

/// What the rest of the document gives to a route's targets.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The body of a template.
    pub template: &'a dyn Fn(&str) -> Option<Arc<[u8]>>,
    /// What a reference to a secret stands for.
    pub secret: &'a dyn Fn(&Secret) -> Result<Vec<u8>, String>,
    /// What sessions with an https origin go by.
    pub tls: &'a dyn Fn(Secure<'_>) -> Result<Arc<Outgoing>, Flaw>,
    /// Signs sticky cookies of routes without keys: made once per process.
    pub generated_key: &'a [u8],
}

/// An https origin.
#[derive(Clone, Debug)]
pub struct Secure<'a> {
    /// The keys of its own, if it has any.
    pub raw: Option<&'a TargetTls>,
    /// The host of its URL: a name, or an address without brackets.
    pub host: &'a str,
    /// The protocols to offer there, the preferred one first.
    pub alpn: Vec<Vec<u8>>,
}

/// Compiles a forwarding route's targets; all that is wrong goes to `problems`.
pub fn compile(route: &Route, context: &Context<'_>, problems: &mut Problems) -> Option<Arc<Groups>> {
    let before = problems.len();
    if !route.targets.iter().any(|target| target.enabled) {
        problems.push(route.at.problem("target", "needs an enabled target"));
    }
    let mut sides = sides(route, problems);
    let mut order: Vec<&RawTarget> = route.targets.iter().collect();
    // Stable: targets of one position stay in the document's order.
    order.sort_by_key(|target| target.position);
    let mut targets: Vec<Target> =
        order.iter().filter_map(|raw| target(route, raw, &sides, context, problems)).collect();
    let sticky = route.sticky.as_ref().map(|raw| sticky(route, raw, context, problems));
    if route.balance.is_hash() && !route.slow_start.is_zero() {
        problems.push(route.at.problem("slow_start", "slow_start has no effect with a hash"));
    }
    if problems.len() > before {
        return None;
    }
    let groups = group(&mut targets, &mut sides);
    Some(Arc::new(Groups {
        route: route.id,
        targets,
        sides,
        groups,
        split_key: route.split.as_ref().and_then(|split| key(&split.key)),
        balance: route.balance,
        hash_key: route.hash_key.clone(),
        sticky,
        slow_start: route.slow_start,
        panic_percent: route.panic_percent,
        use_all: route.all_unhealthy == AllUnhealthy::UseAll,
        limits: limits(route),
        outlier: rules(route),
    }))
}

fn key(key: &SplitKey) -> Option<HashKey> {
    match key {
        SplitKey::Random => None,
        SplitKey::Of(key) => Some(key.clone()),
    }
}

fn limits(route: &Route) -> Limits {
    let limits = &route.limits;
    let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    Limits {
        inflight_max: count(limits.inflight_max),
        connections_max: count(limits.connections_max),
        queue_max: count(limits.queue_max),
        queue_timeout: limits.queue_timeout,
    }
}

/// On where said so, else where health is probed.
fn rules(route: &Route) -> Option<Rules> {
    let raw = &route.outlier;
    let probed = route.health.is_some() || route.targets.iter().any(|target| target.health.is_some());
    raw.enabled.unwrap_or(probed).then_some(Rules {
        connect: raw.connect,
        gateway: raw.gateway,
        base: raw.base,
        max: raw.max,
        max_percent: raw.max_percent,
    })
}

fn sides(route: &Route, problems: &mut Problems) -> Vec<Side> {
    let side = |name: &str, weight| Side { name: name.into(), weight, groups: 0..0 };
    let Some(split) = &route.split else { return vec![side("", 1)] };
    if split.weights.iter().all(|(_, weight)| *weight == 0) {
        problems.push(split.at.problem("weights", "split.weights needs a weight above 0"));
    }
    for (name, _) in &split.weights {
        let named = |target: &RawTarget| target.enabled && target.split.as_ref() == Some(name);
        if !route.targets.iter().any(named) {
            problems.push(split.at.problem("weights", format!("no enabled target has split = \"{name}\"")));
        }
    }
    split.weights.iter().map(|(name, weight)| side(name, *weight)).collect()
}

fn target(
    route: &Route,
    raw: &RawTarget,
    sides: &[Side],
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<Target> {
    let kind = match (&raw.url, &raw.static_) {
        (Some(text), None) => match url(text) {
            Ok(url) => origin(raw, url, context, problems).map(Kind::Origin),
            Err(message) => {
                problems.push(raw.at.problem("url", message));
                None
            }
        },
        (None, Some(answer)) => Some(Kind::Static(Arc::new(fixed(answer, context, problems)))),
        _ => {
            problems.push(raw.at.problem("", "needs a url or a static answer"));
            None
        }
    };
    let side = side_of(route, raw, sides, problems);
    let kind = kind?;
    // A static answer needs no probe.
    let checks = raw.health.as_ref().or(route.health.as_ref()).filter(|_| matches!(kind, Kind::Origin(_)));
    if raw.protocol == TargetProtocol::Http1 && checks.is_some_and(|checks| checks.kind == HealthKind::Grpc) {
        problems.push(raw.at.problem("protocol", "health.kind = \"grpc\" needs a protocol of HTTP/2"));
    }
    Some(Target {
        name: raw.name.as_str().into(),
        enabled: raw.enabled,
        kind,
        protocol: raw.protocol,
        announces: match raw.proxy_protocol {
            ProxyProtocol::Off => None,
            ProxyProtocol::V1 => Some(Version::V1),
            ProxyProtocol::V2 => Some(Version::V2),
        },
        priority_group: raw.priority_group,
        weight: raw.weight,
        side: side?,
        group: None,
        health: checks.map(check),
    })
}

fn side_of(route: &Route, raw: &RawTarget, sides: &[Side], problems: &mut Problems) -> Option<u16> {
    match (&route.split, &raw.split) {
        (None, None) => return Some(0),
        (None, Some(_)) => problems.push(raw.at.problem("split", "split needs [route.split]")),
        (Some(_), None) => problems.push(raw.at.problem("", "needs split, as the route has [route.split]")),
        (Some(_), Some(name)) => {
            let at = sides.iter().position(|side| *side.name == **name);
            if let Some(at) = at.and_then(|at| u16::try_from(at).ok()) {
                return Some(at);
            }
            let message = format!("split.weights has no \"{name}\"");
            problems.push(raw.at.coded(Code::UnknownReference, "split", message));
        }
    }
    None
}

fn check(raw: &Health) -> Arc<Check> {
    Arc::new(Check::from(raw))
}

/// Numbers the groups: sides in their order, within each the priority groups rising.
fn group(targets: &mut [Target], sides: &mut [Side]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (at, side) in sides.iter_mut().enumerate() {
        let first = groups.len();
        let own = |target: &&Target| target.enabled && usize::from(target.side) == at;
        let mut priorities: Vec<u8> = targets.iter().filter(own).map(|target| target.priority_group).collect();
        priorities.sort_unstable();
        priorities.dedup();
        groups.extend(priorities.iter().map(|&priority| Group { side: at as u16, priority, targets: Vec::new() }));
        side.groups = first..groups.len();
    }
    for (at, target) in targets.iter_mut().enumerate().filter(|(_, target)| target.enabled) {
        let own = |group: &Group| group.side == target.side && group.priority == target.priority_group;
        let Some(found) = groups.iter().position(own) else { continue };
        groups[found].targets.push(at as u16);
        target.group = Some(found as u16);
    }
    groups
}

/// Fields that describe the message or the connection: weir's own to write.
const OWN_FIELDS: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "date",
];

fn fixed(raw: &StaticAnswer, context: &Context<'_>, problems: &mut Problems) -> Static {
    if !(200..=599).contains(&raw.status) {
        problems.push(raw.at.problem("status", "status must be 200 to 599"));
    }
    for (name, values) in &raw.headers {
        if OWN_FIELDS.contains(&name.to_ascii_lowercase().as_str()) {
            problems.push(raw.at.problem("headers", format!("header {name} is not for a static answer to set")));
        } else if !is_token(name) {
            problems.push(raw.at.problem("headers", format!("\"{}\" is not a field name", name.escape_debug())));
        }
        // RFC 9110 section 5.5.
        if values.iter().any(|value| value.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f)) {
            problems.push(raw.at.problem("headers", format!("header {name} holds a control character")));
        }
    }
    let body = match (&raw.template, &raw.body) {
        (Some(name), _) => (context.template)(name).unwrap_or_else(|| {
            let message = format!("there is no template \"{name}\"");
            problems.push(raw.at.coded(Code::UnknownReference, "template", message));
            Arc::default()
        }),
        (None, Some(body)) => body.as_bytes().into(),
        (None, None) => Arc::default(),
    };
    let lines = raw.headers.iter().flat_map(|(name, values)| {
        values.iter().map(move |value| (Box::from(name.as_str()), Box::from(value.as_str())))
    });
    Static { status: raw.status, headers: lines.collect(), body }
}

fn sticky(route: &Route, raw: &RawSticky, context: &Context<'_>, problems: &mut Problems) -> Sticky {
    if !is_token(&raw.cookie) {
        let message = format!("sticky.cookie = \"{}\" is not a cookie name", raw.cookie.escape_debug());
        problems.push(raw.at.problem("cookie", message));
    }
    let mut keys = Vec::new();
    for secret in &raw.keys {
        match (context.secret)(secret) {
            Ok(key) if key.len() < 16 => {
                problems.push(raw.at.problem("keys", "a sticky key needs 16 octets"));
            }
            Ok(key) => keys.push(key),
            Err(message) => problems.push(raw.at.problem("keys", message)),
        }
    }
    if raw.keys.is_empty() {
        keys.push(context.generated_key.to_vec());
    }
    Sticky::new(route.id, &raw.cookie, cookie_path(route), raw.ttl, raw.same_site, &keys)
}

/// Two routes of a host may both be sticky under one cookie name: the Path attribute keeps their cookies apart. Only a
/// prefix that browsers compare as weir does (RFC 6265 section 5.1.4) will do.
fn cookie_path(route: &Route) -> &str {
    let plain = |path: &&str| path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b));
    route.path_prefix.as_deref().filter(plain).map_or("/", |path| match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    })
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn origin(raw: &RawTarget, url: Url<'_>, context: &Context<'_>, problems: &mut Problems) -> Option<Origin> {
    let Url { secure, authority, host, port } = url;
    let (tls, tls_http1) = match secure {
        true => (Some(sessions(raw, &host, alpn(raw.protocol), context, problems)?), own_http1(raw, &host, context)),
        false => (None, None),
    };
    Some(Origin { authority: authority.into(), host, port, tls, tls_http1 })
}

/// What is offered to an origin, the preferred protocol first.
fn alpn(protocol: TargetProtocol) -> &'static [&'static str] {
    match protocol {
        TargetProtocol::Http1 | TargetProtocol::H2c => &["http/1.1"],
        TargetProtocol::H2 => &["h2"],
        TargetProtocol::Auto => &["h2", "http/1.1"],
    }
}

/// Sessions without HTTP/2, where it is offered but not wanted for all: what is wrong with them has been said.
fn own_http1(raw: &RawTarget, host: &Host, context: &Context<'_>) -> Option<Arc<Outgoing>> {
    let offers = raw.protocol == TargetProtocol::Auto;
    offers.then(|| sessions(raw, host, alpn(TargetProtocol::Http1), context, &mut Problems::default())).flatten()
}

fn sessions(
    raw: &RawTarget,
    host: &Host,
    alpn: &[&str],
    context: &Context<'_>,
    problems: &mut Problems,
) -> Option<Arc<Outgoing>> {
    let host = match host {
        Host::Address(ip) => ip.to_string(),
        Host::Name(name) => name.to_string(),
    };
    let own = raw.tls.as_ref();
    let alpn = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let made = (context.tls)(Secure { raw: own, host: &host, alpn });
    let refused = |flaw: &Flaw| {
        let message = format!("tls.{} {}", flaw.key, flaw.why);
        problems.push(
            own.map_or_else(|| raw.at.problem("url", message.clone()), |own| own.at.problem(flaw.key, message.clone())),
        );
    };
    made.inspect_err(refused).ok()
}

/// The parts of a target's URL.
pub(super) struct Url<'u> {
    pub(super) secure: bool,
    pub(super) authority: &'u str,
    pub(super) host: Host,
    pub(super) port: u16,
}

/// Reads `http://host[:port]`, or the same with https, and nothing more.
pub(super) fn url(url: &str) -> Result<Url<'_>, String> {
    let wrong = |why: &str| Err(format!("url = \"{}\" {why}", url.escape_debug()));
    let (scheme, authority) = url.split_once("://").unwrap_or_default();
    let secure = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return wrong("must be an origin such as \"http://host:port\""),
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains(['/', '?', '#']) {
        return wrong("must end after the host and port: a path is for [route.rewrite]");
    }
    if authority.contains('@') {
        return wrong("must not hold credentials");
    }
    let Some((host, port)) = host_and_port(authority, if secure { 443 } else { 80 }) else {
        return wrong("has no valid host and port");
    };
    Ok(Url { secure, authority, host, port })
}

fn host_and_port(authority: &str, default: u16) -> Option<(Host, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (Host::Address(IpAddr::V6(host.parse::<Ipv6Addr>().ok()?)), port)
        }
        None => {
            let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
            (named(host)?, port)
        }
    };
    let port = port.map_or(Some(default), |port| {
        let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        port.parse().ok().filter(|&port| digits && port > 0)
    })?;
    Some((host, port))
}

fn named(host: &str) -> Option<Host> {
    if let Ok(address) = host.parse() {
        return Some(Host::Address(IpAddr::V4(address)));
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let in_label = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let mut labels = name.split('.');
    let valid = labels.all(|label| matches!(label.len(), 1..=63) && label.bytes().all(in_label));
    // All digits at the end is a misspelt address, never a name (RFC 3696 section 2).
    let numeric = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    (valid && !numeric && name.len() <= 253).then(|| Host::Name(name.into()))
}

#[cfg(test)]
mod tests;
