//! Sources that the kernel never drops, bans included, and whether an address overlaps one of them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use weir_common::abi::drop::ALLOW_MAX;

/// The set, as the maps get it and as promotions are judged by it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Allow {
    /// Canonical networks.
    pub networks: BTreeSet<IpNet>,
    /// How many networks the maps have no room for, of IPv4 and of IPv6.
    pub refused: [u64; 2],
    /// First and last address of what the networks cover, IPv4 as mapped, sorted, apart.
    ranges: Vec<(u128, u128)>,
}

impl Allow {
    /// The set of `networks`, the first of which come first to the maps' room. Loopback is always in it.
    pub fn of(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let loopback = ["127.0.0.0/8", "::1/128"].into_iter().filter_map(|net| net.parse().ok());
        let (mut allow, mut room) = (Self::default(), [ALLOW_MAX as usize; 2]);
        for network in loopback.chain(networks).map(canonical) {
            let version = usize::from(matches!(network, IpNet::V6(_)));
            match room[version] {
                _ if allow.networks.contains(&network) => {}
                0 => allow.refused[version] += 1,
                _ => {
                    room[version] -= 1;
                    allow.networks.insert(network);
                }
            }
        }
        allow.ranges = merged(allow.networks.iter().map(range).collect());
        allow
    }

    /// Whether some address of `network` is in the set.
    pub fn overlaps(&self, network: IpNet) -> bool {
        let (first, last) = range(&canonical(network));
        let after = self.ranges.partition_point(|(begin, _)| *begin <= last);
        after > 0 && self.ranges[after - 1].1 >= first
    }
}

/// The network of one address.
pub fn host(ip: IpAddr) -> IpNet {
    ip.to_canonical().into()
}

/// Without host bits; an IPv4 network in IPv6's clothes becomes what it is.
pub fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Some(bits) = v6.prefix_len().checked_sub(96)
        && let Ok(net) = ipnet::Ipv4Net::new(v4, bits)
    {
        return IpNet::V4(net.trunc());
    }
    network.trunc()
}

fn range(network: &IpNet) -> (u128, u128) {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_ipv6_mapped()),
        IpAddr::V6(ip) => u128::from(ip),
    };
    (number(network.network()), number(network.broadcast()))
}

fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u128, u128)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    #[test]
    fn loopback_is_always_allowed() {
        let allow = Allow::of([]);
        assert!(allow.overlaps(net("127.0.0.1/32")) && allow.overlaps(net("::1/128")));
        assert!(!allow.overlaps(net("192.0.2.1/32")));
    }

    #[test]
    fn a_64_overlaps_an_address_within_it() {
        let allow = Allow::of(["2001:db8::7/128", "10.0.0.0/8", "10.1.0.0/16"].map(net));
        assert!(allow.overlaps(net("2001:db8::/64")));
        assert!(!allow.overlaps(net("2001:db8:0:1::/64")));
        assert!(allow.overlaps(net("10.255.0.1/32")), "the outer network counts beyond an inner one");
        assert!(!allow.overlaps(net("11.0.0.0/32")));
    }

    #[test]
    fn mapped_networks_are_ipv4() {
        assert_eq!(canonical(net("::ffff:10.1.2.3/104")), net("10.0.0.0/8"));
        assert_eq!(canonical(net("::ffff:0:0/64")), net("::/64"));
        assert!(Allow::of([net("::ffff:10.0.0.0/104")]).overlaps(net("10.9.9.9/32")));
    }

    #[test]
    fn networks_beyond_the_maps_room_are_counted() {
        let many = (0..9000_u32).map(|n| host(IpAddr::V4((0x0a00_0000 + n).into())));
        let allow = Allow::of(many);
        assert_eq!((allow.networks.len(), allow.refused), (8192 + 1, [9000 - 8191, 0]));
    }

    #[test]
    fn overlap_agrees_with_comparing_each() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut any = || {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 | random.u32(..) & 0xffff);
            canonical(IpNet::new(address.into(), random.u8(16..=32)).expect("a length"))
        };
        let networks: Vec<IpNet> = (0..40).map(|_| any()).collect();
        let allow = Allow::of(networks.iter().copied());
        for _ in 0..2000 {
            let one = any();
            let each = networks.iter().any(|net| net.contains(&one) || one.contains(net));
            assert_eq!(allow.overlaps(one), each, "{one}");
        }
    }
}
