//! Databases of a few networks, written here as MaxMind's format has them, and what is read from them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

use super::*;

/// A value of the format's data section.
pub(crate) enum Data {
    Text(&'static str),
    U16(u16),
    U32(u32),
    U64(u64),
    List(Vec<Data>),
    Map(Vec<(&'static str, Data)>),
}

impl Data {
    /// Appends its encoding: a control octet of type and size, then the payload.
    fn write(&self, out: &mut Vec<u8>) {
        let small = |kind: u8, size: usize| kind << 5 | u8::try_from(size).ok().filter(|size| *size < 29).unwrap();
        match self {
            Self::Text(text) => {
                out.push(small(2, text.len()));
                out.extend_from_slice(text.as_bytes());
            }
            Self::U16(number) => out.extend([&[small(5, 2)], &number.to_be_bytes()[..]].concat()),
            Self::U32(number) => out.extend([&[small(6, 4)], &number.to_be_bytes()[..]].concat()),
            // Types from 8 on stand in an octet of their own, 7 less.
            Self::U64(number) => out.extend([&[small(0, 8), 2], &number.to_be_bytes()[..]].concat()),
            Self::List(items) => {
                out.extend([small(0, items.len()), 4]);
                items.iter().for_each(|item| item.write(out));
            }
            Self::Map(entries) => {
                out.push(small(7, entries.len()));
                for (key, value) in entries {
                    Self::Text(key).write(out);
                    value.write(out);
                }
            }
        }
    }
}

/// Where a bit of an address leads.
#[derive(Clone, Copy)]
enum Branch {
    Nowhere,
    Node(usize),
    /// Offset in the data section.
    Data(usize),
}

/// The octets of a database that tells these networks' data; IPv4 lies in `::/96`.
pub(crate) fn database(kind: &'static str, networks: &[(&str, Data)]) -> Vec<u8> {
    let mut nodes = vec![[Branch::Nowhere; 2]];
    let mut data = Vec::new();
    for (network, value) in networks {
        let offset = data.len();
        value.write(&mut data);
        insert(&mut nodes, in_v6(network.parse().unwrap()), offset);
    }
    let count = nodes.len();
    let record = |branch: &Branch| match *branch {
        Branch::Nowhere => count,
        Branch::Node(node) => node,
        Branch::Data(offset) => count + 16 + offset,
    };
    let tree = nodes.iter().flatten().flat_map(|branch| record(branch).to_be_bytes()[5..].to_vec());
    let mut octets: Vec<u8> = tree.chain([0; 16]).chain(data).collect();
    octets.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let metadata = Data::Map(vec![
        ("binary_format_major_version", Data::U16(2)),
        ("binary_format_minor_version", Data::U16(0)),
        ("build_epoch", Data::U64(1_700_000_000)),
        ("database_type", Data::Text(kind)),
        ("description", Data::Map(vec![("en", Data::Text("a few networks"))])),
        ("ip_version", Data::U16(6)),
        ("languages", Data::List(vec![Data::Text("en")])),
        ("node_count", Data::U32(count as u32)),
        ("record_size", Data::U16(24)),
    ]);
    metadata.write(&mut octets);
    octets
}

fn in_v6(network: IpNet) -> Ipv6Net {
    match network {
        IpNet::V6(network) => network,
        IpNet::V4(network) => {
            Ipv6Net::new(u128::from(network.addr().to_bits()).into(), network.prefix_len() + 96).unwrap()
        }
    }
}

fn insert(nodes: &mut Vec<[Branch; 2]>, network: Ipv6Net, offset: usize) {
    let (bits, length) = (network.addr().to_bits(), network.prefix_len());
    let bit = |at: u8| (bits >> (127 - at) & 1) as usize;
    let mut node = 0;
    for at in 0..length - 1 {
        node = match nodes[node][bit(at)] {
            Branch::Node(next) => next,
            _ => {
                nodes.push([Branch::Nowhere; 2]);
                let next = nodes.len() - 1;
                nodes[node][bit(at)] = Branch::Node(next);
                next
            }
        };
    }
    nodes[node][bit(length - 1)] = Branch::Data(offset);
}

fn country(code: &'static str) -> Data {
    Data::Map(vec![("country", Data::Map(vec![("iso_code", Data::Text(code))]))])
}

/// Countries of a few networks, as octets.
pub(crate) fn country_octets() -> Vec<u8> {
    let registered = Data::Map(vec![("registered_country", Data::Map(vec![("iso_code", Data::Text("SE"))]))]);
    let other = Data::Map(vec![("city", Data::Text("x"))]);
    let networks = [
        ("192.0.2.0/24", country("NL")),
        ("2001:db8::/32", country("DE")),
        ("198.51.100.0/25", registered),
        ("198.51.100.128/25", other),
        ("10.0.0.0/8", country("bad")),
    ];
    database("GeoLite2-Country", &networks)
}

pub(crate) fn countries() -> Database {
    Database::from_source(country_octets()).unwrap()
}

pub(crate) fn networks() -> Database {
    let number = Data::Map(vec![("autonomous_system_number", Data::U32(64_500))]);
    Database::from_source(database("GeoLite2-ASN", &[("192.0.2.0/24", number)])).unwrap()
}

#[test]
fn addresses_are_found_in_their_networks() {
    let geoip = GeoIp { countries: Some(countries().into()), networks: Some(networks().into()) };
    for (address, country, asn) in [
        ("192.0.2.0", "NL", 64_500),
        ("192.0.2.255", "NL", 64_500),
        ("192.0.3.0", "ZZ", 0),
        ("2001:db8:1::", "DE", 0),
        ("2001:db9::", "ZZ", 0),
        ("198.51.100.1", "SE", 0),
        ("198.51.100.129", "ZZ", 0),
        ("10.0.0.1", "ZZ", 0),
    ] {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!((geoip.country(address).as_str(), geoip.asn(address)), (country, asn), "{address}");
    }
    let none = GeoIp::default();
    assert_eq!((none.country([192, 0, 2, 1].into()), none.asn([192, 0, 2, 1].into())), (Country::UNKNOWN, 0));
}

#[test]
fn octets_that_are_cut_or_changed_answer_or_are_refused_but_never_panic() {
    let octets = country_octets();
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..4000 {
        let mut octets = octets.clone();
        match round % 2 {
            0 => octets.truncate(random.usize(..octets.len())),
            _ => (0..random.usize(1..8)).for_each(|_| {
                let at = random.usize(..octets.len());
                octets[at] = random.u8(..);
            }),
        }
        if let Ok(database) = Database::from_source(octets) {
            let geoip = GeoIp { countries: Some(database.into()), networks: None };
            for _ in 0..20 {
                geoip.country(IpAddr::from(random.u32(..).to_be_bytes()));
                geoip.country(IpAddr::from(random.u128(..).to_be_bytes()));
            }
            geoip.country([192, 0, 2, 1].into());
        }
    }
}
