//! Networks as sorted ranges of addresses: one search says which entry holds an address.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Ranges that do not overlap, each of an entry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ranges(Vec<(IpNet, u16)>);

/// Two entries that hold the same peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overlap {
    /// What both hold.
    pub what: String,
    /// One entry, from 0.
    pub first: u16,
    /// The other.
    pub second: u16,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in entry {} too", self.what, self.first + 1)
    }
}

impl Ranges {
    pub(super) fn new(nets: Vec<(IpNet, u16)>) -> Result<Self, Overlap> {
        let mut nets: Vec<_> = nets.into_iter().map(|(net, entry)| (canonical(net), entry)).collect();
        // A network comes right before those that it holds: networks nest, or have nothing in common.
        nets.sort_by_key(|(net, entry)| (net.network(), net.prefix_len(), *entry));
        let mut kept: Vec<(IpNet, u16)> = Vec::with_capacity(nets.len());
        for (net, entry) in nets {
            match kept.last() {
                Some((wide, first)) if wide.contains(&net) => {
                    if *first != entry {
                        let (first, second) = (entry.min(*first), entry.max(*first));
                        return Err(Overlap { what: net.to_string(), first, second });
                    }
                }
                _ => kept.push((net, entry)),
            }
        }
        Ok(Self(kept))
    }

    /// The ranges of one entry, whose networks may overlap.
    pub fn of(nets: impl IntoIterator<Item = IpNet>) -> Self {
        Self::new(nets.into_iter().map(|net| (net, 0)).collect()).unwrap_or_default()
    }

    /// The entry that holds a canonical address.
    pub fn find(&self, ip: IpAddr) -> Option<u16> {
        let after = self.0.partition_point(|(net, _)| net.network() <= ip);
        let (net, entry) = self.0.get(after.checked_sub(1)?)?;
        net.contains(&ip).then_some(*entry)
    }

    /// The networks, in order, none within another.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        self.0.iter().map(|(net, _)| *net)
    }
}

/// An IPv4-mapped network (RFC 4291 section 2.5.5.2) is the IPv4 network.
fn canonical(net: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let net = net.trunc();
    let mapped = match net {
        IpNet::V6(net) if net.prefix_len() >= MAPPED => net.network().to_ipv4_mapped(),
        _ => None,
    };
    let v4 = mapped.and_then(|network| Ipv4Net::new(network, net.prefix_len() - MAPPED).ok());
    v4.map_or(net, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(nets: &[(&str, u16)]) -> Result<Ranges, Overlap> {
        Ranges::new(nets.iter().map(|(net, entry)| (net.parse().expect("a network"), *entry)).collect())
    }

    #[test]
    fn each_address_is_found_in_the_entry_that_holds_it() {
        let nets = [("10.0.0.0/8", 0), ("192.0.2.7/32", 1), ("2001:db8::/32", 1), ("::ffff:203.0.113.0/120", 2)];
        let ranges = ranges(&nets).expect("disjoint");
        for (ip, entry) in [
            ("10.0.0.0", Some(0)),
            ("10.255.255.255", Some(0)),
            ("9.255.255.255", None),
            ("11.0.0.0", None),
            ("192.0.2.7", Some(1)),
            ("192.0.2.8", None),
            ("2001:db8:ffff::", Some(1)),
            ("2001:db9::", None),
            ("203.0.113.9", Some(2)),
            ("::", None),
        ] {
            assert_eq!(ranges.find(ip.parse().expect("an address")), entry, "{ip}");
        }
    }

    #[test]
    fn the_whole_of_one_family_says_nothing_of_the_other() {
        let all = ranges(&[("::/0", 0)]).expect("one");
        assert_eq!(all.find("1.2.3.4".parse().expect("an address")), None);
        assert_eq!(all.find("::1".parse().expect("an address")), Some(0));
    }

    #[test]
    fn entries_that_overlap_are_told_and_networks_of_one_entry_may() {
        let told = ranges(&[("10.1.0.0/16", 1), ("10.0.0.0/8", 0)]).expect_err("overlap");
        assert_eq!((told.first, told.second, told.to_string()), (0, 1, "10.1.0.0/16 is in entry 1 too".to_owned()));
        ranges(&[("192.0.2.1/32", 3), ("192.0.2.1/32", 4)]).expect_err("the same");
        let one = ranges(&[("10.1.0.0/16", 0), ("10.0.0.0/8", 0), ("10.1.2.3/32", 0)]).expect("one entry");
        assert_eq!(one.iter().map(|net| net.to_string()).collect::<Vec<_>>(), ["10.0.0.0/8"]);
    }
}
