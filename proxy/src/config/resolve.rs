//! What holds in one place: the global table, narrowed by the listener, then by the route.

use super::raw::{Document, ErrorPages, Http2, Limits, Listener, Retry, Route, Timeouts};
use super::value::Forwarded;

impl Limits {
    /// What holds at `listener`, and from `route` on.
    ///
    /// `connections_max` and `requests_max` hold for the process beside a listener's own: ask the document for those.
    pub fn resolve(document: &Document, listener: &Listener, route: Option<&Route>) -> Self {
        let mut limits = listener.limits.over(&document.limits);
        limits.body_max = route.and_then(|route| route.limits.body_max).unwrap_or(limits.body_max);
        limits
    }
}

impl Timeouts {
    /// What holds at `listener`, and from `route` on.
    pub fn resolve(document: &Document, listener: &Listener, route: Option<&Route>) -> Self {
        let timeouts = listener.timeouts.over(&document.timeouts);
        route.map_or_else(|| timeouts.clone(), |route| route.timeouts.over(&timeouts))
    }
}

impl Http2 {
    /// What holds at `listener`.
    pub fn resolve(document: &Document, listener: &Listener) -> Self {
        listener.http2.over(&document.http2)
    }
}

impl Retry {
    /// What holds from `route` on.
    pub fn resolve(document: &Document, route: Option<&Route>) -> Self {
        route.map_or_else(|| document.retry.clone(), |route| route.retry.over(&document.retry))
    }
}

impl ErrorPages {
    /// What holds from `route` on: its own pages before the global ones.
    pub fn resolve(document: &Document, route: Option<&Route>) -> Self {
        let global = &document.error_pages;
        let Some(own) = route.map(|route| &route.error_pages) else { return global.clone() };
        // A page of the route, even one for a class, comes before any global page that its statuses have.
        let uncovered = |range: &super::value::StatusRange| range.all().filter(|status| own.page(*status).is_none());
        let rest = global.pages.iter().flat_map(|(range, _)| uncovered(range));
        let rest = rest.filter_map(|status| {
            let one = super::value::StatusRange { low: status, high: status };
            global.page(status).map(|path| (one, path.to_owned()))
        });
        let mut pages: Vec<_> = own.pages.iter().cloned().chain(rest).collect();
        pages.sort_by_key(|(range, _)| (range.high - range.low, range.low));
        pages.dedup();
        Self { pages, intercept: own.intercept.clone().or_else(|| global.intercept.clone()), at: own.at.clone() }
    }
}

impl Route {
    /// How the upstream learns who the client is, for requests of `listener`.
    pub fn forwarded(&self, listener: &Listener) -> Forwarded {
        self.forwarded.unwrap_or(listener.forwarded)
    }

    /// Whether WebSocket upgrades of `listener`'s requests are forwarded.
    pub fn websocket(&self, listener: &Listener) -> bool {
        self.websocket.unwrap_or(listener.websocket)
    }
}
