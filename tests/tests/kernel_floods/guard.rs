//! A server behind the XDP program, with tables as control would fill them.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData};
use aya::programs::{Xdp, XdpMode};
use aya::{Ebpf, Pod};
use weir_common::abi::drop::{self, Action, Cause, Conf, Count, Denied, counted, map};
use weir_common::abi::{Address, Endpoint, Plain};
use weir_tests::netns::flood::Running;
use weir_tests::netns::pair::WIRE;
use weir_tests::netns::{Flood, Pair, Sources};
use weir_tests::object::{Group, per_cpu, set_only};

/// The server, the program at its wire, and two listeners: the guarded one and another.
pub(crate) struct Guard {
    pair: Pair,
    ebpf: RefCell<Ebpf>,
    pub(crate) web: u16,
    pub(crate) ssh: u16,
}

/// CLOCK_MONOTONIC, as the program reads it.
pub(crate) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Guard {
    pub(crate) fn new(mode: XdpMode, conf: Conf) -> Self {
        Self::with_mtu(mode, conf, 1500)
    }

    pub(crate) fn with_mtu(mode: XdpMode, conf: Conf, mtu: u32) -> Self {
        let pair = Pair::new();
        for side in [&pair.client, &pair.server] {
            side.ip(&format!("link set {WIRE} mtu {mtu}"));
        }
        let [web, ssh] = [echo(&pair), echo(&pair)];
        let mut ebpf = Group::Drop.load(&[]).unwrap();
        set_only(&mut ebpf, map::CONF, conf);
        let mut ports: Array<_, u64> = ebpf.map_mut(map::PORTS).unwrap().try_into().unwrap();
        ports.set(u32::from(web / 64), 1 << (web % 64), 0).unwrap();
        insert(&mut ebpf, map::SCOPE, Endpoint::from(SocketAddr::from((Pair::SERVER, web))).octets(), 1u32);
        let program: &mut Xdp = ebpf.program_mut(drop::PROGRAM).unwrap().try_into().unwrap();
        program.load().unwrap();
        // An interface's index is that of the caller's network.
        pair.server.run(|| program.attach(WIRE, mode)).unwrap();
        Self { pair, ebpf: RefCell::new(ebpf), web, ssh }
    }

    /// A client that has sent a request before.
    pub(crate) fn know(&self, client: IpAddr) {
        insert(&mut self.ebpf.borrow_mut(), map::KNOWN, Address::from(client).octets(), u64::MAX);
    }

    /// A client of the allow set.
    pub(crate) fn allow(&self, client: IpAddr) {
        let IpAddr::V4(client) = client else { panic!("an IPv4 address") };
        let mut ebpf = self.ebpf.borrow_mut();
        let map = ebpf.map_mut(map::ALLOW4).unwrap();
        let mut allow: LpmTrie<_, [u8; 4], u32> = map.try_into().unwrap();
        allow.insert(&Key::new(32, client.octets()), 1, 0).unwrap();
    }

    /// A client that was promoted.
    pub(crate) fn deny(&self, client: IpAddr, expires_ns: u64) {
        let entry = Denied { expires_ns, rule: 1, ..Denied::default() };
        insert(&mut self.ebpf.borrow_mut(), map::DENY, Address::from(client).octets(), entry.octets());
    }

    /// Packets with a cause that were dropped.
    pub(crate) fn drops(&self, cause: Cause) -> u64 {
        self.count(cause, Action::Drop)
    }

    /// Packets with a cause that passed nevertheless.
    pub(crate) fn would_drop(&self, cause: Cause) -> u64 {
        self.count(cause, Action::WouldDrop)
    }

    /// Packets that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        Cause::ALL.iter().map(|cause| self.drops(*cause)).sum()
    }

    fn count(&self, cause: Cause, action: Action) -> u64 {
        let counts = per_cpu::<Count>(&self.ebpf.borrow(), map::COUNT, counted(cause, action));
        counts.iter().map(|count| count.packets).sum()
    }

    /// Begins to flood the guarded port, as fast as it goes.
    pub(crate) fn flood(&self, sources: Sources) -> Running {
        let SocketAddr::V4(target) = SocketAddr::from((Pair::SERVER, self.web)) else { panic!("an IPv4 address") };
        let flood = Flood { target, sources, packets_max: 50_000_000, time_max: Duration::from_secs(60), rate: 0 };
        flood.start(&self.pair.client, WIRE)
    }

    /// Connects from one of the client's addresses.
    pub(crate) fn connect(&self, from: IpAddr, port: u16, limit: Duration) -> io::Result<TcpStream> {
        let to = SocketAddr::from((Pair::SERVER, port));
        self.pair.client.run(|| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
            socket.bind(&SocketAddr::new(from, 0).into())?;
            socket.connect_timeout(&to.into(), limit)?;
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(limit))?;
            Ok(stream)
        })
    }

    /// One octet there and back.
    pub(crate) fn talk(&self, mut stream: &TcpStream) -> io::Result<()> {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0; 1])
    }

    /// A connection with one exchange; how long it took. It fails after a second, before its SYN is said again.
    pub(crate) fn exchange(&self, from: IpAddr, port: u16) -> io::Result<Duration> {
        self.exchange_within(from, port, Duration::from_millis(900))
    }

    /// The same, with a limit for each of its steps.
    pub(crate) fn exchange_within(&self, from: IpAddr, port: u16, limit: Duration) -> io::Result<Duration> {
        let start = Instant::now();
        let stream = self.connect(from, port, limit)?;
        self.talk(&stream)?;
        Ok(start.elapsed())
    }

    /// Sends so many octets, and gives how many came back.
    pub(crate) fn upload(&self, from: IpAddr, octets: usize) -> io::Result<usize> {
        let stream = self.connect(from, self.web, Duration::from_secs(5))?;
        std::thread::scope(|scope| {
            scope.spawn(|| (&stream).write_all(&vec![b'x'; octets]));
            let mut back = vec![0; octets];
            (&stream).read_exact(&mut back).map(|()| back.len())
        })
    }
}

/// A listener on the server's side that sends back what it gets. Its threads end with the connections, and with the
/// network: nothing holds a listener that nobody can reach.
fn echo(pair: &Pair) -> u16 {
    let listener = pair.server.run(|| TcpListener::bind((Pair::SERVER, 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    port
}

fn insert<K: Pod, V: Pod>(ebpf: &mut Ebpf, name: &str, key: K, value: V) {
    let mut hash: HashMap<&mut MapData, K, V> = ebpf.map_mut(name).unwrap().try_into().unwrap();
    hash.insert(key, value, 0).unwrap();
}
