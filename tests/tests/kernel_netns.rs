//! The harness itself: what tests in networks of their own rely on.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use weir_tests::netns::pair::WIRE;
use weir_tests::netns::{Cgroup, Flood, Namespace, Pair, Sources};
use weir_tests::wait;

fn flood(target: SocketAddrV4, sources: Sources, packets_max: u64) -> Flood {
    Flood { target, sources, packets_max, time_max: Duration::from_secs(20), rate: 0 }
}

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

#[test]
fn a_flood_arrives_whole_whoever_it_claims_to_be_from() {
    let pair = Pair::new();
    let closed = SocketAddrV4::new(SERVER, 9);
    for sources in [Sources::One([10, 77, 0, 2].into()), Sources::Many(1000), Sources::Spoofed] {
        let before = pair.server.snmp("Tcp", "InSegs");
        let flooded = flood(closed, sources, 5000).send(&pair.client, WIRE);
        assert_eq!(flooded.packets, 5000);
        // The first exchange, which finds the neighbour, is a segment too.
        wait::until("all have arrived", || pair.server.snmp("Tcp", "InSegs") - before == 5001);
        assert_eq!(pair.server.snmp("Tcp", "InErrs"), 0, "checksums are right");
    }
}

#[test]
fn a_flood_ends_with_its_time_and_keeps_its_rate() {
    let pair = Pair::new();
    let time_max = Duration::from_millis(500);
    let flood = Flood { time_max, rate: 10_000, ..flood(SocketAddrV4::new(SERVER, 9), Sources::Spoofed, u64::MAX) };
    let flooded = flood.send(&pair.client, WIRE);
    assert!(flooded.time >= time_max && flooded.time < wait::SOON);
    let most = (flooded.time.as_secs_f64() * 10_000.0) as u64 + 64;
    assert!(flooded.packets > 1000 && flooded.packets <= most, "{flooded:?}");
}

#[test]
fn what_is_inside_a_namespace_is_not_outside() {
    let pair = Pair::new();
    let listener = pair.server.run(|| TcpListener::bind((Pair::SERVER, 0))).unwrap();
    let to = listener.local_addr().unwrap();
    assert!(pair.client.run(|| TcpStream::connect(to)).is_ok());
    assert!(Namespace::new().run(|| TcpStream::connect(to)).is_err(), "another network");
}

#[test]
fn a_panic_inside_is_one_outside_and_nothing_stays() {
    let cgroup = Cgroup::threaded();
    let path = cgroup.path().to_owned();
    let panicked = std::panic::catch_unwind(move || {
        let namespace = Namespace::new();
        namespace.run(|| {
            cgroup.enter();
            panic!("inside");
        });
    });
    assert!(panicked.is_err() && !path.exists());
}

#[test]
fn a_cgroup_takes_the_processes_along_that_a_test_forgot() {
    let cgroup = Cgroup::domain();
    let path = cgroup.path().to_owned();
    let [program, arguments @ ..] = cgroup.starter();
    let mut child = std::process::Command::new(program).args(arguments).args(["sleep", "60"]).spawn().unwrap();
    wait::until("it is inside", || {
        std::fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty())
    });
    drop(cgroup);
    assert!(!path.exists() && !child.wait().unwrap().success());
}
