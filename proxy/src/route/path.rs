//! Path spellings: from the route path back to the received one, encoding, and the check that a path made here must
//! pass as a received one does.

/// Octets of a Location or a rewritten path.
pub(crate) const PATH_MAX: usize = 8 * 1024;

/// How many octets of `received` spell the first `len` octets of its route path: a triplet counts as the one octet it
/// was decoded to, but an encoded separator, which is not decoded there, as its three.
pub(crate) fn spelling_len(received: &[u8], len: usize) -> usize {
    let (mut at, mut decoded) = (0, 0);
    while decoded < len && at < received.len() {
        let (spelling, counts) = match triplet(&received[at..]) {
            Some(octet) if is_separator(octet) => (3, 3),
            Some(_) => (3, 1),
            None => (1, 1),
        };
        at += spelling;
        decoded += counts;
    }
    at.min(received.len())
}

/// Whether a path spells a separator as a triplet.
pub(crate) fn has_encoded_separator(path: &[u8]) -> bool {
    triplets(path).any(is_separator)
}

/// Whether decoding twice would show a separator (`%252F`).
pub(crate) fn has_twice_encoded_separator(path: &[u8]) -> bool {
    memchr::memmem::find_iter(path, b"%25").any(|at| {
        let digits = path.get(at + 3..at + 5).unwrap_or_default();
        digits.eq_ignore_ascii_case(b"2f") || digits.eq_ignore_ascii_case(b"5c")
    })
}

/// Whether a path may be sent: rooted, in the octets of RFC 3986 section 3.3, whole triplets, no control octet behind
/// one, no dot segment however spelled.
pub(crate) fn is_valid(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
        && path.iter().all(|octet| matches!(octet, 0x21..=0x7e) && !matches!(octet, b'\\' | b'?' | b'#'))
        && memchr::memchr_iter(b'%', path).all(|at| triplet(&path[at..]).is_some_and(|octet| !octet.is_ascii_control()))
        && !has_dot_segment(path)
}

/// Both separators part segments here, encoded or not, and `;` ends a name: an origin may read either so.
fn has_dot_segment(path: &[u8]) -> bool {
    let (mut dots, mut other, mut parameters) = (0, false, false);
    Decoded(path).chain([b'/']).any(|octet| {
        let is_dots = is_separator(octet) && !other && matches!(dots, 1 | 2);
        match octet {
            b'/' | b'\\' => (dots, other, parameters) = (0, false, false),
            b';' => parameters = true,
            _ if parameters => {}
            b'.' => dots += 1,
            _ => other = true,
        }
        is_dots
    })
}

fn is_separator(octet: u8) -> bool {
    matches!(octet, b'/' | b'\\')
}

fn triplets(path: &[u8]) -> impl Iterator<Item = u8> {
    memchr::memchr_iter(b'%', path).filter_map(|at| triplet(&path[at..]))
}

/// A path's octets, triplets decoded once.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let octet = triplet(self.0);
        let spelling = if octet.is_some() { 3 } else { 1 };
        let octet = octet.or(self.0.first().copied())?;
        self.0 = &self.0[spelling..];
        Some(octet)
    }
}

/// Appends the spelling of a route path (RFC 3986 section 3.3): what is no `pchar` or `/` becomes a triplet. With
/// `separators`, the route path's `%2F` and `%5C` are the encoded separators it kept, and stay.
pub(crate) fn encode(route_path: &[u8], separators: bool, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = route_path;
    while let Some((&octet, after)) = rest.split_first() {
        if separators && triplet(rest).is_some_and(is_separator) {
            out.extend_from_slice(&rest[..3]);
            rest = &rest[3..];
            continue;
        }
        if octet.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&octet) {
            out.push(octet);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
        }
        rest = after;
    }
}

/// The octet that a leading triplet stands for (RFC 3986 section 2.1).
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
    fn spelling_of_a_prefix_is_found() {
        assert_eq!(spelling_len(b"/api/x", 4), 4);
        assert_eq!(spelling_len(b"/%61p%69/x", 4), 8);
        assert_eq!(spelling_len(b"/a%2Fb/x", 6), 6);
        assert_eq!(spelling_len(b"/a", 9), 2);
        assert_eq!(spelling_len(b"/a", 0), 0);
    }

    #[test]
    fn hostile_paths_are_refused() {
        let bad = [
            "",
            "x",
            "/a/../b",
            "/a/%2e%2e/b",
            "/..;/x",
            "/.;a=b",
            "/a/.",
            "/a/..",
            "/%2e",
            "/a%2f..%2fb",
            "/%5c..",
            "/%00",
            "/%zz",
            "/%4",
            "/a\\b",
            "/a b",
            "/a?b",
            "/a#b",
            "/%7f",
            "/\u{e9}",
        ];
        for path in bad {
            assert!(!is_valid(path.as_bytes()), "{path} passed");
        }
        for path in ["/", "/%252e", "/a/...", "/a..b/.c", "/a;..", "/;..", "/a%2Fb", "//a", "/a%20b"] {
            assert!(is_valid(path.as_bytes()), "{path} refused");
        }
    }

    #[test]
    fn encoding_keeps_what_was_encoded_and_nothing_is_decoded_twice() {
        let encoded = |path: &[u8], separators| {
            let mut out = Vec::new();
            encode(path, separators, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(encoded("/a b/é?#%".as_bytes(), false), "/a%20b/%C3%A9%3F%23%25");
        assert_eq!(encoded(b"/a%2Fb%2e", true), "/a%2Fb%252e");
        assert_eq!(encoded(b"/a%2Fb", false), "/a%252Fb");
        assert!(has_twice_encoded_separator(b"/a%252fb") && !has_twice_encoded_separator(b"/a%2Fb%25"));
        assert!(has_encoded_separator(b"/a%5cb") && !has_encoded_separator(b"/a%252Fb"));
    }
}
