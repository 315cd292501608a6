//! Reading a header, as strictly as its sender is trusted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::checksum;
use super::{Announced, FIXED, HEADER_MAX, Invalid, SIGNATURE, WORD};

/// Octets of version 1's line, its end included.
const LINE_MAX: usize = 107;
/// The record that holds version 2's checksum.
const TYPE_CRC32C: u8 = 0x03;

impl Announced {
    /// Reads the header at the front of `octets`. `Ok(None)`: not whole yet; ask again with the same octets and more
    /// behind them. `Ok(Some(..))`: what it says, and its length. The answer is the same however the octets were split.
    ///
    /// # Errors
    /// No header of either version begins so.
    pub fn read(octets: &[u8]) -> Result<Option<(Self, usize)>, Invalid> {
        match octets.first() {
            None => Ok(None),
            Some(b'P') => line(octets),
            Some(_) => block(octets),
        }
    }
}

/// Whether the octets agree with `start` as far as they go.
fn begins(octets: &[u8], start: &[u8]) -> bool {
    octets.iter().zip(start).all(|(one, other)| one == other)
}

/// Version 1.
fn line(octets: &[u8]) -> Result<Option<(Announced, usize)>, Invalid> {
    if !begins(octets, WORD) {
        return Err(Invalid);
    }
    let view = &octets[..octets.len().min(LINE_MAX)];
    let Some(end) = memchr::memmem::find(view, b"\r\n") else {
        return if view.len() < LINE_MAX { Ok(None) } else { Err(Invalid) };
    };
    let said = view.get(WORD.len()..end).ok_or(Invalid)?;
    Ok(Some((words(said)?, end + 2)))
}

/// What version 1 says after its first word.
fn words(said: &[u8]) -> Result<Announced, Invalid> {
    let mut words = said.split(|&octet| octet == b' ');
    let family = words.next();
    if family == Some(b"UNKNOWN") {
        // Whatever follows is to be ignored.
        return Ok(Announced::Nothing);
    }
    let mut word = || words.next().and_then(|word| std::str::from_utf8(word).ok()).ok_or(Invalid);
    let (source, destination) = (word()?, word()?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(Invalid);
    }
    let address = |text: &str| match family {
        Some(b"TCP4") => text.parse::<Ipv4Addr>().map(IpAddr::from).map_err(|_| Invalid),
        Some(b"TCP6") => text.parse::<Ipv6Addr>().map(IpAddr::from).map_err(|_| Invalid),
        _ => Err(Invalid),
    };
    Ok(ends((address(source)?, source_port), (address(destination)?, destination_port)))
}

/// 0 to 65535 in decimal, without leading zeros.
fn port(digits: &str) -> Result<u16, Invalid> {
    let plain = digits.bytes().all(|octet| octet.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain).ok_or(Invalid)
}

fn ends(source: (IpAddr, u16), destination: (IpAddr, u16)) -> Announced {
    let end = |(ip, port): (IpAddr, u16)| SocketAddr::new(ip.to_canonical(), port);
    Announced::Ends { source: end(source), destination: end(destination) }
}

/// Whose addresses version 2 has.
#[derive(Clone, Copy)]
enum Family {
    Tcp4,
    Tcp6,
    /// Others that a sender may name: as if it had named none. So many octets of addresses.
    Other(usize),
}

impl Family {
    fn of(octet: u8) -> Result<Self, Invalid> {
        match octet {
            0x00 => Ok(Self::Other(0)),
            0x11 => Ok(Self::Tcp4),
            0x21 => Ok(Self::Tcp6),
            0x12 => Ok(Self::Other(12)),
            0x22 => Ok(Self::Other(36)),
            0x31 | 0x32 => Ok(Self::Other(216)),
            _ => Err(Invalid),
        }
    }

    fn octets(self) -> usize {
        match self {
            Self::Tcp4 => 12,
            Self::Tcp6 => 36,
            Self::Other(octets) => octets,
        }
    }

    /// Both addresses, then both ports.
    fn announced(self, addresses: &[u8]) -> Result<Announced, Invalid> {
        let port = |at: usize| Ok(u16::from_be_bytes(part(addresses, at)?));
        match self {
            Self::Tcp4 => {
                let ip = |at| part::<4>(addresses, at).map(IpAddr::from);
                Ok(ends((ip(0)?, port(8)?), (ip(4)?, port(10)?)))
            }
            Self::Tcp6 => {
                let ip = |at| part::<16>(addresses, at).map(IpAddr::from);
                Ok(ends((ip(0)?, port(32)?), (ip(16)?, port(34)?)))
            }
            Self::Other(_) => Ok(Announced::Nothing),
        }
    }
}

/// So many octets from there.
fn part<const N: usize>(octets: &[u8], at: usize) -> Result<[u8; N], Invalid> {
    octets.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(Invalid)
}

/// Version 2.
fn block(octets: &[u8]) -> Result<Option<(Announced, usize)>, Invalid> {
    if !begins(octets, SIGNATURE) {
        return Err(Invalid);
    }
    let Some(&[command, family, high, low]) = octets.get(SIGNATURE.len()..FIXED) else { return Ok(None) };
    let family = match command {
        // LOCAL: everything behind it is to be ignored, the family too.
        0x20 => None,
        0x21 => Some(Family::of(family)?),
        _ => return Err(Invalid),
    };
    let whole = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if whole > HEADER_MAX {
        return Err(Invalid);
    }
    let Some(header) = octets.get(..whole) else { return Ok(None) };
    let Some(family) = family else { return Ok(Some((Announced::Nothing, whole))) };
    let announced = family.announced(&header[FIXED..])?;
    check_records(header, FIXED + family.octets())?;
    Ok(Some((announced, whole)))
}

/// The records behind the addresses: they fill the header to its end, and a checksum among them is right.
fn check_records(header: &[u8], mut at: usize) -> Result<(), Invalid> {
    let mut summed = false;
    let mut rest = header.get(at..).ok_or(Invalid)?;
    while !rest.is_empty() {
        let &[kind, high, low] = rest.first_chunk().ok_or(Invalid)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = rest.get(3..3 + length).ok_or(Invalid)?;
        if kind == TYPE_CRC32C {
            let stated = u32::from_be_bytes(value.try_into().map_err(|_| Invalid)?);
            // It is computed with zeros in its own place.
            let computed = checksum(&[&header[..at + 3], &[0; 4], &header[at + 7..]]);
            if std::mem::replace(&mut summed, true) || stated != computed {
                return Err(Invalid);
            }
        }
        at += 3 + length;
        rest = &rest[3 + length..];
    }
    Ok(())
}
