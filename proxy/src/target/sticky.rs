//! Sticky cookies: a signed note of the endpoint that a client was sent to, honoured while that endpoint is usable.
//!
//! Value: base64url of version, key id, endpoint hash, expiry, and HMAC-SHA-256 cut to 128 bits (RFC 2104 section 5) over
//! them, the route and the side of the split: 30 octets, 40 characters. A cookie of another route or side does not verify.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::balance::Ask;
use super::live::RouteLive;
use crate::config::value::SameSite;

const VERSION: u8 = 1;
const HEAD: usize = 14;
const MAC: usize = 16;
const TEXT: usize = 40;
/// Cookies of one name that are looked at: a path's own, its parents', and some that somebody else set.
const COOKIES_MAX: usize = 8;

const _: () = assert!((HEAD + MAC) * 4 == TEXT * 3, "whole base64 quanta, no padding");

/// What became of the cookie in a pick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stick {
    /// The route has none.
    Off,
    /// The request went where it said.
    Honoured,
    /// Its endpoint is busy, or failed this request: another answers, the cookie stays.
    Away,
    /// None, forged, expired, another route's, or its endpoint is not usable: the response sets a new one.
    Set,
}

/// RFC 6265bis section 4.1.2.7.
const fn same_site_attribute(same_site: SameSite) -> &'static str {
    match same_site {
        SameSite::Lax => "; SameSite=Lax",
        SameSite::Strict => "; SameSite=Strict",
        SameSite::None => "; SameSite=None",
    }
}

/// A route's sticky cookie.
pub struct Sticky {
    /// Its name.
    pub cookie: Box<str>,
    /// How long it holds; zero: the browser's session.
    pub ttl: Duration,
    /// Its SameSite attribute.
    pub same_site: SameSite,
    /// Its Path attribute.
    pub path: Box<str>,
    route: u32,
    keys: Vec<Key>,
}

struct Key {
    id: u8,
    mac: Hmac<Sha256>,
}

impl fmt::Debug for Sticky {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sticky {{ cookie: {:?}, keys: [redacted] }}", self.cookie)
    }
}

impl Key {
    fn new(secret: &[u8]) -> Self {
        // The id only saves trying all keys; it says nothing of the secret that the signature does not.
        let id = Sha256::digest([b"weir sticky key id".as_slice(), secret].concat())[0];
        // A key of any length is taken: longer than a block, it is hashed (RFC 2104 section 2).
        let mac = Hmac::new_from_slice(secret).unwrap_or_else(|_| Hmac::new(&Default::default()));
        Self { id, mac }
    }

    fn sign(&self, head: &[u8], route: u32, side: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(head);
        mac.update(&route.to_le_bytes());
        mac.update(side.as_bytes());
        mac
    }
}

impl Sticky {
    /// A route's cookie, signed with the first of `keys`. There has to be one.
    pub fn new(route: u32, cookie: &str, path: &str, ttl: Duration, same_site: SameSite, keys: &[Vec<u8>]) -> Self {
        let keys = keys.iter().map(|secret| Key::new(secret)).collect();
        Self { cookie: cookie.into(), ttl, same_site, path: path.into(), route, keys }
    }

    /// The endpoint that the request's cookie names, if it is of the chosen group and usable.
    pub(super) fn held(&self, live: &RouteLive, ask: &Ask<'_>) -> Option<(usize, usize)> {
        let side = live.groups().side_name(ask.choice.group);
        let values = (0..COOKIES_MAX).map_while(|nth| ask.keys.cookie(&self.cookie, nth));
        let hash = values.filter_map(|value| self.verify(value, side, ask.unix)).next()?;
        let mut endpoints = live.group_endpoints(usize::from(ask.choice.group));
        let (target, at, endpoint) = endpoints.find(|(_, _, endpoint)| endpoint.sticky_hash == hash)?;
        let usable = !ask.choice.mode.heeds_health() || endpoint.is_usable(ask.now);
        usable.then_some((target, at))
    }

    /// The endpoint hash of a value that this route signed for this side and that holds still.
    pub fn verify(&self, value: &[u8], side: &str, unix: u64) -> Option<u64> {
        let mut note = [0; HEAD + MAC];
        if value.len() != TEXT || URL_SAFE_NO_PAD.decode_slice_unchecked(value, &mut note).ok()? != note.len() {
            return None;
        }
        let (head, mac) = note.split_at(HEAD);
        let ([VERSION, id], rest) = (head.first_chunk::<2>()?, &head[2..]) else { return None };
        let mut keys = self.keys.iter().filter(|key| key.id == *id);
        // Compared in constant time.
        keys.any(|key| key.sign(head, self.route, side).verify_truncated_left(mac).is_ok()).then_some(())?;
        let hash = u64::from_le_bytes(*rest.first_chunk()?);
        let expiry = u32::from_le_bytes(*rest.last_chunk()?);
        (expiry == 0 || unix < u64::from(expiry)).then_some(hash)
    }

