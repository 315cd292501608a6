//! Two machines, weir's cgroup on one of them, and the flow programs that watch it.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use aya::programs::{CgroupAttachMode, SockOps};
use weir_common::abi::Plain;
use weir_common::abi::flow::{self, Event, Flow, FlowCount, Kind};
use weir_tests::netns::{Cgroup, Pair};
use weir_tests::object::{Group, Hash, hash, per_cpu, ring};
use weir_tests::wait;

/// A pair, and a cgroup on its server's side.
pub(crate) struct Setting {
    pub(crate) pair: Pair,
    pub(crate) cgroup: Cgroup,
}

impl Setting {
    pub(crate) fn new() -> Self {
        Self { pair: Pair::new(), cgroup: Cgroup::threaded() }
    }

    /// What weir does: on the server's side, in its cgroup.
    pub(crate) fn weir<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        self.pair.server.run(|| {
            self.cgroup.enter();
            inside()
        })
    }

    /// What others do.
    pub(crate) fn peer<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        self.pair.client.run(inside)
    }

    /// A connection from a peer to weir: weir's end, the peer's.
    #[track_caller]
    pub(crate) fn accepted(&self, server: IpAddr) -> (TcpStream, TcpStream) {
        let listener = self.weir(|| TcpListener::bind((server, 0))).unwrap();
        self.accepted_by(&listener, server)
    }

    /// A connection from a peer to a listener of weir's.
    #[track_caller]
    pub(crate) fn accepted_by(&self, listener: &TcpListener, server: IpAddr) -> (TcpStream, TcpStream) {
        let port = listener.local_addr().unwrap().port();
        let peer = self.peer(|| TcpStream::connect((server, port))).unwrap();
        (listener.accept().unwrap().0, peer)
    }

    /// A connection from weir to a peer: weir's end, the peer's.
    #[track_caller]
    pub(crate) fn connected(&self, client: IpAddr) -> (TcpStream, TcpStream) {
        let listener = self.peer(|| TcpListener::bind((client, 0))).unwrap();
        let to = listener.local_addr().unwrap();
        let weir = self.weir(|| TcpStream::connect(to)).unwrap();
        (weir, listener.accept().unwrap().0)
    }
}

/// An event, and the connection if it bears one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) event: Event,
    pub(crate) flow: Option<Flow>,
}

impl Told {
    pub(crate) fn is(&self, kind: Kind, cookie: u64) -> bool {
        self.event.kind == kind as u32 && self.event.cookie == cookie
    }
}

/// The flow programs at work, and what they told.
pub(crate) struct Watch {
    pub(crate) ebpf: Ebpf,
    pub(crate) flows: Hash<u64, Flow>,
    pub(crate) events: RingBuf<MapData>,
    told: Vec<Told>,
}

impl Watch {
    /// Attached to the setting's cgroup.
    pub(crate) fn new(setting: &Setting, sizes: &[(&str, u32)]) -> Self {
        let mut ebpf = Group::Flow.load(sizes).unwrap();
        let program = ebpf.program_mut(flow::PROGRAM).unwrap();
        let program: &mut SockOps = program.try_into().unwrap();
        program.load().unwrap();
        // Without flags: links of cgroups take none.
        program.attach(setting.cgroup.file(), CgroupAttachMode::Single).unwrap();
        Self::of(ebpf, flow::map::FLOWS)
    }

    /// With the maps of an object that is attached already.
    pub(crate) fn of(mut ebpf: Ebpf, flows: &str) -> Self {
        let flows = hash(&mut ebpf, flows);
        let events = ring(&mut ebpf, flow::map::FLOW_EVENTS);
        Self { ebpf, flows, events, told: Vec::new() }
    }

    /// Everything that was told so far.
    pub(crate) fn told(&mut self) -> &[Told] {
        while let Some(record) = self.events.next() {
            let event = Event::from_slice(&record).unwrap();
            let flow = Flow::from_slice(&record[size_of::<Event>()..]);
            self.told.push(Told { event, flow });
        }
        &self.told
    }

    /// The first event of a kind on a connection; waited for.
    #[track_caller]
    pub(crate) fn event(&mut self, kind: Kind, cookie: u64) -> Told {
        wait::value(&format!("{} of {cookie}", kind.name()), || {
            self.told().iter().find(|told| told.is(kind, cookie)).copied()
        })
    }

    /// The record that a connection left behind.
    #[track_caller]
    pub(crate) fn closed(&mut self, cookie: u64) -> Flow {
        self.event(Kind::Close, cookie).flow.expect("the record comes with the event")
    }

    /// What could not be done, over all CPUs.
    pub(crate) fn count(&self) -> FlowCount {
        let counts = per_cpu::<FlowCount>(&self.ebpf, flow::map::FLOW_COUNT, 0);
        let sum = |of: fn(&FlowCount) -> u64| counts.iter().map(of).sum();
        FlowCount { lost: sum(|count| count.lost), full: sum(|count| count.full) }
    }
}

/// What the kernel calls a socket, for as long as it lives.
pub(crate) fn cookie(socket: &TcpStream) -> u64 {
    rustix::net::sockopt::socket_cookie(socket).unwrap()
}

/// Each step of a record, oldest first.
pub(crate) fn steps(flow: &Flow) -> Vec<(u8, u8)> {
    let steps = flow.states.to_be_bytes().into_iter().filter(|step| *step != 0);
    steps.map(|step| (step >> 4, step & 0xf)).collect()
}

/// CLOCK_MONOTONIC, as the programs read it.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The ends of a connection, as seen from its first.
pub(crate) fn ends(socket: &TcpStream) -> (SocketAddr, SocketAddr) {
    (socket.local_addr().unwrap(), socket.peer_addr().unwrap())
}
