//! Two machines and a wire between them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Namespace;

/// The name of the wire's end in both namespaces.
pub const WIRE: &str = "wire0";

/// Two namespaces, joined by a veth pair. Whatever has no other way goes over it, so floods from any source are
/// answered towards the client, where they end.
#[derive(Debug)]
pub struct Pair {
    /// Where clients are.
    pub client: Namespace,
    /// Where weir is.
    pub server: Namespace,
}

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

impl Pair {
    /// The server's address.
    pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
    /// The client's first address; it has eight, one after the other. What the server has no other way for goes by a
    /// ninth, so that no client is the gateway, whom nobody ever drops.
    pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));
    /// The server's IPv6 address.
    pub const SERVER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1));
    /// The client's IPv6 address.
    pub const CLIENT6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2));

    /// A new pair, ready to speak IPv4 and IPv6.
    pub fn new() -> Self {
        let pair = Self { client: Namespace::new(), server: Namespace::new() };
        for namespace in [&pair.client, &pair.server] {
            // A test's addresses are there at once, and nobody else speaks on its wire.
            namespace.sysctl("ipv6/conf/default/accept_dad", "0");
            namespace.sysctl("ipv6/conf/default/accept_ra", "0");
            namespace.sysctl("ipv6/conf/default/router_solicitations", "0");
        }
        let peer = pair.server.path();
        pair.client.ip(&format!("link add {WIRE} type veth peer name {WIRE} netns {peer}"));
        pair.server.ip(&Self::side("10.77.0.1/24", "fd77::1/64", "10.77.0.254", "fd77::fe"));
        pair.client.ip(&Self::side("10.77.0.2/24", "fd77::2/64", "10.77.0.1", "fd77::1"));
        let more = (3..10).chain([254]).map(|last| format!("address add 10.77.0.{last}/24 dev {WIRE}\n"));
        pair.client.ip(&more.collect::<String>());
        pair.client.ip(&format!("address add fd77::fe/64 dev {WIRE} nodad"));
        pair
    }

    /// The client's address at a place from 0 to 7.
    pub fn client_address(at: u8) -> IpAddr {
        assert!(at < 8, "the client has eight addresses");
        IpAddr::from([10, 77, 0, 2 + at])
    }

    fn side(v4: &str, v6: &str, way4: &str, way6: &str) -> String {
        format!(
            "address add {v4} dev {WIRE}\naddress add {v6} dev {WIRE} nodad\nlink set {WIRE} up\n\
             route add default via {way4}\nroute add ::/0 via {way6}\n"
        )
    }

    /// From now on nothing from the server to the client arrives: its frames are addressed to nobody.
    pub fn cut(&self) {
        let nobody = format!("lladdr 02:00:00:00:00:99 dev {WIRE} nud permanent");
        self.server.ip(&format!("neigh replace 10.77.0.2 {nobody}\nneigh replace fd77::2 {nobody}\n"));
    }

    /// A slow and short queue from the server to the client, which drops what it has no room for.
    pub fn narrow(&self, rate: &str, queue_bytes: u32) {
        let limit = queue_bytes.to_string();
        let tbf = ["root", "tbf", "rate", rate, "burst", "3000", "limit", &limit];
        self.server.output(&[&["tc", "qdisc", "replace", "dev", WIRE], &tbf[..]].concat());
    }
}
