//! GET /api/v1/flows: weir's TCP connections, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::Uri;
use serde::Serialize;

use super::State;
use super::answer::{Query, Refusal};
use super::wiretap::{filter, scope};
use crate::control::flows::source::Kind;
use crate::control::flows::{Ask, KEYS, Listed};

/// Flows of a page, unless asked otherwise.
const LIMIT: usize = 100;
/// Flows of a page at most.
const LIMIT_MAX: usize = 1000;

#[derive(Serialize)]
pub(super) struct Page {
    node_id: String,
    /// Where kernel facts come from: `sock_ops`, `tracepoint` or `none`.
    source: &'static str,
    /// All open flows.
    open: usize,
    flows: Vec<Listed>,
    next_cursor: Option<String>,
}

pub(super) async fn list(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Json<Page>, Refusal> {
    super::settings::observing(&state)?;
    let known: Vec<&str> = KEYS.into_iter().chain(["state", "limit", "cursor", "scope"]).collect();
    let query = Query::of(&uri, &known)?;
    scope(&state, &query)?;
    let ask = Ask { filter: filter(&query)?, open: open(&query)?, limit: limit(&query)?, cursor: cursor(&query)? };
    let page = state.flows.list(&ask);
    Ok(Json(Page {
        node_id: state.node_id.to_string(),
        source: match page.source {
            Kind::SockOps => "sock_ops",
            Kind::Tracepoint => "tracepoint",
            Kind::None => "none",
        },
        open: page.open,
        flows: page.flows,
        next_cursor: page.cursor.map(|number| number.to_string()),
    }))
}

fn open(query: &Query) -> Result<Option<bool>, Refusal> {
    match query.one("state")?.as_deref() {
        None => Ok(None),
        Some("open") => Ok(Some(true)),
        Some("closed") => Ok(Some(false)),
        Some(_) => Err(Refusal::bad_request("bad_value", "\"state\" is open or closed").field("state")),
    }
}

fn limit(query: &Query) -> Result<usize, Refusal> {
    let Some(limit) = query.one("limit")? else { return Ok(LIMIT) };
    let limit = limit.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| Refusal::bad_request("bad_value", format!("\"limit\" is 1 to {LIMIT_MAX}")).field("limit"))
}

fn cursor(query: &Query) -> Result<Option<u64>, Refusal> {
    let Some(cursor) = query.one("cursor")? else { return Ok(None) };
    let bad = |_| Refusal::bad_request("bad_value", "\"cursor\" is a next_cursor of this list").field("cursor");
    cursor.parse().map(Some).map_err(bad)
}
