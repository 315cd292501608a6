//! The decisions of a request that need no I/O: one code path for traffic, `weir explain` and the API.

use std::net::{IpAddr, Ipv4Addr};

use crate::base::{Fault, Reason};
use crate::config::Snapshot;
use crate::config::value::Destination;
use crate::http::{Paths, Request};
use crate::route::{self, Answer, Incoming, Query, Redirect, Rewritten, Route};
use crate::target::Keys;
use crate::target::key::cookie_values;

/// A request that may go on, and where to.
pub struct Decided<'s, 'r> {
    /// The readings of its path.
    pub paths: Paths<'r>,
    /// The route that it met.
    pub route: &'s Route,
    /// What the route does.
    pub decision: Decision<'s>,
}

/// What a route does.
#[derive(Clone, Copy)]
pub enum Decision<'s> {
    /// Answers with a Location.
    Redirect(&'s Redirect),
    /// Hands the request to a target.
    Forward,
}

/// The path that goes upstream.
pub struct UpstreamPath<'r> {
    /// Whether it lies in the scratch text, not in the request.
    pub rewritten: bool,
    /// X-Forwarded-Prefix, if a prefix was taken away.
    pub stripped: &'r [u8],
}

/// A request at a listener of a generation.
#[derive(Clone, Copy)]
pub struct Asked<'q, 's, 'r> {
    /// The generation.
    pub snapshot: &'s Snapshot,
    /// Position of the listener.
    pub listener: usize,
    /// The request.
    pub request: &'q Request<'r>,
}

impl<'s, 'r> Asked<'_, 's, 'r> {
    /// The readings of its path, for every stage that follows. A path with a separator in percent-encoding is good
    /// only where its route allows that: `client` is for the early look at which that is.
    ///
    /// # Errors
    /// 421 `host_not_served`, 400 `invalid_request_target`.
    pub fn read(&self, client: Option<IpAddr>) -> Result<Paths<'r>, Fault> {
        let Self { snapshot, listener, request } = *self;
        snapshot.table.check_host(listener, request.host())?;
        let paths = request.paths(snapshot.document.listeners[listener].merge_slashes)?;
        if paths.encoded_separator {
            route::check_encoded_separator(self.find(&paths, client))?;
        }
        Ok(paths)
    }

    /// The route, and what it does.
    ///
    /// # Errors
    /// 404 `no_route`.
    pub fn route(&self, paths: Paths<'r>, client: Option<IpAddr>) -> Result<Decided<'s, 'r>, Fault> {
        let route = self.find(&paths, client).ok_or(Fault::new(Reason::NoRoute))?;
        let decision = match &route.answer {
            Answer::Forward => Decision::Forward,
            Answer::Redirect(redirect) => Decision::Redirect(redirect),
        };
        Ok(Decided { paths, route, decision })
    }

    /// What CONNECT asks to be connected to, if the listener lists it (RFC 9110 section 9.3.6).
    ///
    /// # Errors
    /// 405 `method_not_allowed`.
    pub fn destination(&self) -> Result<&'s Destination, Fault> {
        let Self { snapshot, listener, request } = *self;
        let asked = |one: &&Destination| *one.host == *request.host() && Some(one.port) == request.head.port();
        let listed = snapshot.document.listeners[listener].connect_allow.iter().find(asked);
        listed.ok_or(Fault::new(Reason::MethodNotAllowed))
    }

    fn find(&self, paths: &Paths<'r>, client: Option<IpAddr>) -> Option<&'s Route> {
        self.snapshot.table.find(self.listener, &Query::new(self.request, paths, client))
    }
}

impl<'r> Decided<'_, 'r> {
    /// What a Location or a rewritten path is made from.
    pub fn incoming<'q>(&'q self, request: &'q Request<'q>) -> Incoming<'q> {
        Incoming::new(request, &self.paths)
    }

    /// Writes the path that the upstream sees to `text`, if it is another than the received one.
    ///
    /// # Errors
    /// As [`route::Rewrite::path`].
    pub fn rewrite<'q>(&'q self, request: &'q Request<'q>, text: &mut Vec<u8>) -> Result<UpstreamPath<'q>, Fault> {
        match self.route.rewrite.path(&self.incoming(request), text)? {
            Rewritten::Unchanged => Ok(UpstreamPath { rewritten: false, stripped: b"" }),
            Rewritten::Changed { stripped } => Ok(UpstreamPath { rewritten: true, stripped }),
        }
    }
}

/// A request and who sent it, as balancing looks at it.
#[derive(Clone, Copy)]
pub struct KeyView<'a> {
    /// The request.
    pub request: Request<'a>,
    /// The client.
    pub client: Option<IpAddr>,
}

impl Keys for KeyView<'_> {
    /// A peer on a Unix socket has no address: all of them count as one client.
    fn client_ip(&self) -> IpAddr {
        self.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    fn path(&self) -> &[u8] {
        self.request.path_raw()
    }

    fn uri(&self) -> &[u8] {
        self.request.target()
    }

    fn host(&self) -> &[u8] {
        self.request.host().as_bytes()
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.request.fields().find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    fn cookie(&self, name: &str, nth: usize) -> Option<&[u8]> {
        // The name lives shorter than the message does: so must the view that looks for it.
        let fields = self.request.fields().filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"));
        let mut left = nth;
        for (_, value) in fields {
            for found in cookie_values(value, name) {
                match left.checked_sub(1) {
                    Some(less) => left = less,
                    None => return Some(found),
                }
            }
        }
        None
    }

    fn query(&self, name: &str) -> Option<&[u8]> {
        let mut pairs = self.request.query()?.split(|octet| *octet == b'&');
        pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }
}
