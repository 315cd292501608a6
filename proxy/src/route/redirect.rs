//! Redirects: from a matched request to the Location that answers it.

use super::matcher::PathMatch;
use super::path::{PATH_MAX, spelling_len};
use crate::base::{Fault, Reason};
use crate::config::value::RedirectMode;
use crate::config::{Problems, raw};
use crate::http::{Paths, Request};

/// What of a request a Location or a rewrite is made from.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Lower case, no port, no trailing dot.
    pub host: &'a str,
    /// [`Paths::spelled`]: as received, slashes merged if the listener says so.
    pub spelled: &'a [u8],
    /// [`Paths::route_path`].
    pub route_path: &'a [u8],
    /// The query as received, without `?`.
    pub query: Option<&'a [u8]>,
}

impl<'a> Incoming<'a> {
    /// The parts of a request.
    pub fn new(request: &'a Request<'a>, paths: &'a Paths<'a>) -> Self {
        Self { host: request.host(), spelled: &paths.spelled, route_path: &paths.route_path, query: request.query() }
    }
}

/// One route's redirect, compiled.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// 301, 302, 307 or 308.
    pub status: u16,
    base: Base,
    path: Follows,
    preserve_query: bool,
}

/// What a Location begins with.
#[derive(Clone, Debug)]
pub(crate) enum Base {
    /// A path on the same host, or a whole URL: cut where the path, then the query ends.
    Page { local: bool, page: Box<[u8]>, query: Option<Box<[u8]>>, fragment: Option<Box<[u8]>> },
    /// scheme://authority.
    Origin(Box<[u8]>),
    /// https, the request's host, and this port if any.
    Https(Option<u16>),
}

/// What of the path is appended.
#[derive(Clone, Copy, Debug)]
enum Follows {
    Nothing,
    Whole,
    /// What follows so many octets of the route path.
    Prefix(usize),
}

impl Redirect {
    pub(crate) fn compile(raw: &raw::Redirect, path: &PathMatch, problems: &mut Problems) -> Option<Self> {
        let base = base(raw.mode, &raw.target).map_err(|why| problems.push(raw.at.problem("target", why))).ok()?;
        let appends = matches!(base, Base::Page { .. });
        if !appends && !raw.preserve_path {
            let message = format!("redirect mode {} always keeps the path", raw.mode.word());
            problems.push(raw.at.problem("preserve_path", message));
        }
        let path = match path {
            _ if !appends => Follows::Whole,
            _ if !raw.preserve_path => Follows::Nothing,
            PathMatch::Exact(_) | PathMatch::Regex(_) => Follows::Nothing,
            PathMatch::Any | PathMatch::Prefix(_) | PathMatch::Raw(_) => match path.prefix_len() {
                0 => Follows::Whole,
                len => Follows::Prefix(len),
            },
        };
        Some(Self { status: raw.status, base, path, preserve_query: raw.preserve_query })
    }

    /// Appends the Location to `out`.
    pub fn location(&self, incoming: &Incoming<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let start = out.len();
        let failed = Fault::new(Reason::RedirectFailed);
        let (query, fragment) = match &self.base {
            Base::Page { page, query, fragment, .. } => {
                out.extend_from_slice(page);
                append_path(self.followed(incoming.spelled), start, out);
                (query.as_deref(), fragment.as_deref())
            }
            Base::Origin(origin) => {
                out.extend_from_slice(origin);
                out.extend_from_slice(rooted(incoming.spelled).ok_or(failed)?);
                (None, None)
            }
            Base::Https(port) => {
                append_https(incoming.host, *port, out).ok_or(failed)?;
                out.extend_from_slice(rooted(incoming.spelled).ok_or(failed)?);
                (None, None)
            }
        };
        let incoming = incoming.query.filter(|_| self.preserve_query).unwrap_or_default();
        append_query(query, incoming, out);
        fragment.into_iter().for_each(|fragment| out.extend_from_slice(fragment));
        if self.is_sendable(&out[start..]) { Ok(()) } else { Err(failed) }
    }

