//! /api/v1/kernel: what the kernel half does; /api/v1/kernel/deny: whom it denies, for an operator to add and release.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::State;
use super::answer::{Query, Refusal};
use super::explain::whole;
use crate::base::Instant;
use crate::config::duration_from_text;
use crate::config::value::KernelMode;
use crate::kernel::deny::{By, Refused, key};
use crate::kernel::{Shown, Status, source_of};

/// Rows of an answer.
const LIMIT: usize = 500;
const LIMIT_MAX: usize = 10_000;
/// Octets of a reason.
const REASON_MAX: usize = 256;
/// How long a source is denied, unless asked otherwise.
const TTL: Duration = Duration::from_secs(3600);
const TTL_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Serialize)]
pub(super) struct Kernel {
    node_id: String,
    #[serde(flatten)]
    status: Status,
}

pub(super) async fn show(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Json<Kernel>, Refusal> {
    Query::of(&uri, &[])?;
    let status = Status::clone(&state.kernel.status());
    Ok(Json(Kernel { node_id: state.node_id.to_string(), status }))
}

/// One denied source.
#[derive(Serialize)]
pub(super) struct Row {
    /// An IPv4 address, or the /64 of IPv6 ones.
    address: String,
    /// `deny`, or `would_deny` in a dry run.
    action: &'static str,
    /// The rule's table and name; none for an operator's.
    table: Option<&'static str>,
    rule: Option<String>,
    /// An operator's words.
    reason: Option<String>,
    /// RFC 3339.
    since: String,
    expires: String,
    ttl_s: u64,
    packets: u64,
    bytes: u64,
}

#[derive(Serialize)]
pub(super) struct List {
    denied: Vec<Row>,
    /// How many there are, on all pages.
    total: usize,
}

/// Denied sources by address, or the one that an address belongs to.
pub(super) async fn list(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Json<List>, Refusal> {
    let query = Query::of(&uri, &["ip", "offset", "limit"])?;
    let ip = query.one("ip")?.map(|text| text.parse().map_err(|_| wrong("ip", &text, "an IP address"))).transpose()?;
    let number = |key| query.one(key).and_then(|text| text.map(|text| count(key, &text)).transpose());
    let (offset, limit) = (number("offset")?.unwrap_or(0), number("limit")?.unwrap_or(LIMIT));
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(wrong("limit", &limit.to_string(), "a number from 1 to 10000"));
    }
    let (shown, total) = match ip {
        None => state.kernel.denied(offset, limit).await,
        Some(ip) => one(&state, ip, offset).await,
    };
    Ok(Json(List { denied: shown.into_iter().map(|shown| row(&state, shown)).collect(), total }))
}

/// What denies an address: one entry at most.
async fn one(state: &State, ip: IpAddr, offset: usize) -> (Vec<Shown>, usize) {
    let Some(source) = source_of(ip) else { return (Vec::new(), 0) };
    let found = state.kernel.denied_one(source).await;
    let total = usize::from(found.is_some());
    (found.into_iter().skip(offset).collect(), total)
}

fn count(key: &str, text: &str) -> Result<usize, Refusal> {
    text.parse().map_err(|_| wrong(key, text, "a whole number"))
}

fn wrong(key: &str, text: &str, kind: &str) -> Refusal {
    Refusal::bad_request("bad_parameter", format!("{key} \"{text}\" is not {kind}")).field(key)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    address: String,
    #[serde(default)]
    ttl: Option<String>,
    #[serde(default)]
    reason: String,
}

/// Denies a source, or changes how long. Answered once the kernel does.
pub(super) async fn add(
    Shared(state): Shared<Arc<State>>,
    uri: Uri,
    body: Body,
) -> Result<(StatusCode, Json<Row>), Refusal> {
    Query::of(&uri, &[])?;
    let wanted: Wanted = serde_json::from_slice(&whole(body).await?)
        .map_err(|error| Refusal::bad_request("bad_body", error.to_string()))?;
    let source = source(&wanted.address)?;
    let ttl = wanted.ttl.as_deref().map_or(Ok(TTL), ttl)?;
    if wanted.reason.len() > REASON_MAX || wanted.reason.chars().any(char::is_control) {
        return Err(Refusal::bad_request("bad_value", "reason is a line of at most 256 octets").field("reason"));
    }
    let status = if state.kernel.denied_one(source).await.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    state.kernel.deny(source, ttl, wanted.reason.as_str().into()).await.map_err(|why| refusal(&state, source, why))?;
    let shown = state.kernel.denied_one(source).await;
    let shown = shown.ok_or_else(|| Refusal::not_found(format!("{source} was released meanwhile")))?;
    Ok((status, Json(row(&state, shown))))
}

/// Releases a source.
pub(super) async fn release(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Json<Row>, Refusal> {
    let query = Query::of(&uri, &["address"])?;
    let missing = || Refusal::bad_request("missing_key", "address is missing").field("address");
    let source = source(&query.one("address")?.ok_or_else(missing)?)?;
    let absent = || Refusal::not_found(format!("{source} is not denied")).field("address");
    let shown = state.kernel.release(source).await.ok_or_else(absent)?;
    Ok(Json(row(&state, shown)))
}

/// An address, or a network that is no wider than what one source is denied by.
fn source(text: &str) -> Result<IpNet, Refusal> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let source = network.ok().and_then(key);
    source.ok_or_else(|| {
        let error = format!("address \"{text}\" is neither an IP address nor an IPv6 network of 64 bits or more");
        Refusal::bad_request("bad_value", error).field("address").hint("wider networks are banned: see /api/v1/bans")
    })
}

fn ttl(text: &str) -> Result<Duration, Refusal> {
    let ttl = duration_from_text(text).filter(|ttl| (Duration::from_secs(1)..=TTL_MAX).contains(ttl));
    ttl.ok_or_else(|| Refusal::bad_request("bad_value", "ttl is a duration from 1s to 7d").field("ttl"))
}

fn refusal(state: &State, source: IpNet, why: Refused) -> Refusal {
    let conflict = |code, error: String| Refusal::new(StatusCode::CONFLICT, code, error).field("address");
    match why {
        Refused::Allowed => conflict("allowed", format!("{source} is never dropped: it is in the allow set"))
            .hint("see kernel.allow, endpoints, trusted proxies and this machine's own addresses and gateways"),
        Refused::Full => conflict("deny_full", "as many sources are denied as may be".to_owned())
            .hint("release some, or raise kernel.deny_max"),
        Refused::TooFast => conflict("deny_rate", "too many sources in this second".to_owned()),
        Refused::Off => {
            let status = state.kernel.status();
            let why = status.group("drop").and_then(|group| group.why.clone()).unwrap_or_default();
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "kernel_off", format!("nothing is dropped here: {why}"))
                .hint("see /api/v1/kernel; a ban holds without it: /api/v1/bans")
        }
    }
}

