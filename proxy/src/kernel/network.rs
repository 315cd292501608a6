//! The machine's interfaces, addresses and gateways, by netlink, and news of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteNextHop};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// News come in bursts: one look for all that come within this time.
const SETTLE: Duration = Duration::from_millis(20);
/// From one look at the routes to the next: a router may have a million, and news of them without end.
const ROUTES_EVERY: Duration = Duration::from_secs(1);
/// A look without news: for what the kernel had no room to tell.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// After a failure.
const RETRY: Duration = Duration::from_secs(5);

/// What the machine has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Network {
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// The gateways of its default routes.
    pub gateways: Vec<IpAddr>,
}

/// One interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The interface that carries it, if it is a VLAN.
    pub carrier: Option<u32>,
    /// Whether it is a loopback interface.
    pub loopback: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The XDP program that runs there now.
    pub program: Option<u32>,
}

impl Network {
    /// All addresses of the machine but those of loopback.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let outward = self.interfaces.iter().filter(|one| !one.loopback);
        outward.flat_map(|one| one.addresses.iter().copied()).filter(|address| !address.is_loopback())
    }

    /// The interface of this number.
    pub fn interface(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|one| one.index == index)
    }

    /// The interface whose packets are those of `index`: what carries a VLAN, or a VLAN on a VLAN.
    pub fn carrier(&self, index: u32) -> Option<&Interface> {
        let mut interface = self.interface(index)?;
        // As deep as the packet parser looks, and no further where interfaces carry each other in a ring.
        for _ in 0..2 {
            match interface.carrier.and_then(|carrier| self.interface(carrier)) {
                Some(carrier) => interface = carrier,
                None => break,
            }
        }
        Some(interface)
    }
}

