//! What a lookup is asked about: the few facts of a request that routes may look at.

use std::net::IpAddr;

use crate::http::{Paths, Request};

/// One lookup. Borrowed from the request's head; holds nothing of its own.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// Lower case, no port, no trailing dot; empty if the request names none.
    pub host: &'a str,
    /// [`Paths::route_path`].
    pub route_path: &'a [u8],
    /// The method's token.
    pub method: &'a [u8],
    /// The query as received, without `?`.
    pub query: Option<&'a [u8]>,
    /// The resolved client; none for a Unix peer.
    pub client: Option<IpAddr>,
    /// Where header fields are looked up.
    pub fields: &'a dyn Fields,
}

impl<'a> Query<'a> {
    /// The lookup of a request.
    pub fn new(request: &'a Request<'a>, paths: &'a Paths<'a>, client: Option<IpAddr>) -> Self {
        Self {
            host: request.host(),
            route_path: &paths.route_path,
            method: request.method(),
            query: request.query(),
            client,
            fields: request,
        }
    }
}

/// A request's header section.
pub trait Fields {
    /// Whether `holds` is true for any value of the field `name` (given in lower case); with none, it is never called.
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

impl Fields for Request<'_> {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        // The name lives shorter than the message does: so must the view that looks for it.
        let request: Request<'_> = *self;
        request.fields_named(name.as_bytes()).any(holds)
    }
}

/// No field at all.
impl Fields for () {
    fn any(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

/// Names in any case and values: a request that `explain` is asked about.
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Fields for Vec<(N, V)> {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let named = |(n, _): &&(N, V)| n.as_ref().eq_ignore_ascii_case(name.as_bytes());
        self.iter().filter(named).any(|(_, value)| holds(value.as_ref()))
    }
}
