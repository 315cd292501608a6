//! What of a request makes its key: parts, hashed as a whole.

use std::borrow::Cow;
use std::hash::Hasher;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::config::value::KeyPart;

/// What a request offers to keys. Absent is another thing than empty.
pub trait Parts {
    /// The client's address, if it is known.
    fn client_ip(&self) -> Option<IpAddr>;
    /// The normalised host.
    fn host(&self) -> &[u8];
    /// The method's token.
    fn method(&self) -> &[u8];
    /// The path, decoded.
    fn path(&self) -> &[u8];
    /// `http` or `https`.
    fn protocol(&self) -> &str;
    /// The listener's name.
    fn listener(&self) -> &str;
    /// The client's country.
    fn country(&self) -> Option<&str>;
    /// The first value of a header.
    fn header(&self, name: &str) -> Option<&[u8]>;
    /// The first cookie of a name.
    fn cookie(&self, name: &str) -> Option<&[u8]>;
    /// The first value of a query key, decoded.
    fn query(&self, name: &str) -> Option<Cow<'_, [u8]>>;
}

/// A key: 128 bits of a keyed hash, one half to find its set, one to tell it from the set's others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    pub(super) set: u64,
    /// Neither 0 nor 1.
    pub(super) tag: u64,
}

/// How a rule makes keys.
#[derive(Clone, Debug)]
pub struct KeyPlan {
    parts: Box<[KeyPart]>,
    ipv4_mask: u32,
    ipv6_mask: u128,
    /// Clients that do not know it cannot choose values that collide.
    secret: [u8; 16],
}

/// Stands before a part that is absent, where others have their length.
const ABSENT: u64 = u64::MAX;

impl KeyPlan {
    /// A plan for `parts`; of addresses, the first bits count.
    pub fn new(parts: &[KeyPart], ipv4_prefix: u8, ipv6_prefix: u8, secret: [u8; 16]) -> Self {
        let ipv4_mask = u32::MAX.checked_shl(32 - u32::from(ipv4_prefix.min(32))).unwrap_or(0);
        let ipv6_mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix.min(128))).unwrap_or(0);
        Self { parts: parts.into(), ipv4_mask, ipv6_mask, secret }
    }

    /// The request's key. Requests without any of the parts share one.
    pub fn key(&self, request: &impl Parts) -> Key {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        self.parts.iter().for_each(|part| self.part(part, request, &mut hasher));
        let hash = hasher.finish128();
        Key { set: hash.h1, tag: hash.h2.max(2) }
    }

    fn part(&self, part: &KeyPart, request: &impl Parts, hasher: &mut SipHasher24) {
        match part {
            KeyPart::ClientIp => self.address(request.client_ip(), hasher),
            KeyPart::Host => value(Some(request.host()), hasher),
            KeyPart::Method => value(Some(request.method()), hasher),
            KeyPart::Path => value(Some(request.path()), hasher),
            KeyPart::Protocol => value(Some(request.protocol().as_bytes()), hasher),
            KeyPart::Listener => value(Some(request.listener().as_bytes()), hasher),
            KeyPart::Country => value(request.country().map(str::as_bytes), hasher),
            KeyPart::Header(name) => value(request.header(name), hasher),
            KeyPart::Cookie(name) => value(request.cookie(name), hasher),
            KeyPart::Query(name) => value(request.query(name).as_deref(), hasher),
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
