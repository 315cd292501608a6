//! Rewrites: the path and Host that the upstream sees.

use regex::bytes::Regex;

use super::matcher::PathMatch;
use super::path::{PATH_MAX, encode, has_encoded_separator, has_twice_encoded_separator, is_valid, spelling_len};
use super::redirect::Incoming;
use crate::base::{Fault, Reason, regex};
use crate::config::value::UpstreamHost;
use crate::config::{Problems, raw};

/// One route's rewrite, compiled.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// The Host field upstream.
    pub host: UpstreamHost,
    path: PathRewrite,
    allow_encoded_separators: bool,
}

impl Default for Rewrite {
    fn default() -> Self {
        Self { host: UpstreamHost::Target, path: PathRewrite::None, allow_encoded_separators: false }
    }
}

/// What became of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rewritten<'a> {
    /// Nothing was written: send it as received.
    Unchanged,
    /// The new path was written. `stripped` is the value of X-Forwarded-Prefix, empty if there is none.
    Changed {
        /// The prefix taken away, as received.
        stripped: &'a [u8],
    },
}

#[derive(Clone, Debug, Default)]
enum PathRewrite {
    #[default]
    None,
    /// In place of the prefix, `len` octets of the route path; `strip` tells the upstream what is missing.
    Replace {
        len: usize,
        with: Box<[u8]>,
        strip: bool,
    },
    Add(Box<[u8]>),
    Regex {
        regex: Regex,
        replacement: Box<[u8]>,
    },
}

impl Rewrite {
    pub(crate) fn compile(
        raw: &raw::Rewrite,
        path: &PathMatch,
        allow_encoded_separators: bool,
        problems: &mut Problems,
    ) -> Self {
        if let UpstreamHost::Set(name) = &raw.host
            && super::host::authority(name).is_none()
        {
            problems.push(raw.at.problem("host", format!("host \"{name}\" is no host name")));
        }
        let path = path_rewrite(raw, path).map_err(|(key, why)| problems.push(raw.at.problem(key, why)));
        Self { host: raw.host.clone(), path: path.unwrap_or_default(), allow_encoded_separators }
    }

    /// Whether neither path nor Host changes.
    pub fn is_empty(&self) -> bool {
        matches!(self.path, PathRewrite::None) && self.host == UpstreamHost::Target
    }

    /// Appends the path that the upstream sees to `out`, if it is another than the received one.
    ///
    /// Errors: 500 `rewrite_failed` over 8 KiB; 400 `invalid_request_target` if a request for the result would be one
    /// (RFC 3986 section 3.3; dot segments). Allocates for a regex only.
    pub fn path<'a>(&self, incoming: &Incoming<'a>, out: &mut Vec<u8>) -> Result<Rewritten<'a>, Fault> {
        let start = out.len();
        let received = incoming.spelled;
        // The asterisk of OPTIONS is no path.
        if !received.starts_with(b"/") {
            return Ok(Rewritten::Unchanged);
        }
        let stripped = match &self.path {
            PathRewrite::None => return Ok(Rewritten::Unchanged),
            PathRewrite::Replace { len, with, strip } => {
                let (prefix, rest) = received.split_at(spelling_len(received, *len));
                append_rooted(with, rest, out);
                if *strip { prefix } else { b"" }
            }
            PathRewrite::Add(prefix) => {
                append_rooted(prefix, received, out);
                b""
            }
            PathRewrite::Regex { regex, replacement } => {
                if !regex.is_match(incoming.route_path) {
                    return Ok(Rewritten::Unchanged);
                }
                append_replaced(incoming, regex, replacement, out)?;
                b""
            }
        };
        self.check(&out[start..])?;
        Ok(Rewritten::Changed { stripped })
    }

    /// What a received path must pass, a path made here must pass again.
    fn check(&self, path: &[u8]) -> Result<(), Fault> {
        if path.len() > PATH_MAX {
            return Err(Fault::new(Reason::RewriteFailed));
        }
        let separators = !self.allow_encoded_separators && has_encoded_separator(path);
        if separators || !is_valid(path) { Err(Fault::new(Reason::InvalidRequestTarget)) } else { Ok(()) }
    }
}

