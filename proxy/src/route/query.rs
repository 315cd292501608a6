//! What a lookup is asked about: the few facts of a request that routes may look at.

use std::borrow::Cow;
use std::net::IpAddr;

/// One lookup. Borrowed from the request's head; holds nothing of its own.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// Lower case, no port, no trailing dot; empty if the request names none.
    pub host: &'a str,
    /// The path decoded once, `%2F` and `%5C` left as they are; slashes merged if the listener says so.
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

/// A request's header section.
pub trait Fields {
    /// Whether `holds` is true for any value of the field `name` (given in lower case); with none, it is never called.
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool;
}

/// No field at all.
impl Fields for () {
    fn any(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

/// Names in any case, in order of appearance.
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Fields for [(N, V)] {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let named = |(n, _): &&(N, V)| n.as_ref().eq_ignore_ascii_case(name.as_bytes());
        self.iter().filter(named).any(|(_, value)| holds(value.as_ref()))
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Fields for Vec<(N, V)> {
    fn any(&self, name: &str, holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.as_slice().any(name, holds)
    }
}

/// The query's pairs, still encoded; empty ones are no pairs.
fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let split = |pair: &'_ [u8]| pair.iter().position(|&octet| octet == b'=');
    query.split(|&octet| octet == b'&').filter(|pair| !pair.is_empty()).map(move |pair| match split(pair) {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[][..]),
    })
}

/// Whether `holds` is true for any decoded value of the parameter `name`.
pub(crate) fn any_parameter(query: &[u8], name: &[u8], mut holds: impl FnMut(&[u8]) -> bool) -> bool {
    pairs(query).any(|(n, v)| *decode(n) == *name && holds(&decode(v)))
}

/// Form decoding (WHATWG URL section 5.1): `+` is a space, a malformed triplet stands for itself. Allocates only if
/// something is encoded, and only for routes that ask about the query.
fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|octet| matches!(octet, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&octet, after)) = rest.split_first() {
        let (octet, after) = match (octet, triplet(rest)) {
            (b'+', _) => (b' ', after),
            (_, Some(octet)) => (octet, &rest[3..]),
            _ => (octet, after),
        };
        decoded.push(octet);
        rest = after;
    }
    Cow::Owned(decoded)
}

/// The octet that a leading percent-encoded triplet stands for (RFC 3986 section 2.1).
pub(crate) fn triplet(text: &[u8]) -> Option<u8> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    match *text {
        [b'%', high, low, ..] => Some((digit(high)? << 4 | digit(low)?) as u8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_pairs_are_decoded_once() {
        let has = |query: &str, name: &str, value: &str| {
            any_parameter(query.as_bytes(), name.as_bytes(), |v| v == value.as_bytes())
        };
        assert!(has("a=1&b=2", "b", "2"));
        assert!(has("a=1&a=2", "a", "2"));
        assert!(has("a", "a", ""));
        assert!(has("&&a=b=c&", "a", "b=c"));
        assert!(has("%61=x+y%2Bz", "a", "x y+z"));
        assert!(has("a=%2561", "a", "%61"));
        assert!(has("a=%zz%4", "a", "%zz%4"));
        assert!(!has("", "", "") && !has("b=1", "a", "1"));
    }
}
