//! Writing a header for an upstream.

use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{Announced, SIGNATURE, Version};

impl Version {
    /// Appends what announces a client.
    pub fn announce(self, out: &mut Vec<u8>, client: &Announced) {
        match (self, client) {
            (Self::V1, Announced::Nothing) => out.extend_from_slice(UNKNOWN),
            (Self::V2, Announced::Nothing) => block(out, 0x21, 0x00, &[]),
            (Self::V1, Announced::Ends { source, destination }) => line(out, *source, *destination),
            (Self::V2, Announced::Ends { source, destination }) => addresses(out, *source, *destination),
        }
    }

    /// Appends what says that weir itself connects, for nobody: a probe does. Version 1 knows no such word.
    pub fn announce_own(self, out: &mut Vec<u8>) {
        match self {
            Self::V1 => out.extend_from_slice(UNKNOWN),
            Self::V2 => block(out, 0x20, 0x00, &[]),
        }
    }
}

const UNKNOWN: &[u8] = b"PROXY UNKNOWN\r\n";

fn line(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr) {
    let (from, to) = alike(source.ip(), destination.ip());
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    let _ = write!(out, "PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
}

fn addresses(out: &mut Vec<u8>, source: SocketAddr, destination: SocketAddr) {
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    match alike(source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => block(out, 0x21, 0x11, &[&from.octets(), &to.octets(), &ports]),
        (from, to) => block(out, 0x21, 0x21, &[&mapped(from).octets(), &mapped(to).octets(), &ports]),
    }
}

/// Both of one family, as a header has only one: IPv4, or else both as IPv6.
fn alike(source: IpAddr, destination: IpAddr) -> (IpAddr, IpAddr) {
    match (source.to_canonical(), destination.to_canonical()) {
        (source, destination) if source.is_ipv4() == destination.is_ipv4() => (source, destination),
        (source, destination) => (mapped(source).into(), mapped(destination).into()),
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn block(out: &mut Vec<u8>, command: u8, family: u8, parts: &[&[u8]]) {
    // At most 36 octets: both addresses and ports of IPv6.
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[command, family, 0, length as u8]);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}
