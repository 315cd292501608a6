//! Explain: what a request would meet, by the decisions that traffic meets, without traffic and without moving state.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::decide::{Asked, Decided, Decision, KeyView};
use crate::base::{Fault, Instant, Reason};
use crate::config::Snapshot;
use crate::config::value::{Bind, Protocol};
use crate::control::{Ground, Question, Unanswered};
use crate::http::{Head, HeadLimits, Method, Paths, Request, normalise_host, parse_request};
use crate::policy::geoip::GeoIp;
use crate::policy::identity::{Chain, Identity, Resolved};
use crate::policy::rule::{self, Judged};
use crate::policy::{Facts, Source, Tls};
use crate::route::{Considered, Explanation, Query, Verdict};
use crate::target::explain::rows;
use crate::target::{Ask, Balancers, RouteLive};
use crate::tls::Version;
use crate::worker::clock;

/// Answers a question. Nothing is charged, counted or moved.
///
/// # Errors
/// The question cannot be put as a request.
pub fn explain(ground: &Ground<'_>, question: &Question, now: Instant) -> Result<Value, Unanswered> {
    let snapshot = ground.snapshot;
    let listener = listener(snapshot, question)?;
    let octets = octets(question)?;
    let mut head = Head::new();
    let connect = !snapshot.document.listeners[listener].connect_allow.is_empty();
    let limits = HeadLimits { head_max: octets.len() + 1, target_max: octets.len(), connect, ..HeadLimits::default() };
    let mut answer = json!({
        "generation": snapshot.generation,
        "listener": snapshot.listeners[listener].name.as_ref(),
    });
    match parse_request(&octets, &limits, &mut head) {
        Ok(Some(_)) => {}
        Ok(None) => return Err(bad(None, "the request is incomplete")),
        Err(fault) => {
            put(&mut answer, "fault", fault_value(fault));
            return Ok(answer);
        }
    }
    let request = Request::new(&head, &octets);
    let asked = Asked { snapshot, listener, request: &request };
    explain_request(ground, asked, question.client, now, &mut answer);
    Ok(answer)
}

fn bad(field: Option<&'static str>, message: &str) -> Unanswered {
    Unanswered { field, message: message.to_owned() }
}

/// The listener that was named, or the first that serves the question's host.
fn listener(snapshot: &Snapshot, question: &Question) -> Result<usize, Unanswered> {
    let Some(name) = &question.listener else {
        let mut host = String::new();
        // A host that is none is refused where the request is read.
        let _ = normalise_host(asked_host(question).as_bytes(), &mut host);
        let serves = |at: &usize| snapshot.table.check_host(*at, &host).is_ok();
        let scheme = question.url.split_once("://").map(|(scheme, _)| scheme);
        let speaks = |at: &usize| scheme.is_none_or(|word| snapshot.document.listeners[*at].protocol.word() == word);
        let all = || 0..snapshot.listeners.len();
        let first = all().find(|at| serves(at) && speaks(at)).or_else(|| all().find(serves)).or(all().next());
        return first.ok_or_else(|| bad(Some("listener"), "the configuration has no listener"));
    };
    let found = snapshot.listeners.iter().position(|plan| *plan.name == **name);
    found.ok_or_else(|| bad(Some("listener"), &format!("there is no listener \"{name}\"")))
}

fn asked_host(question: &Question) -> &str {
    let field = question.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let named = field.and_then(|(_, values)| values.iter().next());
    let rest = question.url.split_once("://").map_or("", |(_, rest)| rest);
    named.unwrap_or_else(|| rest.split(['/', '?', '#']).next().unwrap_or_default())
}

