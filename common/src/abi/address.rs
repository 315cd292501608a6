//! Addresses and endpoints as map keys.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::plain::plain;

plain! {
    /// An IP address: 16 octets in network order, IPv4 as `::ffff:a.b.c.d`. Words, so that a program moves four of
    /// them rather than 16 octets.
    #[derive(PartialOrd, Ord, Hash)]
    pub struct Address: 16 {
        words: [u32; 4],
    }
}

plain! {
    /// An address and port that weir listens on: key of SCOPE and GROUPS.
    #[derive(Hash)]
    pub struct Endpoint: 20 {
        /// The address.
        pub address: Address,
        /// The port, in the machine's order.
        pub port: u16,
        /// Always 0.
        pub pad: u16,
    }
}

/// The third word of an IPv4 address: `::ffff`.
const MAPPED: u32 = 0xffff_u32.to_be();

impl Address {
    /// An IPv4 address from its four octets, read as they stand.
    #[inline(always)]
    pub const fn v4(word: u32) -> Self {
        Self { words: [0, 0, MAPPED, word] }
    }

    /// An IPv6 address from its octets, read as they stand.
    #[inline(always)]
    pub const fn v6(words: [u32; 4]) -> Self {
        Self { words }
    }

    /// The words, as they stand.
    #[inline(always)]
    pub const fn words(self) -> [u32; 4] {
        self.words
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.words[0] == 0 && self.words[1] == 0 && self.words[2] == MAPPED
    }

    /// What is left of the address under a mask.
    #[inline(always)]
    pub const fn masked(self, mask: Self) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (self.words, mask.words);
        Self { words: [a & e, b & f, c & g, d & h] }
    }

    /// The mask of a prefix; `bits` counts within all 128, so an IPv4 /24 is 120.
    pub const fn mask(bits: u32) -> Self {
        let mut words = [0; 4];
        let mut word = 0;
        while word < 4 {
            let left = bits.saturating_sub(word as u32 * 32);
            words[word] = if left >= 32 { u32::MAX } else { !(u32::MAX >> left) }.to_be();
            word += 1;
        }
        Self { words }
    }
}

impl Endpoint {
    /// The key of an address and a port.
    #[inline(always)]
    pub const fn new(address: Address, port: u16) -> Self {
        Self { address, port, pad: 0 }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        let octets = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        <Self as super::Plain>::from_octets(octets)
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        IpAddr::V6(Ipv6Addr::from(super::Plain::octets(address))).to_canonical()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip().into(), address.port())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Plain;
    use super::*;

    #[test]
    fn addresses_stand_in_network_order_and_come_back() {
        for text in ["192.0.2.1", "2001:db8::1", "::", "::1"] {
            let ip: IpAddr = text.parse().unwrap();
            let address = Address::from(ip);
            assert_eq!(IpAddr::from(address), ip);
            assert_eq!(address.is_v4(), ip.is_ipv4());
        }
        let v4 = Address::from(IpAddr::from([192, 0, 2, 1])).octets();
        assert_eq!(v4, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]);
        assert_eq!(Address::v4(u32::from_ne_bytes([192, 0, 2, 1])).octets(), v4);
    }

    #[test]
    fn masks_keep_the_first_bits() {
        for bits in 0..=128 {
            let mask = u128::from_be_bytes(Address::mask(bits).octets());
            assert_eq!((mask.leading_ones(), mask.count_ones()), (bits, bits));
        }
        let full = Address::v6([u32::MAX; 4]);
        assert_eq!(full.masked(Address::mask(48)), Address::mask(48));
    }
}
