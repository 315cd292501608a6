//! GET /api/v1/dns-cache: what targets' names resolve to, and what may not be used.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::Uri;

use super::State;
use super::answer::{Query, Refusal};
use crate::control::resolver::Shown;

pub(super) async fn show(Shared(state): Shared<Arc<State>>, uri: Uri) -> Result<Json<Shown>, Refusal> {
    let query = Query::of(&uri, &["hostname", "ip"])?;
    let hostname = query.one("hostname")?;
    let ip: Option<IpAddr> = match query.one("ip")? {
        Some(text) => Some(text.parse().map_err(|_| {
            Refusal::bad_request("bad_address", format!("\"{text}\" is not an IP address")).field("ip")
        })?),
        None => None,
    };
    Ok(Json(Shown { entries: state.resolver.shown(hostname.as_deref(), ip) }))
}
