//! A small name server: A questions from a table that the test changes, all else with nothing found.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server says of a name.
#[derive(Clone, Debug)]
pub enum Says {
    /// These addresses, for so many seconds.
    Addresses(Vec<Ipv4Addr>, u32),
    /// There is no such name.
    NoName,
    /// It cannot tell (SERVFAIL).
    Failure,
}

#[derive(Default)]
struct Shared {
    zone: Mutex<HashMap<String, Says>>,
    asked: AtomicUsize,
    stopping: AtomicBool,
}

/// The server, until it is dropped.
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl NameServer {
    /// One that knows no name yet.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let address = socket.local_addr().expect("an address");
        let shared = Arc::<Shared>::default();
        let own = shared.clone();
        let thread = Some(std::thread::spawn(move || serve(&socket, &own)));
        Self { address, shared, thread }
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it says of a name.
    pub fn say(&self, name: &str, says: Says) {
        self.shared.zone.lock().expect("zone").insert(name.to_owned(), says);
    }

    /// Says one address for one second.
    pub fn point(&self, name: &str, to: [u8; 4]) {
        self.say(name, Says::Addresses(vec![to.into()], 1));
    }

    /// Questions so far.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, shared: &Shared) {
    let mut packet = [0; 512];
    while !shared.stopping.load(Ordering::SeqCst) {
        let Ok((length, peer)) = socket.recv_from(&mut packet) else { continue };
        shared.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(answer) = answer(&packet[..length], shared) {
            let _ = socket.send_to(&answer, peer);
        }
    }
}

/// RFC 1035 section 4: the header and the question repeated, then the answers.
fn answer(query: &[u8], shared: &Shared) -> Option<Vec<u8>> {
    let (name, end) = question(query)?;
    let is_a = query.get(end - 4..end - 2)? == [0, 1];
    let says = shared.zone.lock().expect("zone").get(&name).cloned().unwrap_or(Says::NoName);
    let (code, addresses, ttl) = match says {
        Says::Addresses(addresses, ttl) if is_a => (0, addresses, ttl),
        Says::Addresses(..) => (0, Vec::new(), 0),
        Says::NoName => (3, Vec::new(), 0),
        Says::Failure => (2, Vec::new(), 0),
    };
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
    out.extend(&query[12..end]);
    for address in addresses {
        out.extend([0xc0, 12, 0, 1, 0, 1]);
        out.extend(ttl.to_be_bytes());
        out.extend([0, 4]);
        out.extend(address.octets());
    }
    Some(out)
}

/// The question's name, and where the question ends.
fn question(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while *query.get(at)? > 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?).to_lowercase());
        at += length + 1;
    }
    Some((labels.join("."), at + 5))
}
