//! SYNs of many sources, made by hand and put on the wire past the kernel's TCP.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Namespace;

/// Frames of one call.
const BATCH: usize = 64;
/// Ethernet, IPv4 and TCP with the option MSS.
const FRAME: usize = 14 + 20 + 24;

/// Where a flood claims to come from.
#[derive(Clone, Copy, Debug)]
pub enum Sources {
    /// One.
    One(Ipv4Addr),
    /// So many, in turn: 11.0.0.0 and on.
    Many(u32),
    /// A new one for each packet, anywhere.
    Spoofed,
}

/// A flood to come.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// Where to.
    pub target: SocketAddrV4,
    /// Where from.
    pub sources: Sources,
    /// It ends after so many packets.
    pub packets_max: u64,
    /// It ends after so long.
    pub time_max: Duration,
    /// Packets per second; as many as it can if 0.
    pub rate: u64,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flooded {
    /// Packets.
    pub packets: u64,
    /// In what time.
    pub time: Duration,
}

/// A flood that knows its way.
#[derive(Debug)]
pub struct Ready {
    flood: Flood,
    socket: Socket,
    frame: Frame,
}

/// A flood that runs; ends with this value, at the latest.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Flooded>>,
}

impl Flood {
    /// Sends it all over an interface.
    #[track_caller]
    pub fn send(self, namespace: &Namespace, interface: &str) -> Flooded {
        self.start(namespace, interface).join()
    }

    /// Begins to send over an interface.
    #[track_caller]
    pub fn start(self, namespace: &Namespace, interface: &str) -> Running {
        self.ready(namespace, interface).start()
    }

    /// All that has to be asked of the network before it begins.
    #[track_caller]
    pub fn ready(self, namespace: &Namespace, interface: &str) -> Ready {
        let socket = namespace.run(|| Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))));
        let socket = socket.expect("a packet socket: is this root?");
        socket.bind(&address(namespace.index(interface))).expect("an interface");
        Ready { flood: self, frame: self.frame(namespace, interface), socket }
    }

    fn run(self, socket: &Socket, mut frame: Frame, stop: &AtomicBool) -> Flooded {
        let start = Instant::now();
        let mut flooded = Flooded::default();
        while flooded.packets < self.packets_max && start.elapsed() < self.time_max && !stop.load(Relaxed) {
            let batch = (self.packets_max - flooded.packets).min(BATCH as u64) as usize;
            let frames: Vec<_> = (0..batch).map(|_| frame.next(self.sources)).collect();
            flooded.packets += send(socket, &frames) as u64;
            if self.rate > 0 {
                // Paced, not waited for: what was sent stands in a fixed relation to the clock.
                let due = Duration::from_secs_f64(flooded.packets as f64 / self.rate as f64);
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
        flooded.time = start.elapsed();
        flooded
    }

    fn frame(&self, namespace: &Namespace, interface: &str) -> Frame {
        let text = namespace.output(&["ip", "-j", "link", "show", "dev", interface]);
        let links: serde_json::Value = serde_json::from_str(&text).expect("ip's JSON");
        let own = links[0]["address"].as_str().map(mac).expect("an Ethernet interface");
        // The neighbour's address is known after one exchange; what it answers does not matter.
        let to = self.target.ip().to_string();
        namespace.run(|| {
            let _ = std::net::TcpStream::connect_timeout(&self.target.into(), Duration::from_secs(1));
        });
        let text = namespace.output(&["ip", "-j", "neigh", "show", "to", &to, "dev", interface]);
        let neighbours: serde_json::Value = serde_json::from_str(&text).expect("ip's JSON");
        let peer = neighbours[0]["lladdr"].as_str().map(mac).expect("a neighbour that answers");
        Frame::new(peer, own, self.target)
    }
}

impl Ready {
    /// Begins to send.
    pub fn start(self) -> Running {
        let Self { flood, socket, frame } = self;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || flood.run(&socket, frame, &stopped));
        Running { stop, thread: Some(thread) }
    }
}

impl Running {
    /// Ends it now.
    pub fn stop(mut self) -> Flooded {
        self.stop.store(true, Relaxed);
        self.thread.take().map_or_else(Flooded::default, |thread| thread.join().expect("a flood that ends"))
    }

