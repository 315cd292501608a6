//! GET /health: the process lives.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::Uri;
use serde::Serialize;

use super::State;
use super::answer::{Query, Refusal};

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    version: &'static str,
    node_id: String,
    uptime_s: u64,
}

pub(super) async fn show(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Json<Health>, Refusal> {
    Query::of(&uri, &[])?;
    let uptime = (state.clock)().since(state.started);
    Ok(Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        node_id: state.node_id.to_string(),
        uptime_s: uptime.as_secs(),
    }))
}
