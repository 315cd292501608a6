//! Elements of headers that name hops: comma-separated addresses, and Forwarded (RFC 7239). Read from the right, where
//! the nearest hop wrote.

use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};

use crate::http::is_token;

/// An element that names no address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Invalid;

/// How a header names hops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Grammar {
    /// `for=` of RFC 7239.
    Forwarded,
    /// Addresses, commas between them.
    List,
}

/// One hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Address<'a> {
    pub(super) ip: IpAddr,
    /// As it stands in the header.
    pub(super) element: &'a [u8],
}

impl Grammar {
    pub(super) fn of(header: &str) -> Self {
        if header.eq_ignore_ascii_case("forwarded") { Self::Forwarded } else { Self::List }
    }

    /// The elements of a line from right to left, trimmed; empty ones do not count (RFC 9110 section 5.6.1).
    pub(super) fn right_to_left(self, line: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut rest = Some(line);
        let elements = std::iter::from_fn(move || {
            let line = rest?;
            let comma = match self {
                Self::Forwarded => unquoted_comma(line),
                Self::List => memchr::memrchr(b',', line),
            };
            rest = comma.map(|at| &line[..at]);
            Some(line[comma.map_or(0, |at| at + 1)..].trim_ascii())
        });
        elements.filter(|element| !element.is_empty())
    }

    /// The address that an element names.
    pub(super) fn address(self, element: &[u8]) -> Result<Address<'_>, Invalid> {
        let ip = match self {
            Self::Forwarded => forwarded(element),
            Self::List => node(element, is_port),
        };
        ip.map(|ip| Address { ip, element }).ok_or(Invalid)
    }
}

/// The last comma outside quotes. Read from the right, so that a quote which somebody further left leaves open hides
/// nothing that nearer hops wrote.
fn unquoted_comma(line: &[u8]) -> Option<usize> {
    let mut end = line.len();
    while let Some(at) = memchr::memrchr2(b',', b'"', &line[..end]) {
        if line[at] == b',' {
            return Some(at);
        }
        end = opening_quote(&line[..at])?;
    }
    None
}

/// The quote that opens what a quote right after `line` closes.
fn opening_quote(line: &[u8]) -> Option<usize> {
    let mut end = line.len();
    loop {
        let at = memchr::memrchr(b'"', &line[..end])?;
        let backslashes = line[..at].iter().rev().take_while(|&&octet| octet == b'\\').count();
        // RFC 9110 section 5.6.4: an escaped quote is part of the text.
        if backslashes.is_multiple_of(2) {
            return Some(at);
        }
        end = at;
    }
}

/// RFC 7239 section 4: `for=` among pairs with semicolons between them, once.
fn forwarded(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(text) = rest {
        let (pair, after) = split_pair(text)?;
        rest = after;
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let equals = memchr::memchr(b'=', pair)?;
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        let text = value_of(value)?;
        if !is_token(name) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") && found.replace(node(text, is_any_port)?).is_some() {
            return None;
        }
    }
    found
}

/// A pair, and what follows the semicolon behind it.
fn split_pair(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut quoted = false;
    let mut octets = text.iter().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'\\' if quoted => drop(octets.next()),
            b'"' => quoted = !quoted,
            b';' if !quoted => return Some((&text[..at], Some(&text[at + 1..]))),
            _ => {}
        }
    }
    (!quoted).then_some((text, None))
}

/// A token, or what stands between quotes. Addresses need no escapes: a text that holds one is none.
fn value_of(value: &[u8]) -> Option<&[u8]> {
    match value.strip_prefix(b"\"") {
        Some(rest) => rest.strip_suffix(b"\""),
        None => is_token(value).then_some(value),
    }
}

/// An address, with a port or without: an IPv6 address stands in brackets if it has one. No zone ids: they mean
/// something on the hop that wrote them only.
fn node(text: &[u8], is_port: fn(&[u8]) -> bool) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
        }
        None => match text.split_once(':') {
            // More than one colon: an IPv6 address without brackets, which has no port.
            Some((_, rest)) if rest.contains(':') => (text.parse().ok()?, ""),
            Some((address, _)) => (IpAddr::V4(address.parse().ok()?), &text[address.len()..]),
            None => (IpAddr::V4(text.parse().ok()?), ""),
        },
    };
    let port = port.strip_prefix(':').map_or(port.is_empty(), |port| is_port(port.as_bytes()));
    port.then(|| address.to_canonical())
}

fn is_port(text: &[u8]) -> bool {
    (1..=5).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

/// RFC 7239 section 6.3: a port may be a made-up one.
fn is_any_port(text: &[u8]) -> bool {
    let made_up = |octet: &u8| octet.is_ascii_alphanumeric() || b"._-".contains(octet);
    is_port(text) || text.strip_prefix(b"_").is_some_and(|rest| !rest.is_empty() && rest.iter().all(made_up))
}

/// Appends an address as text.
pub(super) fn write(out: &mut Vec<u8>, ip: IpAddr) {
    // A vector takes everything.
    let _ = write!(out, "{ip}");
}