fn row(state: &State, shown: Shown) -> Row {
    let Shown { source, entry } = shown;
    let now = (state.clock)();
    let (rule, reason) = match entry.by {
        By::Rule(rule) => (Some(rule), None),
        By::Operator(reason) => (None, Some(reason.to_string())),
    };
    let enforced = state.kernel.status().mode == KernelMode::Enforce.word();
    Row {
        address: if source.prefix_len() == source.max_prefix_len() {
            source.addr().to_string()
        } else {
            source.to_string()
        },
        action: if enforced { "deny" } else { "would_deny" },
        table: rule.as_ref().map(|rule| rule.table),
        rule: rule.map(|rule| rule.name.to_string()),
        reason,
        since: wall(entry.since, now),
        expires: wall(entry.expires, now),
        ttl_s: entry.ttl.as_secs(),
        packets: entry.packets,
        bytes: entry.bytes,
    }
}

/// A point of the monotonic clock as wall time.
fn wall(at: Instant, now: Instant) -> String {
    let (ahead, behind) = (at.since(now), now.since(at));
    let span = |time: Duration| jiff::SignedDuration::try_from(time).unwrap_or_default();
    let time = jiff::Timestamp::now().checked_add(span(ahead) - span(behind)).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_addresses_or_at_least_64_bits() {
        let read = |text: &str| source(text).map(|source| source.to_string()).ok();
        assert_eq!(read("192.0.2.1").as_deref(), Some("192.0.2.1/32"));
        assert_eq!(read("192.0.2.1/32").as_deref(), Some("192.0.2.1/32"));
        assert_eq!(read("2001:db8::9").as_deref(), Some("2001:db8::/64"));
        assert_eq!(read("2001:db8:0:0::/64").as_deref(), Some("2001:db8::/64"));
        for wrong in ["192.0.2.0/24", "2001:db8::/48", "host", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn points_of_the_clock_are_shown_as_wall_time() {
        let now = Instant::from_nanos(100_000_000_000);
        let time = |at: Instant| wall(at, now).parse::<jiff::Timestamp>().expect("RFC 3339");
        let apart = time(now + Duration::from_secs(60)).duration_since(time(now - Duration::from_secs(60)));
        assert!((119..=120).contains(&apart.as_secs()) || apart.as_millis_f64() > 119_900.0, "{apart:?}");
    }
}
