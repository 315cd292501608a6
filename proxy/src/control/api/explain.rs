//! POST /api/v1/explain: what a request would meet, without making it.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::State;
use super::answer::{Query, Refusal};
use crate::control::port::Question;

/// A request's body.
const BODY_MAX: usize = 2 * 1024 * 1024;

pub(super) async fn answer(
    Shared(state): Shared<Arc<State>>,
    uri: Uri,
    body: Body,
) -> Result<Json<serde_json::Value>, Refusal> {
    Query::of(&uri, &[])?;
    let question: Question = serde_json::from_slice(&whole(body).await?)
        .map_err(|error| Refusal::bad_request("bad_question", error.to_string()))?;
    // All routes may be looked at: too long for a thread that also runs probes.
    let answered = tokio::task::spawn_blocking(move || (state.explain)(&question)).await;
    match answered {
        Ok(Ok(answer)) => Ok(Json(answer)),
        Ok(Err(unanswered)) => {
            let refusal = Refusal::bad_request("unanswered", unanswered.message);
            Err(unanswered.field.into_iter().fold(refusal, Refusal::field))
        }
        Err(_) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the question broke explain")),
    }
}

/// The whole body, if it is not too large.
pub(super) async fn whole(body: Body) -> Result<Bytes, Refusal> {
    match Limited::new(body, BODY_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is larger than 2 MiB"))
        }
        Err(_) => Err(Refusal::bad_request("bad_body", "the body did not arrive whole")),
    }
}
