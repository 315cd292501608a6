//! Peers of a listener: networks, and those on Unix sockets.

use ipnet::IpNet;

use crate::config::format::FromText;

/// Peers by their address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerNet {
    /// On a Unix socket.
    Unix,
    /// Of this network.
    Net(IpNet),
}

impl FromText for PeerNet {
    const KIND: &'static str = "an address or CIDR such as \"10.0.0.0/8\", or \"unix\"";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "unix" => Ok(Self::Unix),
            _ => IpNet::from_text(text).map(Self::Net).map_err(|_| format!("must be {}", Self::KIND)),
        }
    }
}
