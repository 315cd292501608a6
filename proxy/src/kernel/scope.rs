//! Which packets the drop program looks at: those to weir's public listeners, and the interfaces they come in by.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use weir_common::abi::drop::{PORTS_WORDS, SCOPE_MAX};

use super::network::Network;

/// The word that stands for the interfaces with public listeners' addresses.
const AUTO: &str = "auto";

/// What the program compares destinations with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Scope {
    /// Each address and port that some public listener has, and the listener's number.
    pub(super) endpoints: BTreeMap<SocketAddr, u32>,
    /// A bit per port.
    pub(super) ports: Vec<u64>,
    /// Endpoints that there was no room for.
    pub(super) refused: u64,
}

/// An interface to attach to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    /// Its number.
    pub(super) index: u32,
    /// Its name.
    pub(super) name: String,
}

impl Scope {
    /// Where `bound` listens, wildcards spelled out by the addresses that the machine has. Loopback is not public.
    pub(super) fn of(bound: &[SocketAddr], network: &Network) -> Self {
        let mut scope = Self { endpoints: BTreeMap::new(), ports: vec![0; PORTS_WORDS as usize], refused: 0 };
        for (listener, address) in (0..).zip(bound) {
            own(address.ip(), network).for_each(|ip| scope.add(SocketAddr::new(ip, address.port()), listener));
        }
        scope
    }

    fn add(&mut self, endpoint: SocketAddr, listener: u32) {
        if self.endpoints.len() >= SCOPE_MAX as usize && !self.endpoints.contains_key(&endpoint) {
            self.refused += 1;
            return;
        }
        self.endpoints.entry(endpoint).or_insert(listener);
        self.ports[usize::from(endpoint.port() / 64)] |= 1 << (endpoint.port() % 64);
    }
}

/// The interfaces that `wanted` names; `auto` stands for those that have an address which a public listener has.
pub(super) fn places(wanted: &[String], bound: &[SocketAddr], network: &Network) -> Vec<Place> {
    let is_public = |address: &IpAddr| bound.iter().any(|one| own(one.ip(), network).any(|ip| ip == *address));
    let auto = wanted.iter().any(|name| name == AUTO);
    let meets = |name: &String, addresses: &[IpAddr]| wanted.contains(name) || auto && addresses.iter().any(is_public);
    let outward = network.interfaces.iter().filter(|one| !one.loopback && meets(&one.name, &one.addresses));
    let carriers = outward.filter_map(|one| network.carrier(one.index));
    let mut places: Vec<_> = carriers.map(|one| Place { index: one.index, name: one.name.clone() }).collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// The names in `wanted` that no interface has.
pub(super) fn unknown<'a>(wanted: &'a [String], network: &Network) -> Vec<&'a str> {
    let known = |name: &str| name == AUTO || network.interfaces.iter().any(|one| one.name == name);
    wanted.iter().map(String::as_str).filter(|name| !known(name)).collect()
}

/// The machine's addresses that a listener at `ip` has: itself, or all of its version.
fn own(ip: IpAddr, network: &Network) -> Box<dyn Iterator<Item = IpAddr> + '_> {
    let ip = ip.to_canonical();
    match ip.is_unspecified() {
        true => Box::new(network.addresses().filter(move |one| one.is_ipv4() == ip.is_ipv4())),
        false => Box::new(std::iter::once(ip).filter(|ip| !ip.is_loopback())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::network::Interface;
    use super::*;

    fn network() -> Network {
        let one = |index: u32, name: &str, carrier, addresses: &[&str]| Interface {
            index,
            name: name.to_owned(),
            carrier,
            loopback: name == "lo",
            addresses: addresses.iter().map(|address| address.parse().expect("an address")).collect(),
            program: None,
        };
        Network {
            interfaces: vec![
                one(1, "lo", None, &["127.0.0.1", "::1"]),
                one(2, "wan", None, &["192.0.2.1", "2001:db8::1"]),
                one(3, "lan", None, &["10.0.0.1"]),
                one(4, "wan.7", Some(2), &["198.51.100.1"]),
            ],
            gateways: vec![],
        }
    }

    fn bound(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address and port")).collect()
    }

    fn names(wanted: &[&str], listening: &[&str]) -> Vec<String> {
        let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
        places(&wanted, &bound(listening), &network()).into_iter().map(|place| place.name).collect()
    }

    fn endpoints(listening: &[&str]) -> Vec<String> {
        Scope::of(&bound(listening), &network()).endpoints.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn wildcards_stand_for_the_machines_addresses_of_their_version() {
        assert_eq!(endpoints(&["0.0.0.0:80"]), ["10.0.0.1:80", "192.0.2.1:80", "198.51.100.1:80"]);
        assert_eq!(endpoints(&["[::]:80", "10.0.0.1:81"]), ["10.0.0.1:81", "[2001:db8::1]:80"]);
    }

    #[test]
    fn loopback_is_not_public() {
        assert!(endpoints(&["127.0.0.1:80", "[::1]:80"]).is_empty());
        assert!(names(&["auto"], &["127.0.0.1:80"]).is_empty());
    }

    #[test]
    fn ports_have_a_bit_each() {
        let scope = Scope::of(&bound(&["192.0.2.1:65535", "192.0.2.1:64"]), &network());
        assert_eq!((scope.ports[1023], scope.ports[1]), (1 << 63, 1));
        assert_eq!(scope.ports.iter().map(|word| word.count_ones()).sum::<u32>(), 2);
    }

    #[test]
    fn auto_is_where_public_listeners_have_addresses() {
        assert_eq!(names(&["auto"], &["192.0.2.1:80"]), ["wan"]);
        assert_eq!(names(&["auto"], &["0.0.0.0:80"]), ["wan", "lan"]);
        assert_eq!(names(&["auto"], &["198.51.100.1:80"]), ["wan"], "a VLAN's packets come in by its carrier");
        assert_eq!(names(&["lan", "auto"], &["192.0.2.1:80"]), ["wan", "lan"]);
        assert_eq!(names(&["lan"], &["192.0.2.1:80"]), ["lan"]);
        assert!(names(&[], &["192.0.2.1:80"]).is_empty());
        assert!(names(&["lo"], &["0.0.0.0:80"]).is_empty(), "loopback is not covered");
    }

    #[test]
    fn names_that_no_interface_has_are_told() {
        let wanted = ["auto", "lan", "eth7"].map(str::to_owned);
        assert_eq!(unknown(&wanted, &network()), ["eth7"]);
    }

    #[test]
    fn endpoints_beyond_the_maps_room_are_counted() {
        let many: Vec<_> = (1..=4100).map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect();
        let scope = Scope::of(&many, &network());
        assert_eq!((scope.endpoints.len(), scope.refused), (4096, 4));
    }
}
