//! Without cgroup2: the tracepoint tells of every connection of the machine, and the cookie says which are weir's.

use std::net::TcpListener;

use aya::Btf;
use aya::programs::BtfTracePoint;
use weir_common::abi::flow::{self, By, Flow, How, Kind, mark, state::*};
use weir_tests::netns::Pair;
use weir_tests::object::Group;
use weir_tests::wait;

use crate::setting::{Watch, cookie, now, steps};

/// The fallback at work.
fn watch() -> Watch {
    let mut ebpf = Group::FlowFallback.load(&[]).unwrap();
    let program: &mut BtfTracePoint = ebpf.program_mut(flow::PROGRAM_FALLBACK).unwrap().try_into().unwrap();
    program.load("inet_sock_set_state", &Btf::from_sys_fs().unwrap()).unwrap();
    program.attach().unwrap();
    Watch::of(ebpf, flow::map::FLOWS_SEEN)
}

#[test]
fn connections_are_recorded_without_a_cgroup() {
    let pair = Pair::new();
    let mut watch = watch();
    let listener = pair.server.run(|| TcpListener::bind((Pair::SERVER, 0))).unwrap();
    let to = listener.local_addr().unwrap();
    let before = now();
    let client = pair.client.run(|| std::net::TcpStream::connect(to)).unwrap();
    let server = listener.accept().unwrap().0;
    let [made, accepted] = [cookie(&client), cookie(&server)];

    let flow = watch.flows.get(accepted).expect("the accepted side's record");
    assert!(before < flow.open_ns && flow.open_ns < now(), "{flow:?}");
    assert_eq!((flow.flags & mark::ACTIVE, flow.flags & mark::FALLBACK), (0, mark::FALLBACK));
    assert_eq!(steps(&flow), [(SYN_RECV, ESTABLISHED)]);
    let open = watch.event(Kind::Open, made).flow.expect("the connecting side's record");
    assert_eq!(open.flags & mark::ACTIVE, mark::ACTIVE);
    assert_eq!(Flow { open_ns: 0, states: 0, flags: 0, ..open }, Flow::default(), "nothing else is known");

    drop(client);
    wait::until("the end arrives", || server.peek(&mut [0; 1]).is_ok_and(|n| n == 0));
    drop(server);
    let closed = watch.closed(accepted);
    assert_eq!(closed.close(false, false), (How::Fin, By::Peer));
    assert_eq!(watch.closed(made).close(true, false), (How::Fin, By::Weir));
    assert!(watch.flows.get(accepted).is_none() && watch.flows.get(made).is_none(), "closed, and so forgotten");
}
