//! Header edits: what a route or target removes, sets, adds and defaults, compiled.
//!
//! Their order gives them a normal form: names to drop, then fields to append, each perhaps only if its name is absent.
//! They are made on [`http::Edits`], the overlay that is written with a head; a target's follow its route's.

mod template;

use std::net::IpAddr;

use crate::config::{Problems, raw};
use crate::http;
use template::Template;

/// Edits of one section, and octets of their names and values.
const EDITS_MAX: usize = 64;
const OCTETS_MAX: usize = 8 * 1024;

/// What placeholders stand for.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// `{client_ip}`; none for a Unix peer.
    pub client_ip: Option<IpAddr>,
    /// `{host}`: normalised.
    pub host: &'a str,
    /// `{method}`.
    pub method: &'a [u8],
    /// `{path}`: as received, without query.
    pub path: &'a [u8],
    /// `{route}`: its name.
    pub route: &'a str,
    /// `{request_id}`: as it is sent on.
    pub request_id: &'a [u8],
}

/// Compiled edits. Empty ones cost nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edits {
    /// Names whose received fields go, in lower case.
    dropped: Vec<Box<str>>,
    added: Vec<Addition>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Addition {
    name: Box<str>,
    /// A line each.
    values: Vec<Template>,
    if_absent: bool,
}

impl Edits {
    /// Compiles the edits of a route's or a target's table; what is wrong goes to `problems`.
    pub fn compile(raw: &raw::HeaderEdits<'_>, problems: &mut Problems) -> Self {
        let mut edits = Self::default();
        let mut report = |key: &str, why: String| problems.push(raw.at.problem(key, why));
        for name in raw.remove {
            edits.drop_name(name);
            check_name(name).unwrap_or_else(|why| report("remove", why));
        }
        raw.set.iter().for_each(|(name, _)| edits.drop_name(name));
        for (key, fields) in [("set", raw.set), ("add", raw.add), ("default", raw.default)] {
            for (name, values) in fields {
                check_name(name).unwrap_or_else(|why| report(key, why));
                let values = values.iter().map(|value| Template::parse(value));
                let values: Result<_, _> = values.collect();
                let values = values.unwrap_or_else(|why| {
                    report(key, why);
                    Vec::new()
                });
                if !values.is_empty() {
                    edits.added.push(Addition { name: name.as_str().into(), values, if_absent: key == "default" });
                }
            }
        }
        check_size(raw).unwrap_or_else(|why| report("", why));
        edits
    }

    /// Whether a message passes as it is.
    pub fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.added.is_empty()
    }

    /// Makes the edits on top of those already in `out`. `in_head` says whether the message has a field of that name.
    /// `scratch` holds one value at a time; it need not be empty. Gives the number of octets dropped from expanded
    /// values, and of lines that may not be sent at all: CR, LF, NUL (RFC 9110 section 5.5).
    pub fn apply(
        &self,
        facts: &Facts<'_>,
        in_head: impl Fn(&[u8]) -> bool,
        scratch: &mut Vec<u8>,
        out: &mut http::Edits,
    ) -> u32 {
        self.dropped.iter().for_each(|name| out.remove(name.as_bytes()));
        let mut lost = 0;
        for addition in &self.added {
            let name = addition.name.as_bytes();
            let present =
                || (in_head(name) && !out.hides(name)) || out.iter().any(|(added, _)| added.eq_ignore_ascii_case(name));
            if addition.if_absent && present() {
                continue;
            }
            for value in &addition.values {
                scratch.clear();
                lost += value.expand(facts, scratch);
                lost += u32::from(!out.add(name, scratch));
            }
        }
        lost
    }

    fn drop_name(&mut self, name: &str) {
        let name = name.to_ascii_lowercase().into_boxed_str();
        if !self.dropped.contains(&name) {
            self.dropped.push(name);
        }
    }
}

/// A field name that edits may touch. Framing and the connection are weir's own (RFC 9110 section 7.6.1).
fn check_name(name: &str) -> Result<(), String> {
    const REFUSED: [&str; 10] = [
        "connection",
        "content-length",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let lower = name.to_ascii_lowercase();
    if !http::is_token(lower.as_bytes()) {
        return Err(format!("\"{name}\" is no header name"));
    }
    if REFUSED.contains(&&*lower) || lower.starts_with("proxy-auth") {
        return Err(format!("{name} cannot be edited: framing, connection and Host are weir's own"));
    }
    Ok(())
}

fn check_size(raw: &raw::HeaderEdits<'_>) -> Result<(), String> {
    let pairs = || [raw.set, raw.add, raw.default].into_iter().flatten();
    let edits = raw.remove.len() + pairs().map(|(_, values)| values.len()).sum::<usize>();
    let added = pairs().flat_map(|(name, values)| values.iter().map(|value| name.len() + value.len()));
    let octets = raw.remove.iter().map(String::len).chain(added).sum::<usize>();
    if edits > EDITS_MAX {
        return Err(format!("{edits} header edits; at most {EDITS_MAX}"));
    }
    if octets > OCTETS_MAX { Err(format!("header edits of {octets} octets; at most 8 KiB")) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
