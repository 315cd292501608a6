//! GET /api/v1/wiretap/stream: flows as they happen, as server-sent events.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::State;
use super::answer::{Query, Refusal};
use crate::control::flows::{BadValue, Filter, KEYS, Wish};

pub(super) async fn stream(
    Shared(state): Shared<Arc<State>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    super::settings::observing(&state)?;
    let known: Vec<&str> = KEYS.into_iter().chain(["sample", "scope"]).collect();
    let query = Query::of(&uri, &known)?;
    scope(&state, &query)?;
    let resume = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let wish = Wish { filter: filter(&query)?, sample: sample(&query)?, resume };
    let feed = state.flows.watch(wish).ok_or_else(|| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_readers", "the wiretap has as many readers as it may")
            .hint("flows.readers_max bounds them")
    })?;
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::new(feed)).into_response())
}

/// The conditions of a query.
pub(super) fn filter(query: &Query) -> Result<Filter, Refusal> {
    Filter::parse(|key| query.all(key)).map_err(|BadValue { key, problem }| {
        Refusal::bad_request("bad_value", format!("\"{key}\": {problem}")).field(key)
    })
}

/// A node alone is its cluster; any other node is unknown.
pub(super) fn scope(state: &State, query: &Query) -> Result<(), Refusal> {
    match query.one("scope")?.as_deref() {
        None | Some("local" | "cluster") => Ok(()),
        Some(scope) if scope.strip_prefix("node:") == Some(&*state.node_id) => Ok(()),
        Some(_) => {
            Err(Refusal::bad_request("bad_value", "\"scope\" is local, cluster or node:ID of a node of the cluster")
                .field("scope"))
        }
    }
}

/// The share of flows that is asked for.
fn sample(query: &Query) -> Result<f64, Refusal> {
    let Some(sample) = query.one("sample")? else { return Ok(1.0) };
    let share = sample.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| Refusal::bad_request("bad_value", "\"sample\" is above 0, up to 1").field("sample"))
}