    /// Waits for its end.
    pub fn join(mut self) -> Flooded {
        self.thread.take().map_or_else(Flooded::default, |thread| thread.join().expect("a flood that ends"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The frame to be sent next.
#[derive(Clone, Debug)]
struct Frame {
    octets: [u8; FRAME],
    count: u32,
    random: u64,
}

impl Frame {
    fn new(peer: [u8; 6], own: [u8; 6], target: SocketAddrV4) -> Self {
        let mut octets = [0; FRAME];
        octets[..6].copy_from_slice(&peer);
        octets[6..12].copy_from_slice(&own);
        octets[12..14].copy_from_slice(&[0x08, 0x00]);
        // Version and length, not to be fragmented, TTL 64, TCP.
        octets[14] = 0x45;
        octets[16..18].copy_from_slice(&(FRAME as u16 - 14).to_be_bytes());
        octets[20..24].copy_from_slice(&[0x40, 0, 64, 6]);
        octets[30..34].copy_from_slice(&target.ip().octets());
        octets[36..38].copy_from_slice(&target.port().to_be_bytes());
        // Six words of header, SYN, a window, MSS 1460.
        octets[46..50].copy_from_slice(&[0x60, 0x02, 0xfa, 0xf0]);
        octets[54..58].copy_from_slice(&[2, 4, 5, 180]);
        Self { octets, count: 0, random: 0x9e37_79b9_7f4a_7c15 }
    }

    fn next(&mut self, sources: Sources) -> [u8; FRAME] {
        // xorshift64: the same sequence in each run.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let source = match sources {
            Sources::One(address) => address.octets(),
            Sources::Many(n) => (0x0b00_0000 + self.count % n).to_be_bytes(),
            Sources::Spoofed => anywhere((self.random >> 32) as u32),
        };
        self.count = self.count.wrapping_add(1);
        let mut octets = self.octets;
        octets[26..30].copy_from_slice(&source);
        octets[34..36].copy_from_slice(&((self.random as u16) | 1024).to_be_bytes());
        octets[38..42].copy_from_slice(&((self.random >> 8) as u32).to_be_bytes());
        let ip = checksum(0, &octets[14..34]);
        octets[24..26].copy_from_slice(&ip.to_be_bytes());
        let pseudo = sum(6 + (FRAME as u32 - 34), &octets[26..34]);
        let tcp = checksum(pseudo, &octets[34..]);
        octets[50..52].copy_from_slice(&tcp.to_be_bytes());
        octets
    }
}

/// An address that a machine could have: 16.0.0.0 to 111.255.255.255.
fn anywhere(random: u32) -> [u8; 4] {
    (0x1000_0000 + random % 0x6000_0000).to_be_bytes()
}

fn sum(start: u32, octets: &[u8]) -> u32 {
    octets.chunks(2).fold(start, |sum, pair| sum + u32::from(pair[0]) * 256 + u32::from(pair[1]))
}

/// The Internet checksum (RFC 1071).
fn checksum(start: u32, octets: &[u8]) -> u16 {
    let mut sum = sum(start, octets);
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// Sends frames in one call; gives how many went.
fn send(socket: &Socket, frames: &[[u8; FRAME]]) -> usize {
    let slices: Vec<_> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
    let mut controls: Vec<_> = frames.iter().map(|_| SendAncillaryBuffer::new(&mut [])).collect();
    let messages = slices.iter().zip(&mut controls);
    let mut messages: Vec<_> = messages.map(|(slice, control)| MMsgHdr::new(slice, control)).collect();
    // A queue that is full for the moment is no error: what did not go is not counted.
    rustix::net::sendmmsg(socket, &mut messages, SendFlags::empty()).unwrap_or(0)
}

fn mac(text: &str) -> [u8; 6] {
    let mut octets = [0; 6];
    for (octet, digits) in octets.iter_mut().zip(text.split(':')) {
        *octet = u8::from_str_radix(digits, 16).expect("hexadecimal digits");
    }
    octets
}

/// An interface as a packet socket's address: `sockaddr_ll`.
fn address(index: u32) -> SockAddr {
    #[repr(C)]
    struct Link {
        family: u16,
        protocol: u16,
        index: i32,
        rest: [u8; 12],
    }
    const AF_PACKET: u16 = 17;
    let link = Link { family: AF_PACKET, protocol: 0, index: index as i32, rest: [0; 12] };
    #[expect(unsafe_code, reason = "no crate here has this address")]
    // SAFETY: the storage is larger than the address, which is written whole, and its length is said.
    let address = unsafe {
        SockAddr::try_init(|storage, length| {
            storage.cast::<Link>().write(link);
            *length = size_of::<Link>() as _;
            Ok(())
        })
    };
    address.expect("an address").1
}
