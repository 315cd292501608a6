//! GET /api/v1/routes and /api/v1/routes/NAME: routes in the order in which they are asked, with their targets' state.

mod shown;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::Uri;
use serde_json::{Value, json};

use super::State;
use super::answer::{Query, Refusal};
use crate::base::Instant;
use crate::config::raw::Route;
use crate::control::supervisor::Standing;
use crate::target::explain::rows;
use crate::target::live::RouteLive;

/// Routes of one answer, unless asked for otherwise.
const LIMIT: usize = 1_000;
/// Routes of one answer at most.
const LIMIT_MAX: usize = 10_000;

pub(super) async fn list(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Json<Value>, Refusal> {
    let query = Query::of(&uri, &["limit", "offset"])?;
    let limit = number(&query, "limit")?.unwrap_or(LIMIT).min(LIMIT_MAX);
    let offset = number(&query, "offset")?.unwrap_or(0);
    let view = View::of(&state);
    let mut routes: Vec<&Route> = view.standing.adopted.snapshot.document.routes.iter().collect();
    routes.sort_by_key(|route| (route.priority, route.id));
    let shown: Vec<Value> = routes.iter().skip(offset).take(limit).map(|route| view.brief(route)).collect();
    Ok(Json(json!({ "routes": shown, "total": routes.len(), "offset": offset, "limit": limit })))
}

pub(super) async fn show(
    Shared(state): Shared<Arc<State>>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Refusal> {
    Query::of(&uri, &[])?;
    let view = View::of(&state);
    let route = view.standing.adopted.snapshot.document.routes.iter().find(|route| route.name == name);
    let route = route.ok_or_else(|| Refusal::not_found(format!("no route \"{name}\"")))?;
    Ok(Json(view.whole(route)))
}

fn number(query: &Query, key: &str) -> Result<Option<usize>, Refusal> {
    let bad = |text: String| Refusal::bad_request("bad_number", format!("\"{text}\" is not a number")).field(key);
    query.one(key)?.map(|text| text.parse().map_err(|_| bad(text))).transpose()
}

/// What is true of endpoints just now.
struct View<'a> {
    state: &'a State,
    standing: Standing,
    slots: std::collections::HashMap<u32, usize>,
    now: Instant,
    wall: jiff::Timestamp,
}

impl<'a> View<'a> {
    fn of(state: &'a State) -> Self {
        let standing = state.seen.standing();
        let slots =
            standing.live.routes().iter().enumerate().map(|(slot, route)| (route.groups().route, slot)).collect();
        Self { state, standing, slots, now: (state.clock)(), wall: jiff::Timestamp::now() }
    }

    /// What a list shows of a route.
    fn brief(&self, route: &Route) -> Value {
        let mut whole = shown::route(route);
        let kept = ["id", "name", "enabled", "listener", "priority", "is_default", "action", "redirect", "balance"];
        let matchers = ["host", "host_regex", "path_prefix", "path_exact", "path_regex", "path_prefix_raw", "method"];
        whole.retain(|key, _| kept.contains(&key.as_str()) || matchers.contains(&key.as_str()));
        whole.insert("target".to_owned(), Value::Array(self.targets(route, shown::brief_target)));
        Value::Object(whole)
    }

    /// Every field, and the live state of its targets.
    fn whole(&self, route: &Route) -> Value {
        let mut whole = shown::route(route);
        whole.insert("target".to_owned(), Value::Array(self.targets(route, shown::target)));
        Value::Object(whole)
    }

    fn targets(&self, route: &Route, show: fn(&crate::config::raw::Target) -> shown::Object) -> Vec<Value> {
        let live = self.slots.get(&route.id).and_then(|&slot| self.standing.live.route(slot));
        let shown = route.targets.iter().map(|target| {
            let mut object = show(target);
            let status = live.map_or(Value::Null, |live| self.status(live, &target.name));
            object.insert("status".to_owned(), status);
            Value::Object(object)
        });
        shown.collect()
    }

    /// A target's endpoints, and the last changes of their health.
    fn status(&self, live: &RouteLive, target: &str) -> Value {
        let rows = rows(live, None, None, self.now);
        let of_target = rows.iter().filter(|row| &*row.target == target && row.since.is_some());
        let endpoints: Vec<Value> = of_target
            .map(|row| {
                json!({
                    "address": row.address,
                    "state": row.state,
                    "since": row.since.map(|since| self.time(since)),
                    "inflight": row.inflight,
                    "skip_reason": row.skip_reason.map(|reason| reason.word()),
                })
            })
            .collect();
        let key = (live.groups().route, target.into());
        let flips = self.state.flips.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let flips: Vec<Value> = flips
            .get(&key)
            .into_iter()
            .flat_map(|flips| flips.iter())
            .map(|flip| {
                json!({
                    "at": self.time(flip.at), "address": flip.address, "from": flip.from.word(), "to": flip.to.word(),
                    "cause": flip.cause,
                })
            })
            .collect();
        json!({ "endpoints": endpoints, "flips": flips })
    }

    /// A point on the monotonic clock as RFC 3339.
    fn time(&self, at: Instant) -> String {
        let ago = jiff::SignedDuration::try_from(self.now.since(at)).unwrap_or_default();
        let then = self.wall.checked_sub(ago).unwrap_or(self.wall);
        then.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }
}
