//! Sets of addresses.

use std::net::IpAddr;

use ipnet::IpNet;

/// Ranges of addresses, sorted, none touching another: a lookup halves them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Nets {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
    /// As written.
    written: Box<[IpNet]>,
}

impl Nets {
    pub(super) fn new(nets: Vec<IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in &nets {
            match net {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self { v4: merged(v4), v6: merged(v6), written: nets.into() }
    }

    /// Whether one of them holds `address`, which is not an IPv4 one in IPv6's clothes.
    #[inline]
    pub(super) fn contain(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => holds(&self.v4, address.to_bits()),
            IpAddr::V6(address) => holds(&self.v6, address.to_bits()),
        }
    }
}

fn merged<N: Ord + Copy>(mut ranges: Vec<(N, N)>) -> Box<[(N, N)]> {
    ranges.sort_unstable();
    let mut out: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (low, high) in ranges {
        match out.last_mut() {
            Some(last) if low <= last.1 => last.1 = last.1.max(high),
            _ => out.push((low, high)),
        }
    }
    out.into()
}

fn holds<N: Ord + Copy>(ranges: &[(N, N)], address: N) -> bool {
    let after = ranges.partition_point(|(low, _)| *low <= address);
    after.checked_sub(1).is_some_and(|at| address <= ranges[at].1)
}

/// A net as rules write it: an address alone is a net of one. An IPv4 one in IPv6's clothes is taken out of them, as
/// clients are.
pub(super) fn net(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    let IpNet::V6(v6) = net else { return Some(net.trunc()) };
    let v4 = v6.addr().to_ipv4_mapped().filter(|_| v6.prefix_len() >= 96);
    let plain = v4.and_then(|v4| IpNet::new(v4.into(), v6.prefix_len() - 96).ok());
    Some(plain.unwrap_or(net).trunc())
}

impl std::fmt::Display for Nets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts: Vec<_> = self.written.iter().map(IpNet::to_string).collect();
        write!(f, "in [{}]", texts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn set_holds_what_one_of_its_nets_holds(
            nets in prop::collection::vec((any::<u32>(), 0u8..=32), 0..12),
            near in prop::collection::vec(any::<(usize, i32)>(), 1..20),
        ) {
            let nets: Vec<IpNet> =
                nets.iter().map(|(bits, len)| IpNet::new(std::net::Ipv4Addr::from(*bits).into(), *len).unwrap()).collect();
            let set = Nets::new(nets.clone());
            for (at, off) in near {
                let base = nets.get(at % nets.len().max(1)).map_or(0, |net| match net.network() {
                    IpAddr::V4(address) => address.to_bits(),
                    IpAddr::V6(_) => 0,
                });
                let address = IpAddr::from(base.wrapping_add_signed(off % 3).to_be_bytes());
                prop_assert_eq!(set.contain(address), nets.iter().any(|net| net.contains(&address)));
            }
        }
    }

    #[test]
    fn mapped_nets_are_plain_ones() {
        assert_eq!(net("::ffff:10.0.0.0/104"), net("10.0.0.0/8"));
        assert_eq!(net("10.1.2.3"), net("10.1.2.3/32"));
        assert!(net("2001:db8::/32").is_some() && net("10.0.0.0/33").is_none() && net("x").is_none());
        let set = Nets::new(vec![net("2001:db8::/32").unwrap()]);
        assert!(set.contain("2001:db8::1".parse().unwrap()) && !set.contain("2001:db9::".parse().unwrap()));
    }
}
