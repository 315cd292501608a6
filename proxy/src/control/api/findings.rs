//! GET /api/v1/audit/findings: what was denied, equal denials added up; fields, filters and order as Neuwerk's.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, Uri};
use ipnet::IpNet;
use uuid::Uuid;

use super::State;
use super::answer::{Query, Refusal};
use crate::base::metric::Queue;
use crate::control::audit::{Cursor, Filter, LIMIT_MAX, action, finding_type};

const FILTERS: [&str; 11] =
    ["policy_id", "finding_type", "source_group", "src_ip", "action", "rule", "q", "since", "until", "limit", "cursor"];

type Answer = ([(HeaderName, &'static str); 1], Vec<u8>);

/// Of the cluster, which is this node.
pub(super) async fn show(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Answer, Refusal> {
    let query = Query::of(&uri, &[&FILTERS[..], &["scope"]].concat())?;
    let scope = query.one("scope")?;
    match scope.as_deref().map(|scope| (scope, scope.strip_prefix("node:"))) {
        None | Some(("local" | "cluster", _)) => {}
        Some((_, Some(node))) if *node == *state.node_id => {}
        Some((_, Some(node))) => {
            return Err(Refusal::not_found(format!("there is no node \"{node}\"")).field("scope"));
        }
        Some((scope, None)) => {
            let error = format!("\"{scope}\" is none of local, cluster, node:ID");
            return Err(Refusal::bad_request("bad_scope", error).field("scope"));
        }
    }
    answer(&state, &query).await
}

/// Of this node alone.
pub(super) async fn show_local(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Answer, Refusal> {
    let query = Query::of(&uri, &FILTERS)?;
    answer(&state, &query).await
}

async fn answer(state: &State, query: &Query) -> Result<Answer, Refusal> {
    super::settings::observing(state)?;
    let lost = state.sum(|counters| counters.lost_count(Queue::Finding));
    let found = state.audit.find(filter(query)?, lost).await;
    Ok(([(CONTENT_TYPE, "application/json")], found))
}

fn filter(query: &Query) -> Result<Filter, Refusal> {
    let default = Filter::default();
    Ok(Filter {
        policy_id: each(query, "policy_id", "a UUID", |text| Uuid::parse_str(text).ok())?,
        finding_type: each(query, "finding_type", "a type of findings", finding_type)?,
        source_group: each(query, "source_group", "", |text| Some(text.to_owned()))?,
        src_ip: each(query, "src_ip", "an address or CIDR", net)?,
        action: each(query, "action", "enforced or would_deny", action)?,
        rule: each(query, "rule", "", |text| Some(text.to_owned()))?,
        q: each(query, "q", "", |text| Some(text.to_lowercase()))?,
        since: one(query, "since", "a time in unix seconds", |text| text.parse().ok())?.unwrap_or(default.since),
        until: one(query, "until", "a time in unix seconds", |text| text.parse().ok())?.unwrap_or(default.until),
        limit: one(query, "limit", "a number from 1 to 10000", limit)?.unwrap_or(default.limit),
        cursor: one(query, "cursor", "what an answer gave as next", Cursor::parse)?,
    })
}

fn net(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).ok()
}

fn limit(text: &str) -> Option<usize> {
    text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit))
}

/// The values of a key that may repeat. Empty ones, as forms send them, say nothing.
fn each<T>(query: &Query, key: &str, kind: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Refusal> {
    let values = query.all(key);
    let values = values.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    values.map(|text| read(text).ok_or_else(|| wrong(key, text, kind))).collect()
}

fn one<T>(query: &Query, key: &str, kind: &str, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
    let text = query.one(key)?.filter(|text| !text.is_empty());
    text.map(|text| read(&text).ok_or_else(|| wrong(key, &text, kind))).transpose()
}

fn wrong(key: &str, text: &str, kind: &str) -> Refusal {
    Refusal::bad_request("bad_parameter", format!("{key} \"{text}\" is not {kind}")).field(key)
}
