//! A connection's record and its opening.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::time::Duration;

use aya::maps::HashMap;
use rustix::event::{PollFd, PollFlags, Timespec};
use weir_common::abi::flow::{self, Event, EventFlow, Flow, Kind, mark, state};
use weir_tests::netns::Pair;
use weir_tests::object::PAGE;
use weir_tests::wait;

use crate::setting::{Setting, Watch, cookie, ends, now, steps};

/// Whether a record names the ends of a socket of weir's.
fn names(flow: &Flow, socket: &std::net::TcpStream) -> bool {
    let (local, remote) = ends(socket);
    let ip = |ip: IpAddr| ip.to_canonical();
    IpAddr::from(flow.local) == ip(local.ip())
        && IpAddr::from(flow.remote) == ip(remote.ip())
        && (flow.local_port, flow.remote_port) == (local.port(), remote.port())
}

#[test]
fn an_accepted_connection_has_its_syn_its_opening_and_its_ends_under_the_cookie_of_its_socket() {
    let setting = Setting::new();
    let mut watch = Watch::new(&setting, &[]);
    for server in [Pair::SERVER, Pair::SERVER6] {
        let before = now();
        let (weir, _peer) = setting.accepted(server);
        let after = now();
        let flow = watch.flows.get(cookie(&weir)).expect("a record");
        assert!(names(&flow, &weir), "{flow:?}");
        assert_eq!(steps(&flow), [(state::SYN_RECV, state::ESTABLISHED)]);
        assert!(
            before < flow.syn_ns && flow.syn_ns < flow.open_ns && flow.open_ns < after,
            "{before} {flow:?} {after}"
        );
        assert_eq!((flow.flags & mark::ACTIVE, flow.close_ns), (0, 0));
        let open = watch.event(Kind::Open, cookie(&weir));
        assert_eq!((open.flow.map(|flow| flow.open_ns), open.event.ts), (Some(flow.open_ns), flow.open_ns));
    }
}

#[test]
fn a_connection_that_weir_made_is_recorded_as_such() {
    let setting = Setting::new();
    let mut watch = Watch::new(&setting, &[]);
    for client in [Pair::CLIENT, Pair::CLIENT6] {
        let before = now();
        let (weir, _peer) = setting.connected(client);
        let after = now();
        let flow = watch.event(Kind::Open, cookie(&weir)).flow.expect("a record");
        assert!(names(&flow, &weir), "{flow:?}");
        assert_eq!(steps(&flow), [(state::SYN_SENT, state::ESTABLISHED)]);
        assert_ne!(flow.flags & mark::ACTIVE, 0);
        assert!(
            before < flow.syn_ns && flow.syn_ns < flow.open_ns && flow.open_ns < after,
            "{before} {flow:?} {after}"
        );
    }
}

#[test]
fn ipv4_on_a_socket_of_ipv6_is_ipv4() {
    let setting = Setting::new();
    let watch = Watch::new(&setting, &[]);
    let listener = setting.weir(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))).unwrap();
    let (weir, _peer) = setting.accepted_by(&listener, Pair::SERVER);
    let flow = watch.flows.get(cookie(&weir)).expect("a record");
    assert!(flow.local.is_v4() && flow.remote.is_v4() && names(&flow, &weir), "{flow:?}");
}

#[test]
fn sockets_of_others_are_not_recorded() {
    let setting = Setting::new();
    let mut watch = Watch::new(&setting, &[]);
    let listener = setting.pair.server.run(|| TcpListener::bind((Pair::SERVER, 0))).unwrap();
    let (other, peer) = setting.accepted_by(&listener, Pair::SERVER);
    let (weir, _peer) = setting.accepted(Pair::SERVER);
    assert!(watch.flows.get(cookie(&weir)).is_some());
    assert!(watch.flows.get(cookie(&other)).is_none() && watch.flows.get(cookie(&peer)).is_none());
    assert!(watch.told().iter().all(|told| told.event.cookie == cookie(&weir)), "{:?}", watch.told());
}

#[test]
fn under_syn_cookies_the_syn_is_unknown() {
    let setting = Setting::new();
    setting.pair.server.sysctl("ipv4/tcp_syncookies", "2");
    let watch = Watch::new(&setting, &[]);
    let (weir, _peer) = setting.accepted(Pair::SERVER);
    let flow = watch.flows.get(cookie(&weir)).expect("a record");
    assert!(flow.syn_ns == 0 && flow.open_ns > 0, "{flow:?}");
}

