//! New connections go to the listener of the CPU that they come in by.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, PerCpuArray, ReusePortSockArray};
use aya::programs::SkReuseport;
use rustix::thread::CpuSet;
use socket2::{Domain, Socket, Type};
use weir_common::abi::steer::{self, SLOT_EMPTY, slot};
use weir_common::abi::{Endpoint, Plain};
use weir_tests::netns::Pair;
use weir_tests::object::{Group, take};
use weir_tests::wait;

/// Where this group's sockets begin, so that 0 would be wrong.
const BASE: u32 = 7;

/// Two workers' listeners on one port, and the program between them.
struct Steered {
    pair: Pair,
    listeners: [TcpListener; 2],
    slots: Array<MapData, u32>,
    places: ReusePortSockArray<MapData>,
    count: PerCpuArray<MapData, u64>,
    _ebpf: Ebpf,
}

fn listener(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(1024).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

impl Steered {
    fn new(bind: IpAddr) -> Self {
        let pair = Pair::new();
        let first = pair.server.run(|| listener((bind, 0).into()));
        let at = first.local_addr().unwrap();
        let listeners = [first, pair.server.run(|| listener(at))];
        let mut ebpf = Group::Steer.load(&[]).unwrap();
        let mut groups: HashMap<_, <Endpoint as Plain>::Octets, u32> =
            take(&mut ebpf, steer::map::GROUPS).try_into().unwrap();
        groups.insert(Endpoint::from(at).octets(), BASE, 0).unwrap();
        let program: &mut SkReuseport = ebpf.program_mut(steer::PROGRAM).unwrap().try_into().unwrap();
        program.load().unwrap();
        program.attach(&listeners[0]).unwrap();
        let slots = take(&mut ebpf, steer::map::SLOTS).try_into().unwrap();
        let places = take(&mut ebpf, steer::map::LISTENERS).try_into().unwrap();
        let count = take(&mut ebpf, steer::map::STEER_COUNT).try_into().unwrap();
        let mut steered = Self { pair, listeners, slots, places, count, _ebpf: ebpf };
        for worker in 0..2 {
            steered.places.set(BASE + worker, &steered.listeners[worker as usize], 0).unwrap();
        }
        steered
    }

    /// Sends every CPU's connections to a slot.
    fn all_to(&mut self, slot: u32) {
        for cpu in 0..cpus() {
            self.slots.set(cpu, slot, 0).unwrap();
        }
    }

    /// Connects so often from one CPU; how many came to each listener.
    fn arrived(&self, cpu: u32, connections: usize, to: IpAddr) -> [usize; 2] {
        let to = (to, self.listeners[0].local_addr().unwrap().port());
        let connect = || {
            let mut only = CpuSet::new();
            only.set(cpu as usize);
            rustix::thread::sched_setaffinity(None, &only).unwrap();
            (0..connections).map(|_| TcpStream::connect(to).unwrap()).collect::<Vec<_>>()
        };
        let _open = self.pair.client.run(connect);
        let mut arrived = [0; 2];
        wait::until("all have arrived", || {
            for (listener, count) in self.listeners.iter().zip(&mut arrived) {
                *count += accepted(listener);
            }
            arrived.iter().sum::<usize>() == connections
        });
        arrived
    }

    fn asked(&self) -> u64 {
        self.count.get(&0, 0).unwrap().iter().sum()
    }
}

/// How many connections wait at a listener.
fn accepted(listener: &TcpListener) -> usize {
    let mut count = 0;
    loop {
        match listener.accept() {
            Ok(_) => count += 1,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return count,
            Err(e) => panic!("{e}"),
        }
    }
}

fn cpus() -> u32 {
    std::thread::available_parallelism().unwrap().get() as u32
}

#[test]
fn each_cpu_has_its_worker() {
    let mut steered = Steered::new(Pair::SERVER);
    for cpu in 0..cpus().min(2) {
        steered.slots.set(cpu, slot(cpu), 0).unwrap();
    }
    for cpu in 0..cpus().min(2) {
        let mut expected = [0; 2];
        expected[cpu as usize] = 40;
        assert_eq!(steered.arrived(cpu, 40, Pair::SERVER), expected, "from CPU {cpu}");
    }
    assert_eq!(steered.asked(), 40 * u64::from(cpus().min(2)));
}

#[test]
fn a_slot_decides_for_every_address_that_a_listener_has() {
    let mut steered = Steered::new(Ipv6Addr::UNSPECIFIED.into());
    steered.all_to(slot(1));
    assert_eq!(steered.arrived(0, 20, Pair::SERVER6), [0, 20]);
    assert_eq!(steered.arrived(0, 20, Pair::SERVER), [0, 20]);
    steered.all_to(slot(0));
    assert_eq!(steered.arrived(0, 20, Pair::SERVER), [20, 0]);
}

#[test]
fn an_empty_slot_leaves_it_to_the_kernels_hash() {
    let mut steered = Steered::new(Pair::SERVER);
    steered.all_to(SLOT_EMPTY);
    let arrived = steered.arrived(0, 64, Pair::SERVER);
    assert!(arrived.iter().all(|count| *count > 0), "{arrived:?}");
    assert_eq!(steered.asked(), 64, "counted though not steered");
}

#[test]
fn a_worker_without_a_listener_leaves_it_to_the_kernels_hash() {
    let mut steered = Steered::new(Pair::SERVER);
    steered.places.clear_index(&(BASE + 1)).unwrap();
    steered.all_to(slot(1));
    let arrived = steered.arrived(0, 64, Pair::SERVER);
    assert!(arrived.iter().all(|count| *count > 0), "{arrived:?}");
}
