//! A query's pairs, as forms write them.

use std::borrow::Cow;

/// Pairs of a query, decoded: separated by `&`, split at the first `=`, `+` is a space (WHATWG URL, section 5.1:
/// application/x-www-form-urlencoded), a bad triplet stands for itself. Empty pieces are no pairs.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: Option<&'a [u8]>,
}

/// The pairs of a query.
pub fn query_pairs(query: &[u8]) -> Pairs<'_> {
    Pairs { rest: Some(query) }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Cow<'a, [u8]>, Cow<'a, [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.rest?;
            let (piece, behind) = match memchr::memchr(b'&', rest) {
                Some(at) => (&rest[..at], Some(&rest[at + 1..])),
                None => (rest, None),
            };
            self.rest = behind;
            if !piece.is_empty() {
                let (name, value) = match memchr::memchr(b'=', piece) {
                    Some(at) => (&piece[..at], &piece[at + 1..]),
                    None => (piece, &[][..]),
                };
                return Some((decode(name), decode(value)));
            }
        }
    }
}

/// Pieces between `&`, empty ones included: an upper bound of the pairs, found without decoding.
pub(crate) fn pieces(query: &[u8]) -> usize {
    memchr::memchr_iter(b'&', query).count() + 1
}

fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&octet) = text.get(at) {
        match (octet, super::path::triplet(text, at)) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(octet),
        }
        at += 1;
    }
    Cow::Owned(out)
}
