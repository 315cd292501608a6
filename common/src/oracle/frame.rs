//! Frames, honest and lying.

use std::net::{IpAddr, SocketAddr};
use std::vec;
use std::vec::Vec;

/// A frame to be. The default is a plain SYN from 198.51.100.7 to 192.0.2.1:443.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Types of VLAN tags, the outermost first.
    pub tags: Vec<u16>,
    /// The type of what is behind them, in place of that of the addresses.
    pub kind: Option<u16>,
    /// Source.
    pub src: SocketAddr,
    /// Destination; IPv4 or IPv6 as the source is.
    pub dst: SocketAddr,
    /// TCP's flags.
    pub flags: u8,
    /// IPv4: its first octet, in place of the right one.
    pub first: Option<u8>,
    /// IPv4: words of options, up to 10.
    pub options: u8,
    /// IPv4: flags and offset of a fragment.
    pub fragment: u16,
    /// IPv6: extension headers.
    pub extensions: Vec<Extension>,
    /// What the IP header (the last extension) says that follows.
    pub protocol: u8,
    /// The length in the IP header, in place of the right one.
    pub length: Option<u16>,
    /// Octets behind TCP's header.
    pub payload: usize,
    /// Octets behind the packet, as short frames have.
    pub padding: usize,
}

/// An IPv6 extension header.
#[derive(Clone, Debug)]
pub struct Extension {
    /// Its type.
    pub kind: u8,
    /// Its second octet: the length, in the type's own unit.
    pub length: u8,
    /// Its third and fourth: in a fragment header, offset and flags.
    pub fragment: u16,
}

/// An extension header of 8 octets (AH: 12).
pub const fn extension(kind: u8) -> Extension {
    Extension { kind, length: if kind == 51 { 1 } else { 0 }, fragment: 0 }
}

/// The types of VLAN tags.
pub const VLAN: u16 = 0x8100;
/// The outer one of two.
pub const QINQ: u16 = 0x88a8;
/// TCP's flags of a request for a connection.
pub const SYN: u8 = 0x02;
/// TCP's flag of all later segments.
pub const ACK: u8 = 0x10;

impl Default for Frame {
    fn default() -> Self {
        Self {
            tags: Vec::new(),
            kind: None,
            src: SocketAddr::from(([198, 51, 100, 7], 40_000)),
            dst: SocketAddr::from(([192, 0, 2, 1], 443)),
            flags: SYN,
            first: None,
            options: 0,
            fragment: 0,
            extensions: Vec::new(),
            protocol: 6,
            length: None,
            payload: 0,
            padding: 0,
        }
    }
}

impl Frame {
    /// A plain SYN over IPv6, from 2001:db8::7 to 2001:db8:1::1 port 443.
    pub fn v6() -> Self {
        let address = |third, last, port| SocketAddr::from(([0x2001, 0xdb8, third, 0, 0, 0, 0, last], port));
        Self { src: address(0, 7, 40_000), dst: address(1, 1, 443), ..Self::default() }
    }

    /// The frame.
    pub fn octets(&self) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        let kind = self.kind.unwrap_or(if self.src.is_ipv4() { 0x0800 } else { 0x86dd });
        for (tag, next) in self.tags.iter().zip(1..) {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, next]);
        }
        frame.extend(kind.to_be_bytes());
        frame.extend(if self.src.is_ipv4() { self.v4() } else { self.with_v6() });
        frame.extend(vec![0; self.padding]);
        frame
    }

    fn v4(&self) -> Vec<u8> {
        let tcp = self.tcp();
        let words = 5 + self.options;
        let length = self.length.unwrap_or(u16::from(words) * 4 + tcp.len() as u16);
        let mut packet = vec![self.first.unwrap_or(0x40 | words), 0];
        packet.extend(length.to_be_bytes());
        packet.extend([0, 1]);
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([64, self.protocol, 0, 0]);
        packet.extend(octets(self.src.ip()));
        packet.extend(octets(self.dst.ip()));
        // No operation, again and again.
        packet.extend(vec![1; usize::from(self.options) * 4]);
        packet.extend(tcp);
        packet
    }

    fn with_v6(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        let nexts = self.extensions.iter().skip(1).map(|next| next.kind).chain([self.protocol]);
        for (extension, next) in self.extensions.iter().zip(nexts) {
            payload.extend(extension.octets(next));
        }
        payload.extend(self.tcp());
        let mut packet = vec![self.first.unwrap_or(0x60), 0, 0, 0];
        packet.extend(self.length.unwrap_or(payload.len() as u16).to_be_bytes());
        packet.extend([self.extensions.first().map_or(self.protocol, |first| first.kind), 64]);
        packet.extend(octets(self.src.ip()));
        packet.extend(octets(self.dst.ip()));
        packet.extend(payload);
        packet
    }

    fn tcp(&self) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(self.src.port().to_be_bytes());
        segment.extend(self.dst.port().to_be_bytes());
        segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(vec![0xa5; self.payload]);
        segment
    }
}

