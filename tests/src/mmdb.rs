//! Small databases of addresses, written as MaxMind's format has them.

use std::net::IpAddr;

/// A value of the format's data section.
pub enum Data {
    /// UTF-8.
    Text(&'static str),
    /// A number of at most two octets.
    U16(u16),
    /// A number of at most four octets.
    U32(u32),
    /// A number of at most eight octets.
    U64(u64),
    /// An array.
    List(Vec<Data>),
    /// Values by their keys.
    Map(Vec<(&'static str, Data)>),
}

impl Data {
    /// Appends its encoding: a control octet of type and size, then the payload.
    fn write(&self, out: &mut Vec<u8>) {
        let small = |kind: u8, size: usize| {
            kind << 5 | u8::try_from(size).ok().filter(|size| *size < 29).expect("a short value")
        };
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
pub fn database(kind: &'static str, networks: &[(&str, Data)]) -> Vec<u8> {
    let mut nodes = vec![[Branch::Nowhere; 2]];
    let mut data = Vec::new();
    for (network, value) in networks {
        let offset = data.len();
        value.write(&mut data);
        insert(&mut nodes, in_v6(network), offset);
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

/// A CIDR's first address as IPv6 bits, and the length of its prefix.
fn in_v6(network: &str) -> (u128, u8) {
    let (address, length) = network.split_once('/').expect("a CIDR");
    let length: u8 = length.parse().expect("a length");
    match address.parse().expect("an address") {
        IpAddr::V4(address) => (u128::from(address.to_bits()), length + 96),
        IpAddr::V6(address) => (address.to_bits(), length),
    }
}

fn insert(nodes: &mut Vec<[Branch; 2]>, (bits, length): (u128, u8), offset: usize) {
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

/// The data of a network in a country.
pub fn country(code: &'static str) -> Data {
    Data::Map(vec![("country", Data::Map(vec![("iso_code", Data::Text(code))]))])
}