/// The question as a client would send it, so that it is read as traffic is.
fn octets(question: &Question) -> Result<Vec<u8>, Unanswered> {
    let clean = |text: &str| !text.is_empty() && !text.bytes().any(|octet| octet <= b' ' || octet == 0x7f);
    if !clean(&question.method) {
        return Err(bad(Some("method"), "the method is not a token"));
    }
    if !clean(&question.url) {
        return Err(bad(Some("url"), "the URL is empty, or holds a space or a control character"));
    }
    let (host, target) = match question.url.split_once("://") {
        None if question.method == "CONNECT" => (Some(&*question.url), question.url.clone()),
        None => (None, question.url.clone()),
        Some(("http" | "https", rest)) => {
            let cut = rest.find(['/', '?']).unwrap_or(rest.len());
            let (host, path) = rest.split_at(cut);
            let slash = if path.starts_with('/') { "" } else { "/" };
            (Some(host), format!("{slash}{path}"))
        }
        Some(_) => return Err(bad(Some("url"), "only http and https URLs are served")),
    };
    let target = target.split('#').next().unwrap_or_default().to_owned();
    let mut octets = format!("{} {target} HTTP/1.1\r\n", question.method).into_bytes();
    let has_host = question.headers.keys().any(|name| name.eq_ignore_ascii_case("host"));
    if !has_host {
        octets.extend_from_slice(format!("Host: {}\r\n", host.unwrap_or("localhost")).as_bytes());
    }
    for (name, values) in &question.headers {
        for value in values.iter() {
            octets.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    octets.extend_from_slice(b"\r\n");
    Ok(octets)
}

/// The stages as traffic meets them. What would end the request is the fault; what it would never reach is shown
/// all the same.
fn explain_request(
    ground: &Ground<'_>,
    asked: Asked<'_, '_, '_>,
    peer: Option<IpAddr>,
    now: Instant,
    answer: &mut Value,
) {
    let Ground { snapshot, live, trust, bans, geoip } = *ground;
    let Asked { listener, request, .. } = asked;
    let who = trust.resolve(peer, request, &mut Chain::default());
    let client = who.map_or(None, |who| who.identity.ip());
    put(answer, "client", client_value(peer, who));
    let merge = snapshot.document.listeners[listener].merge_slashes;
    if let Ok(paths) = request.paths(merge) {
        let text = |octets: &[u8]| Value::from(String::from_utf8_lossy(octets));
        put(answer, "paths", json!({ "path": text(&paths.path), "route_path": text(&paths.route_path) }));
        put(answer, "considered", considered(&facts(asked, &paths, client, peer, geoip), snapshot).into());
        let explained = snapshot.table.explain(listener, &Query::new(request, &paths, client));
        put(answer, "routes", routes(&explained).into());
        put(answer, "winner", explained.winner.into());
        if let Some(disagreement) = explained.disagreement {
            put(answer, "disagreement", disagreement.into());
        }
    }
    let hit = client.filter(|ip| !trust.trusts(Some(*ip))).and_then(|ip| bans.lookup(ip, now));
    if let Some(hit) = hit {
        put(answer, "ban", json!({ "cidr": hit.cidr.to_string(), "rule": &*hit.ban.rule, "reason": &*hit.ban.reason }));
    }
    if request.verb() == Method::Connect {
        return explain_connect(ground, asked, who, hit.is_some(), answer);
    }
    let decided = match decide(asked, who, hit.is_some()) {
        Ok(decided) => decided,
        Err(fault) => return put(answer, "fault", fault_value(fault)),
    };
    put(answer, "route", json!({ "id": decided.route.id, "name": decided.route.name.as_ref() }));
    let mut text = Vec::new();
    match decided.decision {
        Decision::Redirect(redirect) => match redirect.location(&decided.incoming(request), &mut text) {
            Ok(()) => {
                let location = String::from_utf8_lossy(&text).into_owned();
                put(answer, "redirect", json!({ "status": redirect.status, "location": location }));
            }
            Err(fault) => put(answer, "fault", fault_value(fault)),
        },
        Decision::Forward => {
            match decided.rewrite(request, &mut text) {
                Ok(path) if path.rewritten => put(answer, "rewrite", String::from_utf8_lossy(&text).into()),
                Ok(_) => {}
                Err(fault) => put(answer, "fault", fault_value(fault)),
            }
            let slot = snapshot.routes[decided.route.position].slot;
            if let Some(route) = slot.and_then(|slot| live.route(slot)) {
                explain_targets(route, &KeyView { request: *request, client }, answer);
            }
        }
    }
}

/// A tunnel has no route: where it would lead.
fn explain_connect(
    ground: &Ground<'_>,
    asked: Asked<'_, '_, '_>,
    who: Result<Resolved, Fault>,
    banned: bool,
    answer: &mut Value,
) {
    let judged = asked.destination().and_then(|destination| {
        who?;
        if banned { Err(Fault::new(Reason::Banned)) } else { Ok(destination) }
    });
    match judged {
        Ok(destination) => {
            let own = destination.ip();
            let resolved = destination.name().map_or(&[][..], |name| ground.live.addresses(name));
            let addresses: Vec<String> = own.iter().chain(resolved).map(IpAddr::to_string).collect();
            let connect = json!({ "host": &*destination.host, "port": destination.port, "addresses": addresses });
            put(answer, "connect", connect);
        }
        Err(fault) => put(answer, "fault", fault_value(fault)),
    }
}

/// As traffic is decided, but that no rate limit is charged.
fn decide<'s, 'r>(
    asked: Asked<'_, 's, 'r>,
    who: Result<Resolved, Fault>,
    banned: bool,
) -> Result<Decided<'s, 'r>, Fault> {
    let client = who.map_or(None, |who| who.identity.ip());
    let paths = asked.read(client)?;
    who?;
    if banned {
        return Err(Fault::new(Reason::Banned));
    }
    asked.route(paths, client)
}

/// Where rules find what they ask.
fn facts<'f>(
    asked: Asked<'_, 'f, 'f>,
    paths: &'f Paths<'f>,
    client: Option<IpAddr>,
    peer: Option<IpAddr>,
    geoip: &'f GeoIp,
) -> Facts<'f> {
    let raw = &asked.snapshot.document.listeners[asked.listener];
    let port = raw.bind.iter().find_map(|bind| if let Bind::Tcp(address) = bind { Some(address.port()) } else { None });
    Facts::new(Source {
        request: *asked.request,
        paths,
        client,
        peer,
        listener: &raw.name,
        port: port.unwrap_or_default(),
        protocol: raw.protocol,
        tls: (raw.protocol == Protocol::Https).then_some(Tls {
            version: Version::Tls13.text(),
            sni: Some(asked.request.host()).filter(|host| !host.is_empty()),
        }),
        geoip: Some(geoip),
    })
}

