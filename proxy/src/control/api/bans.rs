//! /api/v1/bans: who is banned; the API's own bans are made and ended here.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Map, Value};

use super::State;
use super::answer::{Query, Refusal};
use super::explain::whole;
use crate::config::bans::Clock;
use crate::config::{duration_from_text, raw};
use crate::control::bans::{Full, Own, unix_s};
use crate::policy::ban::{DYNAMIC_MAX, Hit, Origin, STATIC_MAX, Table, canonical};

/// Rows of an answer.
const LIMIT: usize = 500;
const LIMIT_MAX: usize = 10_000;
/// Octets of a reason.
const REASON_MAX: usize = 256;
/// Seconds of the longest ban that ends by itself.
const TTL_MAX: u64 = 365 * 24 * 3_600;

/// One ban: of the API, or an entry of the document, which may stand for a whole file.
#[derive(Serialize)]
struct Row {
    /// None where an entry of the document is a file that is shown whole.
    cidr: Option<String>,
    file: Option<String>,
    origin: &'static str,
    reason: String,
    /// RFC 3339; none for the document's.
    made: Option<String>,
    expires: Option<String>,
    /// How many CIDRs it has.
    cidrs: usize,
}

#[derive(Serialize)]
pub(super) struct List {
    bans: Vec<Row>,
    /// How many rows there are, on all pages.
    total: usize,
    document: Count,
    api: Count,
    /// Whether the API's bans outlive the process.
    kept: bool,
}

/// How many CIDRs there are, of how many there may be.
#[derive(Serialize)]
struct Count {
    cidrs: usize,
    max: usize,
}

#[derive(Serialize)]
pub(super) struct Changed {
    #[serde(flatten)]
    ban: Row,
    /// Whether a restart finds it so.
    kept: bool,
}

/// All bans, the document's first, or those that an address is in.
pub(super) async fn list(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Json<List>, Refusal> {
    let query = Query::of(&uri, &["ip", "origin", "offset", "limit"])?;
    let ip = query.one("ip")?.map(|text| text.parse().map_err(|_| wrong("ip", &text, "an IP address"))).transpose()?;
    let ip = ip.map(|ip: IpAddr| ip.to_canonical());
    let origin = query.one("origin")?.map(|text| origin(&text)).transpose()?;
    let number = |key| query.one(key).and_then(|text| text.map(|text| count(key, &text)).transpose());
    let (offset, limit) = (number("offset")?.unwrap_or(0), number("limit")?.unwrap_or(LIMIT));
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(wrong("limit", &limit.to_string(), "a number from 1 to 10000"));
    }
    // A million CIDRs are counted: too long for a thread that also runs probes.
    let rows = tokio::task::spawn_blocking(move || rows(&state, ip, origin, offset, limit)).await;
    rows.map(Json).map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the list broke"))
}

fn origin(text: &str) -> Result<Origin, Refusal> {
    let known = [Origin::Document, Origin::Api].into_iter().find(|origin| origin.word() == text);
    known.ok_or_else(|| wrong("origin", text, "document or api"))
}

fn count(key: &str, text: &str) -> Result<usize, Refusal> {
    text.parse().map_err(|_| wrong(key, text, "a whole number"))
}

fn wrong(key: &str, text: &str, kind: &str) -> Refusal {
    Refusal::bad_request("bad_parameter", format!("{key} \"{text}\" is not {kind}")).field(key)
}

fn rows(state: &State, ip: Option<IpAddr>, origin: Option<Origin>, offset: usize, limit: usize) -> List {
    let (document, table) = state.bans.listed();
    let own = state.bans.own();
    let counts = [Count { cidrs: table.len(), max: STATIC_MAX }, Count { cidrs: own.len(), max: DYNAMIC_MAX }];
    let of_document: Vec<Row> = match (ip, document) {
        _ if origin == Some(Origin::Api) => Vec::new(),
        (Some(ip), Some(document)) => hit(&table, ip).into_iter().map(|hit| row_of_hit(&document.bans, &hit)).collect(),
        (None, Some(document)) => {
            let counted = document.bans.iter().zip(table.counts());
            counted.map(|(raw, cidrs)| row_of_entry(raw, cidrs)).collect()
        }
        (_, None) => Vec::new(),
    };
    let of_api =
        own.iter().filter(|own| origin != Some(Origin::Document) && ip.is_none_or(|ip| own.cidr.contains(&ip)));
    let mut bans: Vec<Row> = of_document.into_iter().chain(of_api.map(row_of_own)).collect();
    let total = bans.len();
    bans = bans.into_iter().skip(offset).take(limit).collect();
    let [document, api] = counts;
    List { bans, total, document, api, kept: state.bans.is_kept() }
}

fn hit(table: &Table, ip: IpAddr) -> Option<Hit<'_>> {
    table.lookup(ip, Clock::read().now())
}

fn row_of_hit(entries: &[raw::Ban], hit: &Hit<'_>) -> Row {
    let entry = entries.iter().find(|raw| crate::config::bans::rule(raw) == *hit.ban.rule);
    let row = entry.map(|raw| row_of_entry(raw, 1));
    let none = Row::of(Origin::Document, &hit.ban.reason);
    Row { cidr: Some(hit.cidr.to_string()), ..row.unwrap_or(none) }
}