fn append_replaced(incoming: &Incoming<'_>, regex: &Regex, replacement: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let separators = has_encoded_separator(incoming.spelled);
    // In the route path `%2F` then is either a separator left encoded or the text of `%252F`: encoding it either way
    // would change one of the two.
    if separators && has_twice_encoded_separator(incoming.spelled) {
        return Err(Fault::new(Reason::InvalidRequestTarget));
    }
    let path = incoming.route_path;
    let mut replaced = Vec::new();
    let mut end = 0;
    for found in regex.captures_iter(path) {
        let whole = found.get_match();
        replaced.extend_from_slice(&path[end..whole.start()]);
        found.expand(replacement, &mut replaced);
        end = whole.end();
        // A long replacement of many short matches ends here, before it has its full size.
        if replaced.len() > PATH_MAX {
            return Err(Fault::new(Reason::RewriteFailed));
        }
    }
    replaced.extend_from_slice(&path[end..]);
    encode(&replaced, separators, out);
    Ok(())
}

/// `prefix` and `rest`, with a `/` before them if neither brings one.
fn append_rooted(prefix: &[u8], rest: &[u8], out: &mut Vec<u8>) {
    if prefix.is_empty() && !rest.starts_with(b"/") {
        out.push(b'/');
    }
    out.extend_from_slice(prefix);
    out.extend_from_slice(rest);
}

/// The compiled path keys, or the key at fault and why.
fn path_rewrite(raw: &raw::Rewrite, path: &PathMatch) -> Result<PathRewrite, (&'static str, String)> {
    let kinds = [raw.strip_prefix, raw.replace_prefix.is_some(), raw.add_prefix.is_some(), raw.regex.is_some()];
    if kinds.iter().filter(|kind| **kind).count() > 1 {
        return Err(("", "rewrite has one of strip_prefix, replace_prefix, add_prefix, regex".to_owned()));
    }
    match (&raw.regex, &raw.replacement) {
        (Some(pattern), Some(replacement)) => return regex_rewrite(pattern, replacement),
        (None, None) => {}
        _ => return Err(("", "rewrite needs regex and replacement together".to_owned())),
    }
    if let Some(prefix) = &raw.add_prefix {
        return Ok(PathRewrite::Add(trimmed(checked("add_prefix", prefix)?).into()));
    }
    let (key, with) = match &raw.replace_prefix {
        Some(with) => ("replace_prefix", &**with),
        None if raw.strip_prefix => ("strip_prefix", "/"),
        None => return Ok(PathRewrite::None),
    };
    if !path.is_prefix() {
        return Err((key, format!("{key} needs path_prefix or path_prefix_raw")));
    }
    let with = checked(key, with)?;
    // A raw prefix ends anywhere, so its replacement stands as written; a segment's rest brings its own `/`.
    let as_written = matches!(path, PathMatch::Raw(_)) && !raw.strip_prefix;
    let with = if as_written { with } else { trimmed(with) };
    Ok(PathRewrite::Replace { len: path.prefix_len(), with: with.into(), strip: raw.strip_prefix })
}

fn checked<'t>(key: &'static str, text: &'t str) -> Result<&'t [u8], (&'static str, String)> {
    let octets = text.as_bytes();
    if is_valid(octets) { Ok(octets) } else { Err((key, format!("{key} \"{text}\" is no path"))) }
}

fn trimmed(path: &[u8]) -> &[u8] {
    path.strip_suffix(b"/").unwrap_or(path)
}

fn regex_rewrite(pattern: &str, replacement: &str) -> Result<PathRewrite, (&'static str, String)> {
    let regex = regex(pattern).map_err(|why| ("regex", why))?;
    if let Some(unknown) = groups(replacement).find(|name| !has_group(&regex, name)) {
        let why = format!("replacement names ${unknown}, which regex does not have; ${{1}}x parts a group from text");
        return Err(("replacement", why));
    }
    Ok(PathRewrite::Regex { regex, replacement: replacement.as_bytes().into() })
}

/// The groups that a replacement names: `$name`, the longest run of word characters, or `${name}`; `$$` is a dollar.
fn groups(replacement: &str) -> impl Iterator<Item = &str> {
    let mut rest = replacement;
    std::iter::from_fn(move || {
        loop {
            let (_, after) = rest.split_once('$')?;
            if let Some(escaped) = after.strip_prefix('$') {
                rest = escaped;
                continue;
            }
            let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (name, following) = braced.unwrap_or_else(|| {
                after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len()))
            });
            rest = following;
            if !name.is_empty() {
                return Some(name);
            }
        }
    })
}

fn has_group(regex: &Regex, name: &str) -> bool {
    match name.parse::<usize>() {
        Ok(number) => number < regex.captures_len(),
        Err(_) => regex.capture_names().flatten().any(|known| known == name),
    }
}

#[cfg(test)]
mod tests;
