//! Packets and octets of each connection, while somebody looks.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};

use aya::Ebpf;
use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType};
use weir_common::abi::wire::{self, Wire};
use weir_tests::netns::{Pair, Ss};
use weir_tests::object::{Group, Hash, hash};
use weir_tests::wait;

use crate::setting::{Setting, cookie, ends};

/// IPv4 and TCP with timestamps.
const HEADERS: u64 = 20 + 32;
/// IPv6 and TCP with timestamps.
const HEADERS6: u64 = 40 + 32;

/// The counting programs at work, until dropped.
struct Tap {
    counters: Hash<u64, Wire>,
    _attached: Ebpf,
}

impl Tap {
    fn new(cgroup: File) -> Self {
        let mut ebpf = Group::Wire.load(&[]).unwrap();
        let ways = [CgroupSkbAttachType::Ingress, CgroupSkbAttachType::Egress];
        for (name, way) in [wire::PROGRAM_IN, wire::PROGRAM_OUT].into_iter().zip(ways) {
            let program: &mut CgroupSkb = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
            program.attach(&cgroup, way, CgroupAttachMode::Single).unwrap();
        }
        Self { counters: hash(&mut ebpf, wire::map::WIRE), _attached: ebpf }
    }
}

/// Reads until so many octets have come.
fn receive(stream: &mut TcpStream, octets: usize) {
    stream.read_exact(&mut vec![0; octets]).unwrap();
}

/// Sends octets from one end to the other.
fn pass(from: &mut TcpStream, to: &mut TcpStream, octets: usize) {
    std::thread::scope(|scope| {
        scope.spawn(|| from.write_all(&vec![b'x'; octets]).unwrap());
        receive(to, octets);
    });
}

/// The kernel's own count of a connection of weir's, once everything sent is acknowledged.
fn settled(setting: &Setting, weir: &TcpStream, acked: u64) -> Ss {
    let (local, remote) = ends(weir);
    wait::value("all is acknowledged", || setting.pair.server.ss(local, remote).filter(|ss| ss.bytes_acked == acked))
}

/// Large and small messages both ways, from before the first counter on: as many segments as the kernel counts, as many
/// octets as they bear with their headers.
fn exact(server: IpAddr, headers: u64) {
    const QUESTION: usize = 700_000;
    const ANSWER: usize = 900_000;
    let setting = Setting::new();
    let (mut weir, mut peer) = setting.accepted(server);
    let before = settled(&setting, &weir, 0);
    let tap = Tap::new(setting.cgroup.file());
    pass(&mut peer, &mut weir, QUESTION);
    pass(&mut weir, &mut peer, ANSWER);
    let after = settled(&setting, &weir, ANSWER as u64);
    let seen = tap.counters.get(cookie(&weir)).expect("a counted connection");
    let packets = (u64::from(after.segs_in - before.segs_in), u64::from(after.segs_out - before.segs_out));
    assert_eq!((seen.packets_in, seen.packets_out), packets);
    assert_eq!(after.retrans, 0, "octets that went twice");
    assert_eq!(seen.bytes_in, QUESTION as u64 + packets.0 * headers);
    assert_eq!(seen.bytes_out, ANSWER as u64 + packets.1 * headers);
}

#[test]
fn packets_and_octets_are_exact() {
    exact(Pair::SERVER, HEADERS);
}

#[test]
fn packets_and_octets_are_exact_over_ipv6() {
    exact(Pair::SERVER6, HEADERS6);
}

#[test]
fn a_handshake_that_weir_accepts_is_not_counted_and_nothing_of_others_is() {
    let setting = Setting::new();
    let tap = Tap::new(setting.cgroup.file());
    let (_weir, _peer) = setting.accepted(Pair::SERVER);
    assert!(tap.counters.is_empty(), "the listener's packets");
    let (mut weir, mut peer) = setting.accepted(Pair::SERVER);
    peer.write_all(b"one").unwrap();
    receive(&mut weir, 3);
    let seen = tap.counters.get(cookie(&weir)).expect("a counted connection");
    assert_eq!((seen.packets_in, seen.bytes_in), (1, 3 + HEADERS));
    assert_eq!(tap.counters.len(), 1);
}

#[test]
fn a_connection_that_weir_makes_is_counted_from_its_syn_on() {
    let setting = Setting::new();
    let tap = Tap::new(setting.cgroup.file());
    let (weir, _peer) = setting.connected(Pair::CLIENT);
    let seen = tap.counters.get(cookie(&weir)).expect("a counted connection");
    // SYN and ACK went out, SYN with ACK came in.
    assert_eq!((seen.packets_out, seen.packets_in), (2, 1));
}

#[test]
fn packets_pass_whatever_is_counted() {
    let setting = Setting::new();
    let (mut weir, mut peer) = setting.accepted(Pair::SERVER);
    let tap = Tap::new(setting.cgroup.file());
    weir.write_all(b"with").unwrap();
    receive(&mut peer, 4);
    drop(tap);
    weir.write_all(b"without").unwrap();
    receive(&mut peer, 7);
}
