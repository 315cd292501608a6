//! A header value with placeholders.

use std::io::Write;

use super::Facts;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(Box<[u8]>),
    ClientIp,
    Host,
    Method,
    Path,
    Route,
    RequestId,
}

impl Template {
    /// Reads a value: a name in braces is a placeholder; other braces (JSON) stand for themselves.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.bytes().any(|octet| octet.is_ascii_control() && octet != b'\t') {
            return Err("a header value holds no control character".to_owned());
        }
        let mut parts = Vec::new();
        let mut rest = text.trim_matches([' ', '\t']);
        while let Some((before, name, after)) = next_placeholder(rest) {
            push_text(&mut parts, before);
            parts.push(placeholder(name)?);
            rest = after;
        }
        push_text(&mut parts, rest);
        Ok(Self(parts))
    }

    /// Appends the value; gives the number of octets dropped because no field value may hold them.
    pub(super) fn expand(&self, facts: &Facts<'_>, out: &mut Vec<u8>) -> u32 {
        let mut lost = 0;
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::ClientIp => match facts.client_ip {
                    // Writing to a Vec does not fail.
                    Some(ip) => drop(write!(out, "{}", ip.to_canonical())),
                    None => out.extend_from_slice(b"unix"),
                },
                Part::Host => lost += append(facts.host.as_bytes(), out),
                Part::Method => lost += append(facts.method, out),
                Part::Path => lost += append(facts.path, out),
                Part::Route => lost += append(facts.route.as_bytes(), out),
                Part::RequestId => lost += append(facts.request_id, out),
            }
        }
        lost
    }
}

fn append(value: &[u8], out: &mut Vec<u8>) -> u32 {
    let before = out.len();
    out.extend(value.iter().filter(|octet| !matches!(octet, b'\r' | b'\n' | 0)));
    (value.len() - (out.len() - before)) as u32
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.as_bytes().into()));
    }
}

/// What stands before the first braced name, the name, and what follows.
fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find('{')?;
        let inner = &text[open + 1..];
        let end = inner.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(inner.len());
        match inner[end..].strip_prefix('}') {
            Some(after) if end > 0 => return Some((&text[..open], &inner[..end], after)),
            _ => from = open + 1,
        }
    }
}

fn placeholder(name: &str) -> Result<Part, String> {
    Ok(match name {
        "client_ip" => Part::ClientIp,
        "host" => Part::Host,
        "method" => Part::Method,
        "path" => Part::Path,
        "route" => Part::Route,
        "request_id" => Part::RequestId,
        _ => {
            return Err(format!(
                "unknown placeholder {{{name}}}: {{client_ip}}, {{host}}, {{method}}, {{path}}, {{route}} or {{request_id}}"
            ));
        }
    })
}
