//! Client identity: the TCP peer, or whom a trusted peer names in a header. Everything that keys by client uses it.

mod hops;
mod proxies;
mod ranges;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use ipnet::IpNet;
use smallvec::SmallVec;

use self::hops::{Address, Grammar, Invalid};
pub use self::proxies::Proxies;
pub use self::ranges::{Overlap, Ranges};
use crate::base::{Fault, Reason};
use crate::config::value::{ClientDoubt, ClientMode};
use crate::http::{Known, Request};

/// Hops that a header may name.
const HOPS_MAX: usize = 32;
/// Octets of such a header, its lines joined.
const HEADER_MAX: usize = 8 * 1024;

/// Where a client's address was learned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// It is the connection's other end.
    Peer,
    /// A proxy announced it before the first octet of the connection that it brought.
    ProxyProtocol,
    /// A trusted peer named it in a header.
    Header,
}

impl Source {
    /// The word of records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::ProxyProtocol => "proxy_protocol",
            Self::Header => "header",
        }
    }
}

/// Who sent a request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Identity {
    /// This address.
    Known {
        /// Canonical: an IPv4-mapped address is the IPv4 address.
        ip: IpAddr,
        /// Where it was learned.
        source: Source,
    },
    /// Nobody knows: a peer on a Unix socket, or a trusted peer that does not say.
    Unknown,
}

impl Identity {
    /// The peer itself; none for a Unix socket.
    pub fn of_peer(peer: Option<IpAddr>) -> Self {
        peer.map_or(Self::Unknown, |ip| Self::Known { ip: ip.to_canonical(), source: Source::Peer })
    }

    /// Its address.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Known { ip, .. } => Some(ip),
            Self::Unknown => None,
        }
    }

    /// Whether the address is that of the connection's other end, so that its packets are the client's own.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Known { source: Source::Peer, .. })
    }
}

/// How peers of one entry name the client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manner {
    /// The header's name.
    pub header: Box<str>,
    /// How it is read.
    pub mode: ClientMode,
    /// Who the client is if it is not there.
    pub on_missing: ClientDoubt,
    /// Who the client is if it is wrong.
    pub on_invalid: ClientDoubt,
}

/// The peers that say who the client is: immutable, made anew when a list changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trust {
    manners: Vec<Manner>,
    peers: Ranges,
    /// The entry that trusts peers on Unix sockets.
    unix: Option<u16>,
}

impl Trust {
    /// Entries in the document's order: how each is read, its networks, and whether it holds peers on Unix sockets.
    ///
    /// # Errors
    /// Two entries that hold the same peer.
    pub fn new(entries: impl IntoIterator<Item = (Manner, Vec<IpNet>, bool)>) -> Result<Self, Overlap> {
        let (mut manners, mut nets, mut unix) = (Vec::new(), Vec::new(), None);
        for (index, (manner, own, own_unix)) in (0_u16..).zip(entries) {
            manners.push(manner);
            nets.extend(own.into_iter().map(|net| (net, index)));
            if let Some(first) = unix.filter(|_| own_unix) {
                return Err(Overlap { what: "unix".to_owned(), first, second: index });
            }
            unix = unix.or(own_unix.then_some(index));
        }
        Ok(Self { manners, peers: Ranges::new(nets)?, unix })
    }

