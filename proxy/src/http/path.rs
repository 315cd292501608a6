//! The two readings of a path: one for policies, one for routes.

use std::borrow::Cow;

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

/// Reads a path as received (no query). Refused with `invalid_request_target`: no leading slash, a bad triplet, a decoded
/// control octet, a raw backslash, a segment `.` or `..`, encoded or not, also before `;`.
pub fn read_path(raw: &[u8], _merge_slashes: bool) -> Result<Paths<'_>, Fault> {
    if raw.first() != Some(&b'/') {
        return Err(Fault::new(Reason::InvalidRequestTarget));
    }
    Ok(Paths::plain(raw))
}

/// Spells a route path for an origin: every octet that a path may not hold becomes a triplet (RFC 3986 section 3.3).
/// Where `encoded_separator`, `%2F` and `%5C` stay as they are.
pub fn encode_path(_route_path: &[u8], _encoded_separator: bool, _out: &mut Vec<u8>) {}

/// The octet that the triplet at `at` stands for (RFC 3986 section 2.1).
pub(crate) fn triplet(text: &[u8], at: usize) -> Option<u8> {
    let &[b'%', high, low] = text.get(at..at + 3)? else { return None };
    Some(nibble(high)? << 4 | nibble(low)?)
}

fn nibble(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}