    /// Appends the value that names an endpoint.
    pub fn value(&self, endpoint: u64, side: &str, unix: u64, out: &mut Vec<u8>) {
        let Some(key) = self.keys.first() else { return };
        let mut note = [0; HEAD + MAC];
        let expiry = if self.ttl.is_zero() { 0 } else { unix.saturating_add(self.ttl.as_secs().max(1)) };
        note[..2].copy_from_slice(&[VERSION, key.id]);
        note[2..10].copy_from_slice(&endpoint.to_le_bytes());
        note[10..HEAD].copy_from_slice(&u32::try_from(expiry).unwrap_or(u32::MAX).to_le_bytes());
        let mac = key.sign(&note[..HEAD], self.route, side).finalize().into_bytes();
        note[HEAD..].copy_from_slice(&mac[..MAC]);
        let mut text = [0; TEXT];
        if let Ok(len) = URL_SAFE_NO_PAD.encode_slice(note, &mut text) {
            out.extend_from_slice(&text[..len]);
        }
    }

    /// Appends the Set-Cookie value (RFC 6265 section 4.1.1) that names an endpoint. `https`: as the client sees it.
    pub fn set_cookie(&self, endpoint: u64, side: &str, unix: u64, https: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(self.cookie.as_bytes());
        out.push(b'=');
        self.value(endpoint, side, unix, out);
        out.extend_from_slice(b"; Path=");
        out.extend_from_slice(self.path.as_bytes());
        if !self.ttl.is_zero() {
            out.extend_from_slice(b"; Max-Age=");
            out.extend_from_slice(itoa::Buffer::new().format(self.ttl.as_secs().max(1)).as_bytes());
        }
        out.extend_from_slice(b"; HttpOnly");
        out.extend_from_slice(same_site_attribute(self.same_site).as_bytes());
        if https {
            out.extend_from_slice(b"; Secure");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn sticky(route: u32, ttl: Duration, keys: &[&str]) -> Sticky {
        let keys: Vec<_> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
        Sticky::new(route, "weir_s", "/", ttl, SameSite::Lax, &keys)
    }

    fn value(sticky: &Sticky, side: &str, unix: u64) -> Vec<u8> {
        let mut out = Vec::new();
        sticky.value(0x0123_4567_89ab_cdef, side, unix, &mut out);
        out
    }

    #[test]
    fn a_value_names_its_endpoint_until_it_expires() {
        let sticky = sticky(1, HOUR, &["k"]);
        let value = value(&sticky, "", 1_000);
        assert_eq!(value.len(), TEXT);
        assert_eq!(sticky.verify(&value, "", 4_599), Some(0x0123_4567_89ab_cdef));
        assert_eq!(sticky.verify(&value, "", 4_600), None);
    }

    #[test]
    fn a_session_value_never_expires() {
        let sticky = sticky(1, Duration::ZERO, &["k"]);
        assert!(sticky.verify(&value(&sticky, "", 0), "", u64::MAX).is_some());
    }

    #[test]
    fn another_route_side_or_key_does_not_verify() {
        let own = sticky(1, HOUR, &["k"]);
        let cookie = value(&own, "a", 0);
        assert!(own.verify(&cookie, "a", 0).is_some());
        assert_eq!(own.verify(&cookie, "b", 0), None);
        assert_eq!(sticky(2, HOUR, &["k"]).verify(&cookie, "a", 0), None);
        assert_eq!(sticky(1, HOUR, &["other"]).verify(&cookie, "a", 0), None);
    }

    #[test]
    fn a_retired_key_still_verifies_and_the_first_signs() {
        let cookie = value(&sticky(1, HOUR, &["old"]), "", 0);
        let rolled = sticky(1, HOUR, &["new", "old"]);
        assert!(rolled.verify(&cookie, "", 0).is_some());
        assert!(sticky(1, HOUR, &["new"]).verify(&value(&rolled, "", 0), "", 0).is_some());
    }

    #[test]
    fn every_changed_bit_and_length_is_refused() {
        let sticky = sticky(1, HOUR, &["k"]);
        let good = value(&sticky, "", 0);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut forged = good.clone();
                forged[at] ^= 1 << bit;
                assert_eq!(sticky.verify(&forged, "", 0), None);
            }
            assert_eq!(sticky.verify(&good[..at], "", 0), None);
        }
    }

    #[test]
    fn set_cookie_carries_the_attributes() {
        let text = |sticky: &Sticky, https| {
            let mut out = Vec::new();
            sticky.set_cookie(7, "", 0, https, &mut out);
            String::from_utf8(out).unwrap()
        };
        let session = text(&sticky(1, Duration::ZERO, &["k"]), false);
        assert!(session.starts_with("weir_s="));
        assert!(session.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{session}");
        let long = text(&sticky(1, HOUR, &["k"]), true);
        assert!(long.ends_with("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"), "{long}");
    }
}