    /// Whether this peer is trusted to say who the client is; none: a Unix socket.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.entry(peer).is_some()
    }

    /// The trusted networks.
    pub fn networks(&self) -> &Ranges {
        &self.peers
    }

    /// Headers that name clients, beside those that are written anew for every request: what others than trusted
    /// peers send in them must not reach an upstream, which may believe it.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        const ANEW: [Known; 3] = [Known::Forwarded, Known::XForwardedFor, Known::XRealIp];
        let headers = self.manners.iter().map(|manner| &*manner.header);
        headers.filter(|name| !ANEW.contains(&Known::of(name.as_bytes())))
    }

    fn entry(&self, peer: Option<IpAddr>) -> Option<&Manner> {
        // Most have no entry at all: nothing is looked up for them.
        if self.manners.is_empty() {
            return None;
        }
        let index = peer.map_or(self.unix, |ip| self.peers.find(ip.to_canonical()))?;
        self.manners.get(usize::from(index))
    }

    /// Who sent a request that came from `peer`. `chain` receives what a trusted peer's header says from the client
    /// on; it is emptied first.
    ///
    /// # Errors
    /// 400 `client_identity_invalid`.
    pub fn resolve(&self, peer: Option<IpAddr>, request: &Request<'_>, chain: &mut Chain) -> Result<Resolved, Fault> {
        chain.clear();
        let Some(manner) = self.entry(peer) else {
            return Ok(Resolved { identity: Identity::of_peer(peer), trusted: false });
        };
        let doubt = match self.named(manner, request, chain) {
            Ok(Some(ip)) => {
                return Ok(Resolved { identity: Identity::Known { ip, source: Source::Header }, trusted: true });
            }
            Ok(None) => manner.on_missing,
            Err(Invalid) => manner.on_invalid,
        };
        chain.clear();
        let identity = match doubt {
            ClientDoubt::Unknown => Identity::Unknown,
            ClientDoubt::Peer => Identity::of_peer(peer),
            ClientDoubt::Reject => return Err(Fault::new(Reason::ClientIdentityInvalid)),
        };
        if identity == Identity::Unknown {
            chain.unknown();
        }
        Ok(Resolved { identity, trusted: true })
    }

    /// What is known of whoever sent something that is no request.
    pub fn unresolved(&self, peer: Option<IpAddr>) -> Resolved {
        let trusted = self.trusts(peer);
        Resolved { identity: if trusted { Identity::Unknown } else { Identity::of_peer(peer) }, trusted }
    }

    /// The client that the header names; none: it names nobody.
    fn named(&self, manner: &Manner, request: &Request<'_>, chain: &mut Chain) -> Result<Option<IpAddr>, Invalid> {
        let lines = request.fields_named(manner.header.as_bytes());
        let lines: SmallVec<[&[u8]; 8]> = lines.collect();
        let octets = lines.iter().map(|line| line.len() + 2).sum::<usize>().saturating_sub(2);
        if octets > HEADER_MAX {
            return Err(Invalid);
        }
        let grammar = Grammar::of(&manner.header);
        match manner.mode {
            ClientMode::SingleIp => single(&lines, grammar, chain),
            ClientMode::TrustedChain => self.walk(&lines, grammar, chain),
        }
    }

    /// From right to left past any entry's addresses: the first other is the client, else the leftmost. What stands
    /// further left was written by whoever the client is: it is counted, and not read.
    fn walk(&self, lines: &[&[u8]], grammar: Grammar, chain: &mut Chain) -> Result<Option<IpAddr>, Invalid> {
        let mut walked: SmallVec<[Address<'_>; 8]> = SmallVec::new();
        let (mut hops, mut found) = (0, false);
        for element in lines.iter().rev().flat_map(|line| grammar.right_to_left(line)) {
            hops += 1;
            if hops > HOPS_MAX {
                return Err(Invalid);
            }
            if !found {
                let address = grammar.address(element)?;
                found = self.peers.find(address.ip).is_none();
                walked.push(address);
            }
        }
        walked.iter().rev().for_each(|address| chain.push(address, grammar));
        Ok(walked.last().map(|address| address.ip))
    }
}

/// One line, one address.
fn single(lines: &[&[u8]], grammar: Grammar, chain: &mut Chain) -> Result<Option<IpAddr>, Invalid> {
    let line = match lines {
        [] => return Ok(None),
        [line] => line,
        _ => return Err(Invalid),
    };
    let mut elements = grammar.right_to_left(line);
    let Some(element) = elements.next() else { return Ok(None) };
    if elements.next().is_some() {
        return Err(Invalid);
    }
    let address = grammar.address(element)?;
    chain.push(&address, grammar);
    Ok(Some(address.ip))
}

/// Who sent a request, and whether the peer's word on it counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The client.
    pub identity: Identity,
    /// Whether the peer is trusted: its forwarding headers and its request id count.
    pub trusted: bool,
}

impl Resolved {
    /// The same where the peer is one that a proxy announced, if it is.
    pub fn brought(mut self, brought: bool) -> Self {
        if let Identity::Known { source: source @ Source::Peer, .. } = &mut self.identity
            && brought
        {
            *source = Source::ProxyProtocol;
        }
        self
    }
}

/// The hops from the client to a trusted peer, the peer itself left out, as forwarding headers spell them. Reused from
/// request to request.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    addresses: Vec<u8>,
    elements: Vec<u8>,
}

impl Chain {
    /// As X-Forwarded-For has it: addresses, `, ` between them.
    pub fn addresses(&self) -> &[u8] {
        &self.addresses
    }

    /// As Forwarded has it (RFC 7239): the peer's own elements, or `for=` where it spoke by another header.
    pub fn elements(&self) -> &[u8] {
        &self.elements
    }

    fn clear(&mut self) {
        self.addresses.clear();
        self.elements.clear();
    }

    /// RFC 7239 section 6.2.
    fn unknown(&mut self) {
        self.addresses.extend_from_slice(b"unknown");
        self.elements.extend_from_slice(b"for=unknown");
    }

    fn push(&mut self, address: &Address<'_>, grammar: Grammar) {
        for list in [&mut self.addresses, &mut self.elements] {
            if !list.is_empty() {
                list.extend_from_slice(b", ");
            }
        }
        let start = self.addresses.len();
        hops::write(&mut self.addresses, address.ip);
        match (grammar, address.ip) {
            (Grammar::Forwarded, _) => self.elements.extend_from_slice(address.element),
            (Grammar::List, IpAddr::V4(_)) => {
                self.elements.extend_from_slice(b"for=");
                self.elements.extend_from_slice(&self.addresses[start..]);
            }
            (Grammar::List, IpAddr::V6(_)) => {
                self.elements.extend_from_slice(b"for=\"[");
                self.elements.extend_from_slice(&self.addresses[start..]);
                self.elements.extend_from_slice(b"]\"");
            }
        }
    }
}