/// What each rate limit says of the request.
fn considered(facts: &Facts<'_>, snapshot: &Snapshot) -> Vec<Value> {
    let row = |judged: &Judged<'_>| {
        let mut row = json!({
            "layer": "rate_limit",
            "rule": judged.rule,
            "mode": judged.mode.word(),
            "verdict": judged.verdict.token(),
        });
        match &judged.verdict {
            rule::Verdict::Matched => {}
            rule::Verdict::Failed(failed) => {
                put(&mut row, "predicate", failed.predicate.as_str().into());
                put(&mut row, "expected", failed.expected.as_str().into());
                put(&mut row, "actual", failed.actual.as_str().into());
            }
            rule::Verdict::Error { message, matches } => {
                put(&mut row, "actual", message.as_str().into());
                put(&mut row, "counts_as_match", (*matches).into());
            }
        }
        row
    };
    snapshot.rate_limits.explain(facts).iter().map(row).collect()
}

fn routes(explained: &Explanation) -> Vec<Value> {
    let row = |one: &Considered| {
        let mut row = json!({ "id": one.id, "priority": one.priority, "verdict": one.verdict.token() });
        if one.verdict == Verdict::Failed {
            put(&mut row, "predicate", one.predicate.as_ref().into());
            put(&mut row, "expected", one.expected.as_str().into());
            put(&mut row, "actual", one.actual.as_str().into());
        }
        row
    };
    explained.routes.iter().map(row).collect()
}

fn client_value(peer: Option<IpAddr>, who: Result<Resolved, Fault>) -> Value {
    let source = who.map(|who| match who.identity {
        Identity::Known { ip, source } => (Some(ip), source.word()),
        Identity::Unknown => (None, "unknown"),
    });
    let (ip, source) = source.unwrap_or((None, "invalid"));
    json!({ "peer": peer, "ip": ip, "source": source, "trusted_peer": who.is_ok_and(|who| who.trusted) })
}

fn explain_targets(route: &RouteLive, keys: &KeyView<'_>, answer: &mut Value) {
    let now = clock();
    let groups = route.groups();
    // Its own balancers: a question takes nobody's turn.
    let mut balancers = Balancers::new(0, 0, |_| {});
    let balancer = balancers.of(route);
    let choice = balancer.choose(route, keys, now);
    let rows: Vec<Value> = rows(route, choice, None, now)
        .iter()
        .map(|row| {
            json!({
                "target": row.target,
                "address": row.address,
                "protocol": row.protocol,
                "group": row.group,
                "weight": row.weight,
                "state": row.state,
                "inflight": row.inflight,
                "skip_reason": row.skip_reason.map(|reason| reason.word()),
            })
        })
        .collect();
    put(answer, "endpoints", rows.into());
    put(answer, "policy", groups.balance.word().into());
    let Some(choice) = choice else {
        return put(answer, "fault", fault_value(Fault::new(Reason::NoRouteTargetAvailable)));
    };
    let group = &groups.groups[usize::from(choice.group)];
    put(answer, "group", json!({ "priority_group": group.priority, "why": choice.mode.word() }));
    if groups.sides.len() > 1 {
        put(answer, "split", groups.side_name(choice.group).into());
    }
    if groups.balance.is_hash() {
        let ask = Ask { keys, choice, now, unix: unix(), exclude: &[], idle: &|_| false };
        let pick = balancer.preview(route, &ask);
        let named = pick.map(|(target, endpoint)| {
            let address = route.targets()[usize::from(target)].endpoints[usize::from(endpoint)].address;
            json!({ "target": groups.targets[usize::from(target)].name, "address": address.map(|at| at.to_string()) })
        });
        put(answer, "pick", named.into());
    }
}

fn unix() -> u64 {
    crate::worker::Wall::new(Instant::default()).unix_ns(Instant::default()) / 1_000_000_000
}

fn fault_value(fault: Fault) -> Value {
    json!({ "reason": fault.reason.token(), "status": fault.status, "message": fault.reason.text() })
}

fn put(value: &mut Value, key: &str, what: Value) {
    if let Value::Object(object) = value {
        object.insert(key.to_owned(), what);
    }
}
