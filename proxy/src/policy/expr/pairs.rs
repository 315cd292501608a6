//! Names and values of a query or of cookies, found once, however many rules ask for them.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::http::query_pairs;

/// Ranges of the octets they were found in, or of those that had to be decoded.
#[derive(Default)]
pub(super) struct Pairs {
    list: SmallVec<[(Part, Part); 12]>,
    decoded: SmallVec<[u8; 64]>,
}

#[derive(Clone, Copy)]
struct Part {
    start: u32,
    len: u32,
    decoded: bool,
}

impl Pairs {
    /// Those of a query, decoded.
    pub(super) fn of_query(query: &[u8]) -> Self {
        let mut pairs = Self::default();
        for (name, value) in query_pairs(query) {
            let pair = (pairs.part(query, name), pairs.part(query, value));
            pairs.list.push(pair);
        }
        pairs
    }

    fn part(&mut self, received: &[u8], text: Cow<'_, [u8]>) -> Part {
        let len = text.len() as u32;
        match text {
            // Within `received`, whose octets the head's limit keeps far below 4 GiB.
            Cow::Borrowed(text) => {
                let start = (text.as_ptr() as usize).wrapping_sub(received.as_ptr() as usize);
                Part { start: if text.is_empty() { 0 } else { start as u32 }, len, decoded: false }
            }
            Cow::Owned(text) => {
                let start = self.decoded.len() as u32;
                self.decoded.extend_from_slice(&text);
                Part { start, len, decoded: true }
            }
        }
    }

    /// Those of Cookie lines (RFC 6265 section 5.4), each with its place in the buffer that [`Self::received`] is given.
    pub(super) fn of_cookies<'c>(lines: impl Iterator<Item = (u32, &'c [u8])>) -> Self {
        let mut pairs = Self::default();
        for (start, line) in lines {
            let mut at = 0;
            for piece in line.split(|octet| *octet == b';') {
                let trimmed = piece.trim_ascii();
                let begin = at + (piece.len() - piece.trim_ascii_start().len());
                if let Some(equals) = memchr::memchr(b'=', trimmed) {
                    let part = |from: usize, len: usize| Part {
                        start: start + (begin + from) as u32,
                        len: len as u32,
                        decoded: false,
                    };
                    pairs.list.push((part(0, equals), part(equals + 1, trimmed.len() - equals - 1)));
                }
                at += piece.len() + 1;
            }
        }
        pairs
    }

    /// All of them; `received` is what they were found in.
    pub(super) fn iter<'s>(&'s self, received: &'s [u8]) -> impl Iterator<Item = (&'s [u8], &'s [u8])> {
        let text = move |part: Part| {
            let from = if part.decoded { &*self.decoded } else { received };
            slice(from, part)
        };
        self.list.iter().map(move |(name, value)| (text(*name), text(*value)))
    }

    /// The same, where none was decoded.
    pub(super) fn received<'r>(&self, received: &'r [u8]) -> impl Iterator<Item = (&'r [u8], &'r [u8])> {
        self.list.iter().map(move |(name, value)| (slice(received, *name), slice(received, *value)))
    }
}

fn slice(from: &[u8], part: Part) -> &[u8] {
    let start = part.start as usize;
    from.get(start..start + part.len as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pair: (&[u8], &[u8])) -> String {
        format!("{}={}", pair.0.escape_ascii(), pair.1.escape_ascii())
    }

    #[test]
    fn query_is_decoded_once() {
        let query = b"a=1&b%20c=x+y&d&=e&a=%32";
        let found: Vec<_> = Pairs::of_query(query).iter(query).map(text).collect();
        assert_eq!(found, ["a=1", "b c=x y", "d=", "=e", "a=2"]);
    }

    #[test]
    fn cookies_are_found_where_they_lie() {
        let buffer = b"Cookie: a=1; b=2=3 ;c;d= x\r\nCookie:e=\r\n";
        let lines = [(8u32, &buffer[8..26]), (35, &buffer[35..37])];
        let found: Vec<_> = Pairs::of_cookies(lines.into_iter()).received(buffer).map(text).collect();
        assert_eq!(found, ["a=1", "b=2=3", "d= x", "e="]);
    }
}
