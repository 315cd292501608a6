//! From a frame to what the verdict needs of it: Ethernet, up to two VLAN tags, IPv4 or IPv6, TCP.
//!
//! Generic over where the octets are: in the kernel each access is what its verifier accepts, in user space a slice.
//! Whatever is odd passes, counted by why: the kernel's stack judges it.

use crate::abi::Address;
use crate::abi::drop::Skip;

/// A frame, from its Ethernet header on.
pub trait Frame {
    /// Some octets of it, in reach.
    type Part: Part;

    /// `N` octets from `offset` on; None if the frame is shorter.
    fn load<const N: usize>(&self, offset: usize) -> Option<Self::Part>;

    /// Whether the frame is at least so long, whatever part of it can be loaded.
    fn holds(&self, length: usize) -> bool;
}

/// Octets that were found to be there. Asking beyond them is a mistake of the parser, not of a peer.
pub trait Part {
    /// One octet.
    fn u8(&self, at: usize) -> u8;

    /// Two, from network order.
    fn u16(&self, at: usize) -> u16;

    /// Four, as they stand.
    fn word(&self, at: usize) -> u32;
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Where it comes from.
    pub src: Address,
    /// Where it goes to.
    pub dst: Address,
    /// The port it comes from.
    pub sport: u16,
    /// The port it goes to.
    pub dport: u16,
    /// TCP's flags, as they stand.
    pub flags: u8,
}

/// RFC 9293, 3.1.
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

impl Tcp {
    /// Whether it asks for a connection.
    #[inline(always)]
    pub const fn opens(&self) -> bool {
        self.flags & (SYN | ACK) == SYN
    }
}

const ETHERNET: usize = 14;
const VLAN: usize = 4;
const VLANS_MAX: usize = 2;
const EXTENSIONS_MAX: usize = 6;
const TCP_MIN: usize = 20;
const V6: usize = 40;

const TYPE_V4: u16 = 0x0800;
const TYPE_V6: u16 = 0x86dd;
const TYPE_VLAN: u16 = 0x8100;
const TYPE_QINQ: u16 = 0x88a8;

const PROTOCOL_TCP: u8 = 6;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Reads a frame.
#[inline(always)]
pub fn parse(frame: &impl Frame) -> Result<Tcp, Skip> {
    let ethernet = frame.load::<ETHERNET>(0).ok_or(Skip::Malformed)?;
    let (mut kind, mut at) = (ethernet.u16(12), ETHERNET);
    for _ in 0..VLANS_MAX {
        if !is_vlan(kind) {
            break;
        }
        let tag = frame.load::<VLAN>(at).ok_or(Skip::Malformed)?;
        (kind, at) = (tag.u16(2), at + VLAN);
    }
    match kind {
        TYPE_V4 => v4(frame, at),
        TYPE_V6 => v6(frame, at),
        kind if is_vlan(kind) => Err(Skip::VlanDepth),
        _ => Err(Skip::NotIp),
    }
}

#[inline(always)]
fn is_vlan(kind: u16) -> bool {
    kind == TYPE_VLAN || kind == TYPE_QINQ
}

/// RFC 791, 3.1.
#[inline(always)]
fn v4(frame: &impl Frame, at: usize) -> Result<Tcp, Skip> {
    let ip = frame.load::<20>(at).ok_or(Skip::Malformed)?;
    let (first, length) = (ip.u8(0), usize::from(ip.u16(2)));
    let header = usize::from(first & 0xf) * 4;
    if first >> 4 != 4 || header < 20 || length < header || !frame.holds(at + length) {
        return Err(Skip::Malformed);
    }
    if ip.u16(6) & 0x1fff != 0 {
        return Err(Skip::Fragment);
    }
    if ip.u8(9) != PROTOCOL_TCP {
        return Err(Skip::NotTcp);
    }
    tcp(frame, at + header, at + length, Address::v4(ip.word(12)), Address::v4(ip.word(16)))
}

/// RFC 8200, 3 and 4.
#[inline(always)]
fn v6(frame: &impl Frame, at: usize) -> Result<Tcp, Skip> {
    let ip = frame.load::<V6>(at).ok_or(Skip::Malformed)?;
    let end = at + V6 + usize::from(ip.u16(4));
    if ip.u8(0) >> 4 != 6 || !frame.holds(end) {
        return Err(Skip::Malformed);
    }
    let at = extensions(frame, ip.u8(6), at + V6)?;
    let address = |at| Address::v6([ip.word(at), ip.word(at + 4), ip.word(at + 8), ip.word(at + 12)]);
    tcp(frame, at, end, address(8), address(24))
}

/// Where TCP starts, behind the extension headers.
#[inline(always)]
fn extensions(frame: &impl Frame, mut next: u8, mut at: usize) -> Result<usize, Skip> {
    for _ in 0..EXTENSIONS_MAX {
        if !is_extension(next) {
            break;
        }
        let header = frame.load::<8>(at).ok_or(Skip::Malformed)?;
        let length = usize::from(header.u8(1));
        at += match next {
            FRAGMENT if header.u16(2) & 0xfff8 != 0 => return Err(Skip::Fragment),
            FRAGMENT => 8,
            AUTHENTICATION => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        next = header.u8(0);
    }
    match next {
        PROTOCOL_TCP => Ok(at),
        next if is_extension(next) => Err(Skip::ExtHeaders),
        _ => Err(Skip::NotTcp),
    }
}

#[inline(always)]
fn is_extension(next: u8) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

/// RFC 9293, 3.1. All of the fixed header has to be in the packet, which ends at `end`.
#[inline(always)]
fn tcp(frame: &impl Frame, at: usize, end: usize, src: Address, dst: Address) -> Result<Tcp, Skip> {
    if at + TCP_MIN > end {
        return Err(Skip::Malformed);
    }
    let tcp = frame.load::<TCP_MIN>(at).ok_or(Skip::Malformed)?;
    Ok(Tcp { src, dst, sport: tcp.u16(0), dport: tcp.u16(2), flags: tcp.u8(13) })
}

/// A frame in a slice.
impl Frame for &[u8] {
    type Part = Self;

    fn load<const N: usize>(&self, offset: usize) -> Option<Self> {
        self.get(offset..)?.get(..N)
    }

    fn holds(&self, length: usize) -> bool {
        self.len() >= length
    }
}

impl Part for &[u8] {
    fn u8(&self, at: usize) -> u8 {
        self[at]
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self[at], self[at + 1]])
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes([self[at], self[at + 1], self[at + 2], self[at + 3]])
    }
}

#[cfg(test)]
mod tests;