fn row_of_entry(raw: &raw::Ban, cidrs: usize) -> Row {
    Row {
        cidr: raw.cidr.map(|cidr| canonical(cidr).to_string()),
        file: raw.file.as_ref().map(|path| path.display().to_string()),
        expires: raw.expires.map(rfc3339),
        cidrs,
        ..Row::of(Origin::Document, &raw.reason)
    }
}

fn row_of_own(own: &Own) -> Row {
    Row {
        cidr: Some(own.cidr.to_string()),
        made: Some(rfc3339(own.made)),
        expires: own.expires.map(rfc3339),
        ..Row::of(Origin::Api, &own.reason)
    }
}

impl Row {
    fn of(origin: Origin, reason: &str) -> Self {
        let reason = reason.to_owned();
        Self { cidr: None, file: None, origin: origin.word(), reason, made: None, expires: None, cidrs: 1 }
    }
}

fn rfc3339(unix_s: u64) -> String {
    let moment = i64::try_from(unix_s).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// Bans a CIDR, or changes its ban. Answered once it is in force.
pub(super) async fn make(
    Shared(state): Shared<Arc<State>>,
    uri: Uri,
    body: Body,
) -> Result<(StatusCode, Json<Changed>), Refusal> {
    Query::of(&uri, &[])?;
    let own = asked(&whole(body).await?)?;
    let status = if state.bans.own_of(own.cidr).is_some() { StatusCode::OK } else { StatusCode::CREATED };
    let ban = row_of_own(&own);
    match state.bans.put(own).await {
        Ok(kept) => Ok((status, Json(Changed { ban, kept }))),
        Err(Full) => {
            let error = format!("there are {DYNAMIC_MAX} bans already, as many as the API may make");
            Err(Refusal::new(StatusCode::CONFLICT, "bans_full", error)
                .hint("end some, or name the addresses in a file of the document"))
        }
    }
}

/// Ends the API's ban of a CIDR.
pub(super) async fn end(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Json<Changed>, Refusal> {
    let query = Query::of(&uri, &["cidr"])?;
    let text =
        query.one("cidr")?.ok_or_else(|| Refusal::bad_request("missing_key", "cidr is missing").field("cidr"))?;
    let cidr = cidr(&text)?;
    match state.bans.remove(cidr).await {
        Some((own, kept)) => Ok(Json(Changed { ban: row_of_own(&own), kept })),
        None if is_in_document(&state, cidr) => {
            let error = format!("{cidr} is banned by the document");
            Err(Refusal::new(StatusCode::CONFLICT, "in_document", error).field("cidr").hint("take it out there"))
        }
        None => Err(Refusal::not_found(format!("the API has no ban of {cidr}")).field("cidr")),
    }
}

fn is_in_document(state: &State, cidr: IpNet) -> bool {
    hit(&state.bans.listed().1, cidr.network()).is_some_and(|hit| hit.cidr == cidr)
}

/// Reads {cidr, ttl, reason}.
fn asked(body: &[u8]) -> Result<Own, Refusal> {
    let object: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| Refusal::bad_request("bad_body", error.to_string()))?;
    if let Some(unknown) = object.keys().find(|key| !["cidr", "ttl", "reason"].contains(&key.as_str())) {
        return Err(Refusal::bad_request("unknown_key", format!("unknown key \"{unknown}\"")).field(unknown));
    }
    let text = |key: &str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(bad(key, other, "a string")),
    };
    let missing = || Refusal::bad_request("missing_key", "cidr is missing").field("cidr");
    let made = unix_s();
    Ok(Own {
        cidr: cidr(text("cidr")?.ok_or_else(missing)?)?,
        reason: reason(text("reason")?.unwrap_or_default())?.into(),
        made,
        expires: ttl(object.get("ttl"))?.map(|ttl| made + ttl),
    })
}

fn bad(key: &str, value: &Value, kind: &str) -> Refusal {
    Refusal::bad_request("bad_value", format!("{key} {value} is not {kind}")).field(key)
}

/// An address or CIDR. All addresses are none that anybody bans on purpose.
fn cidr(text: &str) -> Result<IpNet, Refusal> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let kind = "an address or CIDR such as 192.0.2.0/24";
    let read: IpNet = text.parse().or_else(|_| address()).map_err(|_| bad("cidr", &text.into(), kind))?;
    if read.trunc() != read {
        return Err(bad("cidr", &text.into(), &format!("the first address of its network: {}", read.trunc())));
    }
    match canonical(read) {
        all if all.prefix_len() == 0 => Err(bad("cidr", &text.into(), "less than all addresses")),
        cidr => Ok(cidr),
    }
}

fn reason(text: &str) -> Result<&str, Refusal> {
    let fits = text.len() <= REASON_MAX && !text.chars().any(char::is_control);
    fits.then_some(text).ok_or_else(|| bad("reason", &text.into(), "a line of at most 256 octets"))
}

/// Seconds, as a number or a duration; none: it does not end by itself.
fn ttl(value: Option<&Value>) -> Result<Option<u64>, Refusal> {
    let seconds = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => duration_from_text(text).map(|ttl| ttl.as_secs()),
        Some(other) => other.as_u64(),
    };
    let kind = "a duration from 1s to 365d, or seconds";
    let fits = seconds.filter(|seconds| (1..=TTL_MAX).contains(seconds));
    fits.map(Some).ok_or_else(|| bad("ttl", value.unwrap_or(&Value::Null), kind))
}
