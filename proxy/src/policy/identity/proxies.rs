//! Peers of a listener that announce whose connection they bring.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Ranges;
use crate::config::value::PeerNet;

/// Proxies by their addresses, and whether peers on Unix sockets are among them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proxies {
    networks: Ranges,
    unix: bool,
}

impl Proxies {
    /// The proxies of such a list.
    pub fn new(peers: &[PeerNet]) -> Self {
        let networks = peers.iter().filter_map(|peer| if let PeerNet::Net(net) = peer { Some(*net) } else { None });
        Self { networks: Ranges::of(networks), unix: peers.contains(&PeerNet::Unix) }
    }

    /// Whether this peer is one of them; none: one on a Unix socket.
    pub fn hold(&self, peer: Option<IpAddr>) -> bool {
        peer.map_or(self.unix, |ip| self.networks.find(ip.to_canonical()).is_some())
    }

    /// Their networks.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        self.networks.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_may_overlap_and_mapped_addresses_are_what_they_are() {
        let net = |text: &str| PeerNet::Net(text.parse().expect("a network"));
        let proxies = Proxies::new(&[net("10.0.0.0/8"), net("10.1.0.0/16"), net("2001:db8::1/128")]);
        let holds = |text: &str| proxies.hold(Some(text.parse().expect("an address")));
        assert!(holds("10.1.2.3") && holds("::ffff:10.9.9.9") && holds("2001:db8::1"));
        assert!(!holds("192.0.2.1") && !holds("2001:db8::2") && !proxies.hold(None));
        assert!(Proxies::new(&[PeerNet::Unix]).hold(None));
        assert_eq!(proxies.networks().count(), 2);
        assert!(!Proxies::default().hold(None));
    }
}