/// Publishes the network as it is and whenever it changes, for ever.
pub async fn follow(network: watch::Sender<Arc<Network>>) {
    loop {
        if let Err(error) = follow_once(&network).await {
            tracing::warn!("netlink: {error}; interfaces are looked at again in {} s", RETRY.as_secs());
        }
        if network.is_closed() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_once(network: &watch::Sender<Arc<Network>>) -> Result<(), String> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    let opened = rtnetlink::new_multicast_connection(&groups).map_err(|error| error.to_string())?;
    let (connection, handle, news) = opened;
    let _connection = Abort(tokio::spawn(connection));
    let heard = Arc::new(Notify::new());
    let mut listening = Abort(tokio::spawn(listen(news.map(|(news, _)| news.payload), Arc::clone(&heard))));
    let mut routes = Routes::default();
    loop {
        let seen = look(&handle, &mut routes).await.map_err(|error| error.to_string())?;
        network.send_if_modified(|known| {
            let changed = **known != seen;
            *known = Arc::new(seen);
            changed
        });
        tokio::select! {
            () = heard.notified() => {}
            _ = &mut listening.0 => return Err("the socket was closed".to_owned()),
            () = tokio::time::sleep_until(routes.next_look()) => {}
            () = network.closed() => return Ok(()),
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// Takes news as they come, so that none wait however many there are, and remembers that there was one.
async fn listen(news: impl Stream<Item = NetlinkPayload<RouteNetlinkMessage>> + Unpin, heard: Arc<Notify>) {
    let mut telling = news.filter(|one| std::future::ready(tells(one)));
    while telling.next().await.is_some() {
        heard.notify_one();
    }
}

/// Whether it is about what is looked at: of the routes, only the default ones.
fn tells(news: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
    use RouteNetlinkMessage::{DelRoute, NewRoute};
    match news {
        NetlinkPayload::InnerMessage(NewRoute(route) | DelRoute(route)) => is_default(route),
        _ => true,
    }
}

/// The gateways, as they were when they were last looked at.
#[derive(Default)]
struct Routes {
    gateways: Vec<IpAddr>,
    /// None before the first look.
    looked: Option<Instant>,
    /// Something may have changed since.
    is_stale: bool,
}

impl Routes {
    /// Something was heard. Whether it is time to look.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.looked.is_none_or(|looked| now >= looked + ROUTES_EVERY);
        self.is_stale = !due;
        if due {
            self.looked = Some(now);
        }
        due
    }

    /// When to look without news.
    fn next_look(&self) -> Instant {
        let wait = if self.is_stale { ROUTES_EVERY } else { LOOK_AGAIN };
        self.looked.unwrap_or_else(Instant::now) + wait
    }
}

/// A task that ends with whoever started it.
struct Abort(tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn look(handle: &Handle, routes: &mut Routes) -> Result<Network, rtnetlink::Error> {
    let links = all(handle.link().get().execute()).await?;
    let addresses = all(handle.address().get().execute()).await?;
    if routes.is_due(Instant::now()) {
        routes.gateways = all_gateways(handle).await?;
    }
    let interfaces = links.iter().map(interface).collect();
    let mut network = Network { interfaces, gateways: routes.gateways.clone() };
    addresses.iter().for_each(|message| add_address(&mut network, message));
    Ok(network)
}

/// The gateways of the default routes; the other routes are let go as they come.
async fn all_gateways(handle: &Handle) -> Result<Vec<IpAddr>, rtnetlink::Error> {
    let mut found = Vec::new();
    for query in [RouteMessageBuilder::<std::net::Ipv4Addr>::new().build(), v6_query()] {
        let mut routes = std::pin::pin!(handle.route().get(query).execute());
        while let Some(route) = routes.next().await {
            found.extend(gateways(&route?));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0
}

fn v6_query() -> RouteMessage {
    RouteMessageBuilder::<std::net::Ipv6Addr>::new().build()
}

async fn all<T>(answers: impl Stream<Item = Result<T, rtnetlink::Error>>) -> Result<Vec<T>, rtnetlink::Error> {
    let mut answers = std::pin::pin!(answers);
    let mut all = Vec::new();
    while let Some(answer) = answers.next().await {
        all.push(answer?);
    }
    Ok(all)
}

fn interface(message: &LinkMessage) -> Interface {
    let mut interface = Interface {
        index: message.header.index,
        loopback: message.header.flags.contains(LinkFlags::Loopback),
        ..Interface::default()
    };
    let mut vlan = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Link(carrier) => interface.carrier = Some(*carrier),
            LinkAttribute::LinkInfo(infos) => vlan |= infos.contains(&LinkInfo::Kind(InfoKind::Vlan)),
            LinkAttribute::Xdp(about) => interface.program = about.iter().find_map(program),
            _ => {}
        }
    }
    // Other kinds name an interface too: a veth its far end.
    interface.carrier = interface.carrier.filter(|_| vlan);
    interface
}

fn program(about: &LinkXdp) -> Option<u32> {
    match about {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) => Some(*id).filter(|id| *id != 0),
        _ => None,
    }
}

fn add_address(network: &mut Network, message: &AddressMessage) {
    // A point-to-point link's ADDRESS is the far end's; LOCAL, where there is one, is this machine's.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    let interface = network.interfaces.iter_mut().find(|one| one.index == message.header.index);
    if let (Some(interface), Some(address)) = (interface, local.or(address)) {
        interface.addresses.push(address);
    }
}

/// The gateways of a default route; there are several where traffic is spread.
fn gateways(message: &RouteMessage) -> Vec<IpAddr> {
    if !is_default(message) {
        return Vec::new();
    }
    let hops = message.attributes.iter().flat_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => hops.iter().flat_map(|hop: &RouteNextHop| &hop.attributes).collect(),
        other => vec![other],
    });
    let address = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    };
    hops.filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = attributes;
        message
    }

    #[test]
    fn only_a_vlan_is_carried_by_the_interface_it_names() {
        let kind = |kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]);
        let vlan = interface(&link(3, vec![LinkAttribute::Link(2), kind(InfoKind::Vlan)]));
        let veth = interface(&link(4, vec![LinkAttribute::Link(2), kind(InfoKind::Veth)]));
        assert_eq!((vlan.carrier, veth.carrier), (Some(2), None));
    }

    #[test]
    fn packets_of_stacked_vlans_are_met_at_the_bottom() {
        let one = |index, carrier| Interface { index, carrier, ..Interface::default() };
        let network = Network { interfaces: vec![one(1, None), one(2, Some(1)), one(3, Some(2))], gateways: vec![] };
        assert_eq!(network.carrier(3).map(|one| one.index), Some(1));
        assert_eq!(network.carrier(1).map(|one| one.index), Some(1));
        let ring = Network { interfaces: vec![one(1, Some(2)), one(2, Some(1))], gateways: vec![] };
        assert!(ring.carrier(1).is_some());
    }

    #[test]
    fn own_end_of_a_point_to_point_link_is_the_address() {
        let mut network =
            Network { interfaces: vec![Interface { index: 5, ..Interface::default() }], gateways: vec![] };
        let mut message = AddressMessage::default();
        message.header.index = 5;
        let [near, far] = [IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])];
        message.attributes = vec![AddressAttribute::Address(far), AddressAttribute::Local(near)];
        add_address(&mut network, &message);
        assert_eq!(network.addresses().collect::<Vec<_>>(), [near]);
    }

    #[test]
    fn routes_are_looked_at_once_a_second_at_most_and_no_news_are_forgotten() {
        let (mut routes, start) = (Routes::default(), Instant::now());
        assert!(routes.is_due(start));
        assert_eq!(routes.next_look(), start + LOOK_AGAIN);
        let soon = start + ROUTES_EVERY - Duration::from_millis(1);
        assert!(!routes.is_due(soon));
        assert_eq!(routes.next_look(), start + ROUTES_EVERY, "what was heard too early is looked at then");
        assert!(routes.is_due(start + ROUTES_EVERY));
        assert_eq!(routes.next_look(), start + ROUTES_EVERY + LOOK_AGAIN);
    }

    #[test]
    fn of_routes_only_default_ones_are_news() {
        let route = |bits| {
            let mut message = RouteMessage::default();
            message.header.destination_prefix_length = bits;
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(message))
        };
        assert!(tells(&route(0)) && !tells(&route(24)));
        assert!(tells(&NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(LinkMessage::default()))));
    }
}