#[test]
fn octets_are_counted_and_each_fin_as_one() {
    let setting = Setting::new();
    let mut watch = Watch::new(&setting, &[]);
    let (mut weir, mut peer) = setting.accepted(Pair::SERVER);
    let cookie = cookie(&weir);
    peer.write_all(b"question").unwrap();
    weir.read_exact(&mut [0; 8]).unwrap();
    weir.write_all(b"answer").unwrap();
    peer.read_exact(&mut [0; 6]).unwrap();
    drop(weir);
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    drop(peer);
    let flow = watch.closed(cookie);
    // Each FIN counts; the SYNs were the listener's.
    assert_eq!((flow.bytes_received, flow.bytes_acked), (8 + 1, 6 + 1), "{flow:?}");
    assert!(flow.open_ns < flow.close_ns && flow.close_ns <= now());
    assert!(watch.flows.is_empty(), "closed, and so forgotten");
}

#[test]
fn what_the_ring_has_no_room_for_is_counted_exactly() {
    const CONNECTIONS: u64 = 60;
    let setting = Setting::new();
    let mut watch = Watch::new(&setting, &[(flow::map::FLOW_EVENTS, PAGE)]);
    let listener = setting.weir(|| TcpListener::bind((Pair::SERVER, 0))).unwrap();
    for _ in 0..CONNECTIONS {
        let (weir, peer) = setting.accepted_by(&listener, Pair::SERVER);
        drop((weir, peer));
    }
    wait::until("all are closed", || watch.flows.is_empty());
    let told = watch.told().len() as u64;
    let most = u64::from(PAGE) / size_of::<EventFlow>() as u64;
    assert!(told > 0 && told <= most, "{told} events in a page");
    assert_eq!(watch.count().lost + told, 2 * CONNECTIONS, "each opened and closed");
    assert_eq!(watch.count().full, 0);
}

#[test]
fn a_connection_that_the_map_has_no_room_for_is_counted_and_not_told() {
    let setting = Setting::new();
    let mut watch = Watch::new(&setting, &[(flow::map::FLOWS, 2)]);
    let listener = setting.weir(|| TcpListener::bind((Pair::SERVER, 0))).unwrap();
    let all: Vec<_> = (0..5).map(|_| setting.accepted_by(&listener, Pair::SERVER)).collect();
    assert_eq!((watch.count().full, watch.flows.len()), (3, 2));
    drop(all);
    wait::until("those that were recorded are closed", || watch.flows.is_empty());
    assert_eq!(watch.told().len(), 4);
}

#[test]
fn the_reader_sleeps_until_the_ring_is_half_full() {
    let setting = Setting::new();
    let mut watch = Watch::new(&setting, &[(flow::map::FLOW_EVENTS, PAGE)]);
    let listener = setting.weir(|| TcpListener::bind((Pair::SERVER, 0))).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    // They stay open until all is judged: closing them would be told too.
    let connections = std::thread::scope(|scope| {
        let events = &watch.events;
        let reader = scope.spawn(move || {
            sender.send(rustix::thread::gettid()).unwrap();
            let mut fds = [PollFd::new(events, PollFlags::IN)];
            let limit = Timespec { tv_sec: wait::SOON.as_secs() as i64, tv_nsec: 0 };
            assert_eq!(rustix::event::poll(&mut fds, Some(&limit)), Ok(1), "never woken");
        });
        let thread = format!("/proc/self/task/{}/stat", receiver.recv().unwrap().as_raw_nonzero());
        let asleep = || std::fs::read_to_string(&thread).is_ok_and(|stat| stat.contains(") S "));
        wait::until("the reader sleeps", asleep);
        let mut connections = Vec::new();
        while !reader.is_finished() && connections.len() < 100 {
            connections.push(setting.accepted_by(&listener, Pair::SERVER));
            // One that is woken needs a moment to end.
            wait::holds_within(Duration::from_millis(20), || reader.is_finished());
        }
        connections
    });
    let woken = connections.len();
    let record = size_of::<EventFlow>() + size_of::<u64>();
    let half = (PAGE as usize / 2).div_ceil(record);
    assert!((half..half + 3).contains(&woken), "woken by event {woken}, half is {half}");
    assert_eq!(watch.told().len(), woken);
}

#[test]
fn the_syn_is_forgotten_once_the_connection_is_open() {
    let setting = Setting::new();
    let watch = Watch::new(&setting, &[]);
    let (_weir, _peer) = setting.accepted(Pair::SERVER);
    let syns = watch.ebpf.map(flow::map::SYN_AT).unwrap();
    let syns: HashMap<_, u64, u64> = syns.try_into().unwrap();
    assert_eq!(syns.keys().count(), 0);
}

#[test]
fn records_of_the_ring_are_as_the_abi_says() {
    assert_eq!(size_of::<Event>() + size_of::<Flow>(), size_of::<EventFlow>());
}
