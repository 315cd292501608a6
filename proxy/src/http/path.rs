//! The two readings of a path: one for policies, one for routes.

use std::borrow::Cow;

use super::octets;
use super::scan::fault;
use crate::base::{Fault, Reason};

/// A path's readings. All three borrow the received octets when nothing is encoded and no slash is merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paths<'a> {
    /// Decoded once: for policies.
    pub path: Cow<'a, [u8]>,
    /// The same, but `%2F` and `%5C` stay encoded (in upper case) and never separate: for routes and rewrites.
    pub route_path: Cow<'a, [u8]>,
    /// As received, slashes merged where that is asked for: for the origin.
    pub spelled: Cow<'a, [u8]>,
    /// Whether the path holds `%2F` or `%5C`: strict routes refuse it.
    pub encoded_separator: bool,
}

impl<'a> Paths<'a> {
    /// A path that is its own reading.
    pub(crate) fn plain(raw: &'a [u8]) -> Self {
        let all = Cow::Borrowed(raw);
        Self { path: all.clone(), route_path: all.clone(), spelled: all, encoded_separator: false }
    }
}

/// Reads a path as received (no query). Refused with `invalid_request_target`: no leading slash, an octet that no target
/// may hold, a bad triplet, a decoded control octet, a raw backslash, a segment `.` or `..`, encoded or not, also before
/// `;`. A fault's offset counts from the path's start.
pub fn read_path(raw: &[u8], merge_slashes: bool) -> Result<Paths<'_>, Fault> {
    if raw.first() != Some(&b'/') {
        return Err(fault(Reason::InvalidRequestTarget, 0));
    }
    if needs_no_reading(raw) {
        return Ok(Paths::plain(raw));
    }
    let merges = merge_slashes && raw.windows(2).any(|pair| pair == b"//");
    let is_own_reading = !merges && raw.iter().all(|&b| is_spelled_raw(b) && b != b'%');
    let paths = if is_own_reading { Paths::plain(raw) } else { decode(raw, merge_slashes)? };
    refuse_dot_segments(&paths.path)?;
    Ok(paths)
}

/// Whether `path` begins with the whole segments of `prefix`; one that ends in `/` is a plain prefix.
pub fn has_path_prefix(path: &[u8], prefix: &[u8]) -> bool {
    path.starts_with(prefix) && (path.len() == prefix.len() || prefix.ends_with(b"/") || path[prefix.len()] == b'/')
}

/// Whether a path is certainly plain: the usual case, told without a branch per octet.
fn needs_no_reading(raw: &[u8]) -> bool {
    let odd =
        raw.iter().fold(false, |odd, &b| odd | !(0x21..0x7f).contains(&b) | matches!(b, b'%' | b'\\' | b'?' | b'#'));
    let pairs = raw.iter().zip(&raw[1..]);
    !pairs.fold(odd, |odd, (&a, &b)| odd | ((a == b'/') & matches!(b, b'/' | b'.')))
}

/// An octet that may stand in a path as received. A backslash is a separator to some origins, so none is let through.
fn is_spelled_raw(octet: u8) -> bool {
    octet.is_ascii_graphic() && !matches!(octet, b'\\' | b'?' | b'#')
}

fn decode(raw: &[u8], merge_slashes: bool) -> Result<Paths<'_>, Fault> {
    let (mut path, mut route_path) = (Vec::with_capacity(raw.len()), Vec::with_capacity(raw.len()));
    let mut spelled = Vec::with_capacity(raw.len());
    let mut encoded_separator = false;
    let mut at = 0;
    while let Some(&octet) = raw.get(at) {
        if octet == b'%' {
            let decoded = triplet(raw, at).filter(|octet| !octet.is_ascii_control());
            let decoded = decoded.ok_or(fault(Reason::InvalidRequestTarget, at))?;
            push(&mut path, decoded, merge_slashes);
            match decoded {
                b'/' => route_path.extend_from_slice(b"%2F"),
                b'\\' => route_path.extend_from_slice(b"%5C"),
                _ => route_path.push(decoded),
            }
            encoded_separator |= matches!(decoded, b'/' | b'\\');
            spelled.extend_from_slice(&raw[at..at + 3]);
            at += 3;
        } else if is_spelled_raw(octet) {
            push(&mut path, octet, merge_slashes);
            push(&mut route_path, octet, merge_slashes);
            push(&mut spelled, octet, merge_slashes);
            at += 1;
        } else {
            return Err(fault(Reason::InvalidRequestTarget, at));
        }
    }
    let spelled = if spelled == raw { Cow::Borrowed(raw) } else { Cow::Owned(spelled) };
    Ok(Paths { path: Cow::Owned(path), route_path: Cow::Owned(route_path), spelled, encoded_separator })
}

fn push(out: &mut Vec<u8>, octet: u8, merge_slashes: bool) {
    if !(merge_slashes && octet == b'/' && out.last() == Some(&b'/')) {
        out.push(octet);
    }
}

