//! What of a request makes its key: parts, hashed as a whole.

use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::config::value::KeyPart;
use crate::policy::expr::{Facts, FieldName};

/// A key: 128 bits of a keyed hash, one half to find its set, one to tell it from the set's others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    pub(super) set: u64,
    /// Neither 0 nor 1.
    pub(super) tag: u64,
}

/// How a rule makes keys.
#[derive(Clone, Debug)]
pub(in crate::policy) struct KeyPlan {
    parts: Box<[Part]>,
    ipv4_mask: u32,
    ipv6_mask: u128,
    /// Clients that do not know it cannot choose values that collide.
    secret: [u8; 16],
}

#[derive(Clone, Debug)]
struct Part {
    what: KeyPart,
    /// The header that it is, if it is one.
    field: FieldName,
}

/// Stands before a part that is absent, where others have their length.
const ABSENT: u64 = u64::MAX;

impl Key {
    fn of(hasher: &SipHasher24) -> Self {
        let hash = hasher.finish128();
        Self { set: hash.h1, tag: hash.h2.max(2) }
    }
}

impl KeyPlan {
    /// A plan for `parts`; of addresses, the first bits count.
    pub(in crate::policy) fn new(parts: &[KeyPart], ipv4_prefix: u8, ipv6_prefix: u8, secret: [u8; 16]) -> Self {
        let part = |part: &KeyPart| {
            let name = if let KeyPart::Header(name) = part { name } else { "" };
            Part { what: part.clone(), field: FieldName::new(name) }
        };
        let ipv4_mask = u32::MAX.checked_shl(32 - u32::from(ipv4_prefix.min(32))).unwrap_or(0);
        let ipv6_mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix.min(128))).unwrap_or(0);
        Self { parts: parts.iter().map(part).collect(), ipv4_mask, ipv6_mask, secret }
    }

    /// The request's key. All requests that have none of the parts share one.
    pub(in crate::policy) fn key(&self, facts: &Facts<'_>) -> Key {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        self.parts.iter().for_each(|part| self.part(part, facts, &mut hasher));
        Key::of(&hasher)
    }

    /// The key of an address alone. `kind` keeps those of one kind apart from another's.
    pub(in crate::policy) fn address_key(&self, kind: u8, address: IpAddr) -> Key {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write_u8(kind);
        self.address(Some(address), &mut hasher);
        Key::of(&hasher)
    }

    fn part(&self, part: &Part, facts: &Facts<'_>, hasher: &mut SipHasher24) {
        match &part.what {
            KeyPart::ClientIp => self.address(facts.client(), hasher),
            KeyPart::Host => value(facts.host().map(str::as_bytes), hasher),
            KeyPart::Method => value(Some(facts.method()), hasher),
            KeyPart::Path => value(Some(facts.path()), hasher),
            KeyPart::Protocol => value(Some(facts.protocol().as_bytes()), hasher),
            KeyPart::Listener => value(Some(facts.listener().as_bytes()), hasher),
            KeyPart::Country => value(facts.country().as_ref().map(|country| country.as_str().as_bytes()), hasher),
            KeyPart::Header(_) => value(facts.headers(&part.field).next(), hasher),
            KeyPart::Cookie(name) => value(facts.cookie(name.as_bytes()), hasher),
            KeyPart::Query(name) => value(facts.queries(name.as_bytes()).next(), hasher),
        }
    }

    fn address(&self, address: Option<IpAddr>, hasher: &mut SipHasher24) {
        match address.map(|address| address.to_canonical()) {
            None => value(None, hasher),
            Some(IpAddr::V4(v4)) => value(Some(&Ipv4Addr::from(u32::from(v4) & self.ipv4_mask).octets()), hasher),
            Some(IpAddr::V6(v6)) => value(Some(&Ipv6Addr::from(u128::from(v6) & self.ipv6_mask).octets()), hasher),
        }
    }
}

/// Its length before it, so that no two lists of parts run into the same octets.
fn value(octets: Option<&[u8]>, hasher: &mut SipHasher24) {
    hasher.write_u64(octets.map_or(ABSENT, |octets| octets.len() as u64));
    hasher.write(octets.unwrap_or_default());
}
