//! GET and PUT /api/v1/settings/performance-mode.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;

use super::State;
use super::answer::{Query, Refusal};
use crate::control::performance::{Setting, Source};

/// What may be said of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    enabled: bool,
    /// As GET shows it, so that what was read can be sent back.
    #[serde(default, rename = "source")]
    _source: Option<Source>,
}

pub(super) async fn show(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Json<Setting>, Refusal> {
    Query::of(&uri, &[])?;
    Ok(Json(state.performance.setting()))
}

pub(super) async fn set(Shared(state): Shared<Arc<State>>, uri: Uri, body: Bytes) -> Result<Json<Setting>, Refusal> {
    Query::of(&uri, &[])?;
    let Wanted { enabled, .. } =
        serde_json::from_slice(&body).map_err(|error| Refusal::bad_request("bad_body", error.to_string()))?;
    let mode = Arc::clone(&state.performance);
    let set = tokio::task::spawn_blocking(move || mode.set(enabled)).await;
    let failed = |error: &dyn std::fmt::Display| {
        let error = format!("the setting cannot be kept: {error}");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "state_unwritable", error).hint("look at node.state_dir")
    };
    match set {
        Ok(Ok(setting)) => Ok(Json(setting)),
        Ok(Err(error)) => Err(failed(&error)),
        Err(error) => Err(failed(&error)),
    }
}

/// Refuses what performance mode has switched off.
pub(super) fn observing(state: &State) -> Result<(), Refusal> {
    if state.performance.is_enabled() {
        return Ok(());
    }
    let code = "PERFORMANCE_MODE_DISABLED";
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, code, "observation is switched off")
        .hint("PUT {\"enabled\":true} to /api/v1/settings/performance-mode"))
}
