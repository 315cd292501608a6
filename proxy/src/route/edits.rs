//! Header edits: what a route or target removes, sets, adds and defaults, as an overlay on a message's fields.
//!
//! Compiled to a normal form: names to drop from what came, then fields to append, each perhaps only if its name is
//! absent. Two edits one after the other have a normal form too ([`Edits::then`]), so a message meets only one.

mod template;

use std::net::IpAddr;

use crate::config::{Problems, raw};
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

    /// Whether a field that came with the message stays.
    pub fn keeps(&self, name: &[u8]) -> bool {
        !self.dropped.iter().any(|dropped| dropped.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Calls `emit` with each new field, in order. `has` says whether the message came with a field of that name (asked
    /// with names of any case). `scratch` holds one value at a time; it need not be empty. Gives the octets dropped
    /// from expanded values: CR, LF, NUL (RFC 9110 section 5.5).
    pub fn append(
        &self,
        facts: &Facts<'_>,
        has: impl Fn(&[u8]) -> bool,
        scratch: &mut Vec<u8>,
        mut emit: impl FnMut(&[u8], &[u8]),
    ) -> u32 {
        let mut lost = 0;
        for (at, addition) in self.added.iter().enumerate() {
            let name = addition.name.as_bytes();
            let present = || self.added_before(at, name) || (self.keeps(name) && has(name));
            if addition.if_absent && present() {
                continue;
            }
            for value in &addition.values {
                scratch.clear();
                lost += value.expand(facts, scratch);
                emit(name, scratch);
            }
        }
        lost
    }

    /// A default that found its name present emits nothing, but then the name is present.
    fn added_before(&self, at: usize, name: &[u8]) -> bool {
        self.added[..at].iter().any(|addition| addition.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Calls `emit` with every field of the edited message: those of `fields` that stay, then the new ones.
    pub fn apply<'f>(
        &self,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone,
        facts: &Facts<'_>,
        scratch: &mut Vec<u8>,
        mut emit: impl FnMut(&[u8], &[u8]),
    ) -> u32 {
        fields.clone().filter(|(name, _)| self.keeps(name)).for_each(|(name, value)| emit(name, value));
        let has = |name: &[u8]| fields.clone().any(|(field, _)| field.eq_ignore_ascii_case(name));
        self.append(facts, has, scratch, emit)
    }

    /// The edits that do these, then `next`.
    pub fn then(&self, next: &Self) -> Self {
        let mut both = self.clone();
        both.added.retain(|addition| next.keeps(addition.name.as_bytes()));
        next.dropped.iter().for_each(|name| both.drop_name(name));
        both.added.extend(next.added.iter().cloned());
        both
    }

    fn drop_name(&mut self, name: &str) {
        if self.keeps(name.as_bytes()) {
            self.dropped.push(name.to_ascii_lowercase().into());
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
    if lower.is_empty() || !lower.bytes().all(is_token_octet) {
        return Err(format!("\"{name}\" is no header name"));
    }
    if REFUSED.contains(&&*lower) || lower.starts_with("proxy-auth") {
        return Err(format!("{name} cannot be edited: framing, connection and Host are weir's own"));
    }
    Ok(())
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
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
