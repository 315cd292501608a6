//! Host names and authorities: validity and the one spelling that every stage compares.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::octets;

/// Octets of an authority.
const AUTHORITY_MAX: usize = 255;
/// Octets of a label (RFC 1035 section 2.3.4).
const LABEL_MAX: usize = 63;

/// A host or authority that is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostError;

/// The host of the message at hand. A connection's requests repeat their host, so it remembers what it read last and does
/// not read the same octets again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host {
    /// What `name` and `port` were read from; empty if they are of no use.
    spelled: Vec<u8>,
    name: String,
    port: Option<u16>,
    present: bool,
}

impl Host {
    /// The message has no host; what was read stays of use.
    pub(crate) fn clear(&mut self) {
        self.present = false;
    }

    pub(crate) fn read(&mut self, authority: &[u8]) -> Result<(), HostError> {
        if self.spelled.is_empty() || self.spelled != authority {
            self.spelled.clear();
            self.port = normalise_host(authority, &mut self.name)?;
            self.spelled.extend_from_slice(authority);
        }
        self.present = true;
        Ok(())
    }

    /// The port is said elsewhere than in what was read.
    pub(crate) fn set_port(&mut self, port: Option<u16>) {
        self.spelled.clear();
        self.port = port;
    }

    pub(crate) fn name(&self) -> &str {
        if self.present { &self.name } else { "" }
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.port.filter(|_| self.present)
    }
}

/// Reads `host[:port]` (name, IPv4, [IPv6]; port 1-65535; at most 255 octets) into `out`, which is cleared first: lower
/// case, no port, no trailing dot, IPv6 in brackets and canonical. Returns the port.
pub fn normalise_host(authority: &[u8], out: &mut String) -> Result<Option<u16>, HostError> {
    out.clear();
    if authority.len() > AUTHORITY_MAX {
        return Err(HostError);
    }
    if let Some(rest) = authority.strip_prefix(b"[") {
        return ipv6(rest, out);
    }
    let (name, port) = match memchr::memchr(b':', authority) {
        Some(colon) => (&authority[..colon], Some(port(&authority[colon + 1..])?)),
        None => (authority, None),
    };
    let name = name.strip_suffix(b".").unwrap_or(name);
    let last = last_label(name)?;
    let name = std::str::from_utf8(name).map_err(|_| HostError)?;
    // A name whose last label is a number is an address (WHATWG URL section 3.5), so it must be a proper one: resolvers
    // read others in surprising ways.
    if last.iter().all(u8::is_ascii_digit) && name.parse::<Ipv4Addr>().is_err() {
        return Err(HostError);
    }
    out.push_str(name);
    out.make_ascii_lowercase();
    Ok(port)
}

/// The last label of a name whose labels are all well-formed.
fn last_label(name: &[u8]) -> Result<&[u8], HostError> {
    let mut start = 0;
    for (at, &octet) in name.iter().enumerate() {
        if octet == b'.' {
            if at == start || at - start > LABEL_MAX {
                return Err(HostError);
            }
            start = at + 1;
        } else if !octets::is_label(octet) {
            return Err(HostError);
        }
    }
    let last = &name[start..];
    if last.is_empty() || last.len() > LABEL_MAX { Err(HostError) } else { Ok(last) }
}

fn ipv6(rest: &[u8], out: &mut String) -> Result<Option<u16>, HostError> {
    let close = memchr::memchr(b']', rest).ok_or(HostError)?;
    let address = std::str::from_utf8(&rest[..close]).map_err(|_| HostError)?;
    let address: Ipv6Addr = address.parse().map_err(|_| HostError)?;
    let port = match &rest[close + 1..] {
        [] => None,
        [b':', digits @ ..] => Some(port(digits)?),
        _ => return Err(HostError),
    };
    write!(out, "[{address}]").map_err(|_| HostError)?;
    Ok(port)
}

/// 1-65535 in decimal, without leading zeros.
fn port(digits: &[u8]) -> Result<u16, HostError> {
    if !(1..=5).contains(&digits.len()) || digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return Err(HostError);
    }
    let value = digits.iter().fold(0u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    u16::try_from(value).map_err(|_| HostError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(authority: &str) -> Result<(String, Option<u16>), HostError> {
        let mut host = String::from("left over");
        normalise_host(authority.as_bytes(), &mut host).map(|port| (host, port))
    }

    #[test]
    fn hosts_have_one_spelling() {
        for (authority, host, port) in [
            ("example.com", "example.com", None),
            ("APP.Example.com.:80", "app.example.com", Some(80)),
            ("a_b-c", "a_b-c", None),
            ("10.0.0.1:65535", "10.0.0.1", Some(65535)),
            ("[::1]", "[::1]", None),
            ("[0:0:0:0:0:0:0:1]:1", "[::1]", Some(1)),
            ("[2001:DB8::A]", "[2001:db8::a]", None),
            ("1.2.3.a", "1.2.3.a", None),
        ] {
            assert_eq!(read(authority), Ok((host.to_string(), port)), "{authority}");
        }
        let labels = vec!["a"; 127].join(".");
        assert_eq!(read(&labels), Ok((labels.clone(), None)));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let long = "a".repeat(64);
        let endless = format!("{}a", "aaa.".repeat(64));
        for authority in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a:",
            "a:0",
            "a:65536",
            "a:080",
            "a:+1",
            "a:1:2",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "a%41",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "01.2.3.4",
            "1",
            "[::1",
            "[::1]x",
            "[]",
            "[::1%eth0]",
            "::1",
            "[1.2.3.4]",
            "a,b",
            "h\u{e4}",
            "*",
            &long,
            &endless,
        ] {
            assert_eq!(read(authority), Err(HostError), "{authority}");
        }
    }
}