    fn followed<'a>(&self, received: &'a [u8]) -> &'a [u8] {
        match self.path {
            Follows::Nothing => b"",
            Follows::Whole if received == b"/" => b"",
            Follows::Whole => received,
            Follows::Prefix(len) => &received[spelling_len(received, len)..],
        }
    }

    /// A local Location that began with two separators would name another host (RFC 3986 section 4.2; browsers read a
    /// backslash as a slash).
    fn is_sendable(&self, location: &[u8]) -> bool {
        let elsewhere = self.is_local() && !is_local(location);
        location.len() <= PATH_MAX && !elsewhere && location.iter().all(|octet| matches!(octet, 0x21..=0x7e))
    }

    fn is_local(&self) -> bool {
        matches!(self.base, Base::Page { local: true, .. })
    }
}

/// Joined by one `/`, whatever the page ends and the path begins with.
fn append_path(path: &[u8], start: usize, out: &mut Vec<u8>) {
    if path.is_empty() {
        return;
    }
    while out.len() > start && out.ends_with(b"/") {
        out.pop();
    }
    out.push(b'/');
    let leading = path.iter().take_while(|octet| **octet == b'/').count();
    out.extend_from_slice(&path[leading..]);
}

fn append_https(host: &str, port: Option<u16>, out: &mut Vec<u8>) -> Option<()> {
    if host.is_empty() {
        return None;
    }
    out.extend_from_slice(b"https://");
    out.extend_from_slice(host.as_bytes());
    if let Some(port) = port {
        out.push(b':');
        out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
    }
    Some(())
}

fn append_query(own: Option<&[u8]>, incoming: &[u8], out: &mut Vec<u8>) {
    if own.is_none() && incoming.is_empty() {
        return;
    }
    let own = own.unwrap_or_default();
    out.push(b'?');
    out.extend_from_slice(own);
    if !own.is_empty() && !incoming.is_empty() {
        out.push(b'&');
    }
    out.extend_from_slice(incoming);
}

/// A path, not the asterisk of OPTIONS.
fn rooted(path: &[u8]) -> Option<&[u8]> {
    path.starts_with(b"/").then_some(path)
}

fn is_local(location: &[u8]) -> bool {
    location.starts_with(b"/") && !matches!(location.get(1), Some(b'/' | b'\\'))
}

fn base(mode: RedirectMode, target: &str) -> Result<Base, String> {
    if !target.bytes().all(|octet| matches!(octet, 0x21..=0x7e)) {
        return Err("a redirect's target is written in visible ASCII; encode the rest".to_owned());
    }
    match mode {
        RedirectMode::SameHostPath if !is_local(target.as_bytes()) => {
            Err("same_host_path needs a path that starts with one \"/\"".to_owned())
        }
        RedirectMode::SameHostPath => Ok(page(true, target)),
        RedirectMode::ExternalOriginKeepPath => match url(target) {
            Some(Url { rest: "", .. }) => Ok(Base::Origin(target.as_bytes().into())),
            _ => Err("external_origin_keep_path needs an http or https origin without a path".to_owned()),
        },
        RedirectMode::AbsoluteUrl if url(target).is_none() => Err("absolute_url needs an http or https URL".to_owned()),
        RedirectMode::AbsoluteUrl => Ok(page(false, target)),
        RedirectMode::Scheme => https(target).ok_or_else(|| "scheme needs https or https:PORT".to_owned()),
    }
}

fn page(local: bool, target: &str) -> Base {
    let octets = |text: &str| -> Box<[u8]> { text.as_bytes().into() };
    let hash = target.find('#').unwrap_or(target.len());
    let (rest, fragment) = target.split_at(hash);
    let (page, query) = rest.split_once('?').map_or((rest, None), |(page, query)| (page, Some(query)));
    let fragment = (!fragment.is_empty()).then(|| octets(fragment));
    Base::Page { local, page: octets(page), query: query.map(octets), fragment }
}

fn https(target: &str) -> Option<Base> {
    match target.strip_prefix("https")?.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0).map(|port| Base::Https(Some(port))),
        None => (target == "https").then_some(Base::Https(None)),
    }
}

/// An http or https URL, in parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Url<'u> {
    pub(crate) secure: bool,
    pub(crate) host: &'u str,
    pub(crate) port: u16,
    /// Path, query and fragment.
    pub(crate) rest: &'u str,
}

/// The parts of an http or https URL without user information.
pub(crate) fn url(text: &str) -> Option<Url<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    let (secure, default_port) = match scheme {
        "http" => (false, 80),
        "https" => (true, 443),
        _ => return None,
    };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (host, port) = super::host::authority(authority)?;
    (!rest.starts_with('\\')).then_some(Url { secure, host, port: port.unwrap_or(default_port), rest })
}

#[cfg(test)]
mod tests;
