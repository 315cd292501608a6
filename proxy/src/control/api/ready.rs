//! GET /ready: whether weir can do its work, and if not, what to look at first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};

use super::State;
use super::answer::{Query, Refusal};
use crate::control::ready::{CHECK_NAMES, Readiness};

pub(super) async fn show(
    Shared(state): Shared<Arc<State>>,
    uri: Uri,
) -> Result<(StatusCode, Json<Readiness>), Refusal> {
    let query = Query::of(&uri, &["exclude", "gate"])?;
    let excluded = query.all("exclude");
    if let Some(unknown) = excluded.iter().find(|name| !CHECK_NAMES.contains(&name.as_str())) {
        return Err(Refusal::bad_request("unknown_check", format!("no check \"{unknown}\"")).field("exclude"));
    }
    let gate = query.one("gate")?;
    if let Some(unknown) = gate.as_deref().filter(|gate| *gate != "traffic") {
        return Err(Refusal::bad_request("unknown_gate", format!("no gate \"{unknown}\"")).field("gate"));
    }
    let readiness = Readiness::clone(&state.readiness.borrow()).without(&excluded);
    let passes = if gate.is_some() { readiness.serving } else { readiness.ready };
    let status = if passes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(readiness)))
}
