//! The PROXY protocol, versions 1 and 2: what a proxy says of the connection that it forwards, before all else.
//!
//! Octets in, a value out, and back: no I/O. The specification is the one that HAProxy publishes.

mod crc32c;
mod read;
mod write;

use std::net::SocketAddr;

/// Octets of a header, at most. Version 2 could have sixteen times as many; nobody who forwards connections needs them.
pub const HEADER_MAX: usize = 4096;

/// What version 2 begins with: nothing that HTTP or TLS begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Octets of version 2 before its addresses: the signature, version and command, family, length.
const FIXED: usize = 16;
/// What version 1 begins with.
const WORD: &[u8; 6] = b"PROXY ";

/// What a header says of the connection behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Announced {
    /// These are its ends. IPv4 addresses in IPv6's clothes are taken out of them when they are read.
    Ends {
        /// The client's.
        source: SocketAddr,
        /// The one that the client connected to.
        destination: SocketAddr,
    },
    /// Nothing that counts: the proxy speaks for itself (LOCAL), or for a connection that has no such addresses. The
    /// socket's ends are the connection's.
    Nothing,
}

/// What came is no header of either version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Invalid;

/// How weir announces its clients to an upstream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// A line of text.
    V1,
    /// Octets.
    V2,
}

#[cfg(test)]
mod tests;
