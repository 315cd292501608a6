//! Redirect loops: follows the Location of a sample request as a browser would, while it is certain which route answers.

use super::super::host::Pattern;
use super::super::matcher::{Matcher, PathMatch};
use super::super::path::{encode, is_valid};
use super::super::redirect::{Incoming, url};
use super::super::{Answer, Redirect, Route, Table};
use crate::base::Fault;

/// Browsers give up here (Fetch section 4.4).
const HOPS_MAX: usize = 20;
/// Places shown of a loop.
const SHOWN_MAX: usize = 3;

/// Where a request without body and query stands.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    listener: usize,
    host: String,
    path: Vec<u8>,
}

impl Table {
    /// The places that a request of this route passes before it comes back to the route for good.
    pub(super) fn redirect_loop(&self, rank: u32) -> Option<String> {
        let route = &self.routes[rank as usize];
        if !route.enabled || !matches!(route.answer, Answer::Redirect(_)) {
            return None;
        }
        self.samples(route).into_iter().find_map(|sample| self.follow(route, sample))
    }

    fn follow(&self, first: &Route, sample: Place) -> Option<String> {
        let mut places = vec![sample];
        let mut back = false;
        for hop in 0..HOPS_MAX {
            let place = &places[hop];
            let route = self.certain_winner(first, place)?;
            if hop == 0 && route.id != first.id {
                return None;
            }
            back |= hop > 0 && route.id == first.id;
            let Answer::Redirect(redirect) = &route.answer else { return None };
            if !keeps_method(&first.matcher, redirect.status) {
                return None;
            }
            let next = self.next_place(redirect, place).ok().flatten()?;
            let again = places.contains(&next);
            places.push(next);
            if again {
                // A cycle that the route only leads to is another route's.
                return (back || places.last() == places.first()).then(|| shown(&places));
            }
        }
        back.then(|| shown(&places))
    }

    /// Requests that the route answers unless an earlier one does.
    fn samples(&self, route: &Route) -> Vec<Place> {
        let matcher = &route.matcher;
        if matcher.host_regex.is_some() || !matcher.parameters.is_empty() {
            return Vec::new();
        }
        let mut samples = Vec::new();
        for &listener in &route.listeners {
            let named = matcher.hosts.first().or(self.listeners[listener].hostnames.first());
            let host = named.unwrap_or(&Pattern::Any).sample();
            let paths = sample_paths(&matcher.path).into_iter();
            samples.extend(paths.map(|path| Place { listener, host: host.clone(), path }));
        }
        samples.retain(|place| is_plain(&place.path) && self.check_host(place.listener, &place.host).is_ok());
        samples
    }

    /// The route that answers at `place` whatever else the request says, given that it met the conditions of `first`.
    fn certain_winner(&self, first: &Route, place: &Place) -> Option<&Route> {
        let listener = &self.listeners[place.listener];
        let mut ranks = Vec::new();
        listener.index.visit_at(&place.host, &place.path, |rank| ranks.push(rank));
        ranks.sort_unstable();
        for rank in ranks {
            let route = &self.routes[rank as usize];
            let matcher = &route.matcher;
            let regex_holds = matcher.host_regex.as_ref().is_none_or(|regex| regex.is_match(place.host.as_bytes()));
            if !regex_holds || !matcher.path.matches(&place.path) {
                continue;
            }
            // The query is not followed, so what asks about it is unknown.
            let certain = matcher.parameters.is_empty() && matcher.conditions_cover(&first.matcher);
            return certain.then_some(route);
        }
        listener.default.map(|rank| &self.routes[rank as usize])
    }

    /// Where the Location leads; none: to where no listener of this document is known to be.
    fn next_place(&self, redirect: &Redirect, place: &Place) -> Result<Option<Place>, Fault> {
        let incoming = Incoming { host: &place.host, spelled: &place.path, route_path: &place.path, query: None };
        let mut location = Vec::new();
        redirect.location(&incoming, &mut location)?;
        let location = String::from_utf8_lossy(&location);
        let (listener, host, rest) = if location.starts_with('/') {
            (Some(place.listener), place.host.clone(), &*location)
        } else {
            let Some(url) = url(&location).filter(|url| !url.secure) else { return Ok(None) };
            let host = url.host.to_ascii_lowercase();
            (self.listener_at(url.port), host.strip_suffix('.').unwrap_or(&host).to_owned(), url.rest)
        };
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        let path = if path.is_empty() { b"/".to_vec() } else { path.as_bytes().to_vec() };
        let listener = listener.filter(|at| is_plain(&path) && self.check_host(*at, &host).is_ok());
        Ok(listener.map(|listener| Place { listener, host, path }))
    }

    /// The one listener on a port.
    fn listener_at(&self, port: u16) -> Option<usize> {
        let mut on_port = (0..self.listeners.len()).filter(|at| self.listeners[*at].ports.contains(&port));
        on_port.next().filter(|_| on_port.next().is_none())
    }
}

fn sample_paths(path: &PathMatch) -> Vec<Vec<u8>> {
    let below = |prefix: &[u8]| [prefix.strip_suffix(b"/").unwrap_or(prefix), b"/x"].concat();
    match path {
        PathMatch::Any => vec![b"/".to_vec(), b"/x".to_vec()],
        PathMatch::Prefix(prefix) | PathMatch::Raw(prefix) => vec![prefix.to_vec(), below(prefix)],
        PathMatch::Exact(exact) => vec![exact.to_vec()],
        PathMatch::Regex(_) => Vec::new(),
    }
}

/// Whether received spelling, route path and path are all the same.
fn is_plain(path: &[u8]) -> bool {
    let mut spelling = Vec::new();
    encode(path, false, &mut spelling);
    spelling == path && is_valid(path) && !path.windows(2).any(|pair| pair == b"//")
}

/// 301 and 302 turn POST into GET (RFC 9110 section 15.4); GET and HEAD always stay.
fn keeps_method(matcher: &Matcher, status: u16) -> bool {
    let stays = |method: &[u8]| method == b"GET" || method == b"HEAD";
    matches!(status, 307 | 308) || matcher.methods.is_empty() || matcher.methods.iter().all(|method| stays(method))
}

fn shown(places: &[Place]) -> String {
    let text = |place: &Place| format!("{}{}", place.host, String::from_utf8_lossy(&place.path));
    let mut shown: Vec<String> = places.iter().take(SHOWN_MAX).map(text).collect();
    if places.len() > SHOWN_MAX {
        shown.push("...".to_owned());
    }
    shown.join(" -> ")
}
