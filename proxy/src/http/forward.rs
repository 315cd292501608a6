//! What an upstream is told about the client: forwarding headers, written anew for every request.

use super::{Known, known};

/// Which forwarding headers an upstream gets: key `forwarded`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Forwarded {
    /// X-Forwarded-For, -Host, -Proto, -Port and X-Real-IP.
    #[default]
    X,
    /// Forwarded (RFC 7239).
    Rfc7239,
    /// Both.
    Both,
    /// None.
    Off,
}

/// The facts that forwarding headers carry.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// Which headers.
    pub mode: Forwarded,
    /// The peer's address as text, without a port; `unix` on a Unix socket. Made once per connection.
    pub peer: &'a str,
    /// The hops before the peer; none: nobody trusts it to say, and it is the client.
    pub before: Option<Before<'a>>,
    /// `http` or `https`.
    pub proto: &'a str,
    /// The listener's port.
    pub port: u16,
}

/// What a trusted peer says of the hops before it, the client first; both are empty if the peer is the client.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// As X-Forwarded-For has them.
    pub addresses: &'a [u8],
    /// As Forwarded has them (RFC 7239).
    pub elements: &'a [u8],
}

/// Names whose values a trusted peer's request keeps where upstreams are told by them.
const KEPT: u64 =
    known::set(&[Known::XForwarded, Known::XForwardedHost, Known::XForwardedProto, Known::XForwardedPort]);

/// Passages through weir after which a request is in a loop.
pub(crate) const HOPS_MAX: usize = 10;
/// The pseudonym in Via (RFC 9110 section 7.6.3).
pub(crate) const PSEUDONYM: &[u8] = b"weir";

/// How many elements of Via are ours.
pub(crate) fn own_hops<'a>(via: impl Iterator<Item = &'a [u8]>) -> usize {
    via.filter(|element| element.split(|&b| b == b' ').nth(1) == Some(PSEUDONYM)).count()
}

impl Forwarding<'_> {
    /// Names whose received values go along.
    pub(crate) fn kept(&self) -> u64 {
        if self.before.is_some() && self.tells_x() { KEPT } else { 0 }
    }

    /// Hands each forwarding header to `line` as a name and the pieces of its value, but for those of the set
    /// `spoken`, which go along as received. `host` is the authority as the client spelled it.
    pub(crate) fn lines(&self, host: &[u8], spoken: u64, mut line: impl FnMut(&[u8], &[&[u8]])) {
        if self.tells_x() {
            self.x_lines(host, spoken, &mut line);
        }
        if matches!(self.mode, Forwarded::Rfc7239 | Forwarded::Both) {
            let before = self.before.map_or(b"".as_slice(), |before| before.elements);
            let (open, node, close) = self.node();
            let (proto, comma) = (self.proto.as_bytes(), comma_after(before));
            if host.is_empty() {
                line(b"Forwarded", &[before, comma, b"for=", open, node, close, b";proto=", proto]);
            } else {
                // A valid host holds neither quote nor backslash.
                let tail: [&[u8]; 4] = [b";host=\"", host, b"\";proto=", proto];
                line(b"Forwarded", &[before, comma, b"for=", open, node, close, tail[0], tail[1], tail[2], tail[3]]);
            }
        }
    }

    fn tells_x(&self) -> bool {
        matches!(self.mode, Forwarded::X | Forwarded::Both)
    }

    fn x_lines(&self, host: &[u8], spoken: u64, line: &mut impl FnMut(&[u8], &[&[u8]])) {
        let before = self.before.map_or(b"".as_slice(), |before| before.addresses);
        let peer = self.peer.as_bytes();
        line(b"X-Forwarded-For", &[before, comma_after(before), peer]);
        if !host.is_empty() && spoken & Known::XForwardedHost.bit() == 0 {
            line(b"X-Forwarded-Host", &[host]);
        }
        if spoken & Known::XForwardedProto.bit() == 0 {
            line(b"X-Forwarded-Proto", &[self.proto.as_bytes()]);
        }
        if spoken & Known::XForwardedPort.bit() == 0 {
            line(b"X-Forwarded-Port", &[itoa::Buffer::new().format(self.port).as_bytes()]);
        }
        let client = before.split(|&octet| octet == b',').next().filter(|first| !first.is_empty());
        line(b"X-Real-IP", &[client.unwrap_or(peer)]);
    }

    /// RFC 7239 section 6: IPv6 in brackets and quoted; what is no address is unknown.
    fn node(&self) -> (&'static [u8], &[u8], &'static [u8]) {
        match self.peer.as_bytes() {
            peer if peer.contains(&b':') => (b"\"[", peer, b"]\""),
            peer if peer.first().is_some_and(u8::is_ascii_digit) => (b"", peer, b""),
            _ => (b"", b"unknown", b""),
        }
    }
}

fn comma_after(before: &[u8]) -> &'static [u8] {
    if before.is_empty() { b"" } else { b", " }
}
