//! Shapes that every answer has: refusals as JSON with a code, strict queries, the headers of all.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{Query as Pairs, Request};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use serde_json::json;

use super::{State, is_reserved};
use crate::base::id::RequestId;
use crate::base::metric::Class;

/// Why a request is not answered as asked.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    error: String,
    field: Option<String>,
    hint: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, error: impl Into<String>) -> Self {
        Self { status, code, error: error.into(), field: None, hint: None }
    }

    pub(super) fn bad_request(code: &'static str, error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, error)
    }

    pub(super) fn not_found(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", error)
    }

    /// Names the key that is at fault.
    pub(super) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(super) fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    fn body(&self, id: RequestId) -> Vec<u8> {
        let mut body = json!({ "error": self.error, "code": self.code, "request_id": id.to_string() });
        if let Some(field) = &self.field {
            body["field"] = json!(field);
        }
        if let Some(hint) = self.hint {
            body["hint"] = json!(hint);
        }
        body.to_string().into_bytes()
    }
}

/// The body follows in [`frame`], which knows the request's id.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// A query whose keys are all known. Repeated keys are a list.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Refusal> {
        let Pairs(pairs) = Pairs::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Refusal::bad_request("bad_query", error.body_text()))?;
        match pairs.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => {
                Err(Refusal::bad_request("unknown_key", format!("unknown query key \"{key}\"")).field(key))
            }
            None => Ok(Self(pairs)),
        }
    }

    pub(super) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| value.clone()).collect()
    }

    /// The value of a key that may stand once.
    pub(super) fn one(&self, key: &str) -> Result<Option<String>, Refusal> {
        let mut values = self.all(key);
        if values.len() > 1 {
            return Err(Refusal::bad_request("repeated_key", format!("\"{key}\" stands more than once")).field(key));
        }
        Ok(values.pop())
    }
}

/// Which connection a request came on.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    /// One of those kept free for the resources that look after a fleet.
    pub(super) reserved: bool,
}

/// What holds for every request and every answer.
pub(super) async fn frame(state: Arc<State>, request: Request, next: Next) -> Response {
    let id = RequestId::new(unix_ms(), u128::from(fastrand::u64(..)) << 64 | u128::from(fastrand::u64(..)));
    let mut response = match admit(&state, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    if !response.status().is_success() && !is_spoken(&response) {
        let refusal = unspoken(response.status());
        response = with_allow(refusal.into_response(), &response);
    }
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        *response.body_mut() = Body::from(refusal.body(id));
        response.headers_mut().remove(http::header::CONTENT_LENGTH);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if state.facts.is_frozen() && state.facts.draining() {
        // Another process serves: the next request is for that one.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    state.answered.0[Class::of(response.status().as_u16()) as usize].fetch_add(1, Ordering::Relaxed);
    response
}

/// Whether a resource has answered, with a refusal or a document of its own: /ready has one for 503.
fn is_spoken(response: &Response) -> bool {
    let is_json = |kind: &HeaderValue| kind.as_bytes() == b"application/json";
    response.extensions().get::<Refusal>().is_some() || response.headers().get(CONTENT_TYPE).is_some_and(is_json)
}

/// A refusal of the router itself.
fn unspoken(status: StatusCode) -> Refusal {
    match status {
        StatusCode::NOT_FOUND => Refusal::not_found("no such resource"),
        StatusCode::METHOD_NOT_ALLOWED => Refusal::new(status, "method_not_allowed", "the method is not allowed here"),
        _ => Refusal::new(status, "refused", status.canonical_reason().unwrap_or("refused")),
    }
}

fn with_allow(mut response: Response, from: &Response) -> Response {
    if let Some(allow) = from.headers().get(http::header::ALLOW) {
        response.headers_mut().insert(http::header::ALLOW, allow.clone());
    }
    response
}

fn admit(state: &State, request: &Request) -> Result<(), Refusal> {
    let lane = request.extensions().get::<Lane>();
    if lane.is_some_and(|lane| lane.reserved) && !is_reserved(request.uri().path()) {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", "too many connections"));
    }
    // POST to explain asks, and changes nothing.
    if state.facts.is_frozen() && !request.method().is_safe() && request.uri().path() != "/api/v1/explain" {
        let error = "another process takes over from this one";
        return Err(
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "upgrading", error).hint("ask again, on a new connection")
        );
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    match request.uri().host().or(host).filter(|host| is_own_host(host, &state.hosts)) {
        Some(_) => Ok(()),
        // A page whose name was made to resolve to loopback still sends its own name.
        None => Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "host_not_served", "host not served here")
            .hint("use an IP address or localhost")),
    }
}

/// Whether a Host names this API: an address, localhost, or a name that was configured.
fn is_own_host(host: &str, hosts: &[String]) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let address = rest.split_once(']').map_or("", |(address, _)| address);
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok() || hosts.contains(&name)
}

fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_localhost_and_configured_names_are_served() {
        let hosts = ["weir.example".to_owned()];
        for own in
            ["127.0.0.1:9900", "localhost", "LOCALHOST:9900", "[::1]:9900", "[::1]", "10.0.0.1", "weir.example:1"]
        {
            assert!(is_own_host(own, &hosts), "{own}");
        }
        for other in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:80", "", "[evil]", "::1"] {
            assert!(!is_own_host(other, &hosts), "{other}");
        }
    }
}