/// Proxies and origins resolve dot segments in different ways, so none passes. Backslashes count as separators here, and
/// parameters behind `;` do not hide a segment.
fn refuse_dot_segments(path: &[u8]) -> Result<(), Fault> {
    let mut segments = path.split(|b| matches!(b, b'/' | b'\\'));
    let name = |segment: &[u8]| segment.iter().position(|&b| b == b';').unwrap_or(segment.len());
    if segments.any(|segment| matches!(&segment[..name(segment)], b"." | b"..")) {
        return Err(fault(Reason::InvalidRequestTarget, 0));
    }
    Ok(())
}

/// Spells a route path for an origin: every octet that a path may not hold becomes a triplet (RFC 3986 section 3.3).
/// Where `encoded_separator`, `%2F` and `%5C` stay as they are.
pub fn encode_path(route_path: &[u8], encoded_separator: bool, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for (at, &octet) in route_path.iter().enumerate() {
        let kept = octet == b'%' && encoded_separator && matches!(route_path.get(at + 1..at + 3), Some(b"2F" | b"5C"));
        if kept || octets::is_path(octet) {
            out.push(octet);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(octet >> 4)], HEX[usize::from(octet & 15)]]);
        }
    }
}

/// The octet that the triplet at `at` stands for (RFC 3986 section 2.1).
pub(crate) fn triplet(text: &[u8], at: usize) -> Option<u8> {
    let &[b'%', high, low] = text.get(at..at + 3)? else { return None };
    Some(nibble(high)? << 4 | nibble(low)?)
}

fn nibble(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str, merge: bool) -> Option<(String, String, String, bool)> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let paths = read_path(raw.as_bytes(), merge).ok()?;
        Some((text(&paths.path), text(&paths.route_path), text(&paths.spelled), paths.encoded_separator))
    }

    #[test]
    fn readings_decode_once_and_keep_encoded_separators_apart() {
        for (raw, path, route_path, spelled, encoded_separator) in [
            ("/", "/", "/", "/", false),
            ("/a/b.c;d=1", "/a/b.c;d=1", "/a/b.c;d=1", "/a/b.c;d=1", false),
            ("/.well-known/x", "/.well-known/x", "/.well-known/x", "/.well-known/x", false),
            ("/...", "/...", "/...", "/...", false),
            ("/%61%20b", "/a b", "/a b", "/%61%20b", false),
            ("/%252e", "/%2e", "/%2e", "/%252e", false),
            ("/%252F", "/%2F", "/%2F", "/%252F", false),
            ("/api%2fx", "/api/x", "/api%2Fx", "/api%2fx", true),
            ("/api%5Cx", "/api\\x", "/api%5Cx", "/api%5Cx", true),
            ("//a///b/", "/a/b/", "/a/b/", "/a/b/", false),
            ("/a/%2Fb", "/a/b", "/a/%2Fb", "/a/%2Fb", true),
            ("/caf%C3%A9", "/caf\u{e9}", "/caf\u{e9}", "/caf%C3%A9", false),
        ] {
            let expected = (path.to_string(), route_path.to_string(), spelled.to_string(), encoded_separator);
            assert_eq!(read(raw, true), Some(expected), "{raw}");
        }
        assert_eq!(read("//a//b", false).map(|r| r.0).as_deref(), Some("//a//b"));
    }

    #[test]
    fn hostile_paths_are_refused() {
        for raw in [
            "",
            "a",
            "*",
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2e/b",
            "/%2E",
            "/a/.%2e",
            "/..;/x",
            "/.;a/x",
            "/%5c..",
            "/..%5Cx",
            "/x%2F..",
            "/..%2f",
            "/..%3Bx",
            "/%00",
            "/%0a",
            "/%7f",
            "/%zz",
            "/%",
            "/%2",
            "/%+1",
            "/a\\b",
            "/\\",
            "/a b",
            "/a?b",
            "/a#b",
            "/\u{e9}",
            "//..",
            "/a//../b",
            "/\x01",
        ] {
            for merge in [false, true] {
                assert_eq!(read(raw, merge), None, "{raw}");
            }
        }
    }

    #[test]
    fn ordinary_paths_are_borrowed() {
        for raw in ["/", "/index.html", "/a/b/.c", "/a~b!$&'()*+,;=:@"] {
            let paths = read_path(raw.as_bytes(), true).unwrap();
            assert!(matches!(
                (paths.path, paths.route_path, paths.spelled),
                (Cow::Borrowed(_), Cow::Borrowed(_), Cow::Borrowed(_))
            ));
        }
    }

    #[test]
    fn spelling_a_reading_keeps_its_meaning() {
        let spell = |raw: &str| {
            let paths = read_path(raw.as_bytes(), true).unwrap();
            let mut out = Vec::new();
            encode_path(&paths.route_path, paths.encoded_separator, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(spell("/a%20b%25%C3%A9/%7Ec"), "/a%20b%25%C3%A9/~c");
        assert_eq!(spell("/a%2fb%5cc"), "/a%2Fb%5Cc");
        assert_eq!(spell("/%252F"), "/%252F");
    }
}