impl Extension {
    fn octets(&self, next: u8) -> Vec<u8> {
        let length = usize::from(self.length);
        let length = match self.kind {
            44 => 8,
            51 => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        let mut header = vec![next, self.length];
        header.extend(self.fragment.to_be_bytes());
        header.resize(length, 0);
        header
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Every kind of frame that the parser tells from others, by what it is. The first of an honest kind and all its
/// relatives go to port 443.
pub fn table() -> Vec<(&'static str, Vec<u8>)> {
    let v4 = Frame::default;
    let v6 = Frame::v6;
    let with = |count: usize| Frame {
        extensions: [0, 43, 60, 51, 44, 60, 60][..count].iter().map(|kind| extension(*kind)).collect(),
        ..v6()
    };
    let fragmented = |fragment| Frame { extensions: vec![Extension { kind: 44, length: 0, fragment }], ..v6() };
    let frames = [
        ("v4", v4()),
        ("v6", v6()),
        ("later segment", Frame { flags: ACK, ..v4() }),
        ("VLAN", Frame { tags: vec![VLAN], ..v4() }),
        ("VLAN v6", Frame { tags: vec![VLAN], ..v6() }),
        ("QinQ", Frame { tags: vec![QINQ, VLAN], ..v4() }),
        ("QinQ v6", Frame { tags: vec![QINQ, VLAN], ..v6() }),
        ("3 tags", Frame { tags: vec![QINQ, VLAN, VLAN], ..v4() }),
        ("IHL 15", Frame { options: 10, ..v4() }),
        ("IHL 4", Frame { first: Some(0x44), ..v4() }),
        ("IHL beyond the length", Frame { first: Some(0x4f), ..v4() }),
        ("IHL beyond the frame", Frame { first: Some(0x4f), length: Some(60), ..v4() }),
        ("v6 in an IPv4 header", Frame { first: Some(0x65), ..v4() }),
        ("v4 in an IPv6 header", Frame { first: Some(0x40), ..v6() }),
        ("first fragment", Frame { fragment: 0x2000, ..v4() }),
        ("last fragment", Frame { fragment: 0x0003, ..v4() }),
        ("middle fragment", Frame { fragment: 0x2003, ..v4() }),
        ("later fragment of UDP", Frame { fragment: 0x2003, protocol: 17, ..v4() }),
        ("do not fragment", Frame { fragment: 0x4000, ..v4() }),
        ("first fragment v6", fragmented(1)),
        ("later fragment v6", fragmented(9)),
        ("1 extension", with(1)),
        ("6 extensions", with(6)),
        ("7 extensions", with(7)),
        ("long extension", Frame { extensions: vec![Extension { kind: 0, length: 255, fragment: 0 }], ..v6() }),
        ("extension of UDP", Frame { protocol: 17, ..with(2) }),
        ("UDP", Frame { protocol: 17, ..v4() }),
        ("UDP v6", Frame { protocol: 17, ..v6() }),
        ("ARP", Frame { kind: Some(0x0806), ..v4() }),
        ("length beyond the frame", Frame { length: Some(41), ..v4() }),
        ("length beyond the frame v6", Frame { length: Some(21), ..v6() }),
        ("length of 65535", Frame { length: Some(65535), ..v4() }),
        ("length without TCP", Frame { length: Some(39), ..v4() }),
        ("length without TCP v6", Frame { length: Some(19), ..v6() }),
        ("length 0", Frame { length: Some(0), ..v4() }),
        ("padded", Frame { padding: 6, ..v4() }),
        ("9000 octets", Frame { payload: 8960, ..v4() }),
        ("9000 octets v6", Frame { payload: 8940, ..v6() }),
    ];
    frames.into_iter().map(|(name, frame)| (name, frame.octets())).collect()
}
