//! What the kernel knows of a process and of a connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use socket2::{Domain, Protocol, Socket, Type};

/// A process by its id.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// This one.
    pub fn this() -> Self {
        Self(std::process::id())
    }

    /// Sends a signal; a process that has gone is no error.
    pub fn signal(self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.0 as i32) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Open descriptors.
    pub fn fds(self) -> usize {
        std::fs::read_dir(self.path("fd")).map_or(0, Iterator::count)
    }

    /// What its descriptors point to: `socket:[N]`, paths, `anon_inode:..`.
    pub fn fd_targets(self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("fd")).into_iter().flatten().flatten();
        entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
    }

    /// Threads.
    pub fn threads(self) -> usize {
        std::fs::read_dir(self.path("task")).map_or(0, Iterator::count)
    }

    /// Resident memory.
    pub fn resident_bytes(self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most resident memory that it has had.
    pub fn peak_bytes(self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(self, field: &str) -> u64 {
        let status = std::fs::read_to_string(self.path("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib * 1024)
    }

    /// User and system time of all its threads, in clock ticks.
    pub fn cpu_ticks(self) -> u64 {
        let stat = std::fs::read_to_string(self.path("stat")).unwrap_or_default();
        // The second field is the name in parentheses and may hold spaces: utime and stime are the 12th and 13th after.
        let after = stat.rfind(')').map_or("", |at| &stat[at + 1..]);
        after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum()
    }

    fn path(self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.0).into()
    }
}

/// Raises this process's limit of open descriptors as far as allowed, for itself and what it starts; says how far.
pub fn raise_descriptor_limit() -> u64 {
    let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Waits until the peer of a connection on this machine has taken all octets out of its socket, if the kernel tells.
pub fn wait_taken(stream: &TcpStream) {
    let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else {
        return;
    };
    let deadline = Instant::now() + Duration::from_millis(200);
    while unread_octets(peer, local).is_some_and(|n| n > 0) && Instant::now() < deadline {
        std::thread::yield_now();
    }
}

/// Octets that wait unread in the socket at `local` that is connected to `remote`; `None` if there is no such socket,
/// or the kernel does not tell.
pub fn unread_octets(local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (local, remote) else {
        return None;
    };
    let reply = inet_diag(local, remote).ok()?;
    // sock_diag(7): nlmsghdr (16, its type at 4), then inet_diag_msg: 4 + 48 + expires, then idiag_rqueue.
    let kind = u16::from_ne_bytes(reply.get(4..6)?.try_into().ok()?);
    let queue = reply.get(72..76)?;
    (kind == SOCK_DIAG_BY_FAMILY).then(|| u32::from_ne_bytes(queue.try_into().expect("four octets")))
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;

fn inet_diag(local: SocketAddrV4, remote: SocketAddrV4) -> io::Result<Vec<u8>> {
    const AF_NETLINK: i32 = 16;
    const NETLINK_SOCK_DIAG: i32 = 4;
    let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    let mut ask = Vec::with_capacity(72);
    // nlmsghdr: length, type, NLM_F_REQUEST, sequence, port.
    ask.extend(72u32.to_ne_bytes());
    ask.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    ask.extend(1u16.to_ne_bytes());
    ask.extend([0; 8]);
    // inet_diag_req_v2: AF_INET, IPPROTO_TCP, no extension, padding, all states.
    ask.extend([2, 6, 0, 0]);
    ask.extend(u32::MAX.to_ne_bytes());
    ask.extend(local.port().to_be_bytes());
    ask.extend(remote.port().to_be_bytes());
    ask.extend(local.ip().octets());
    ask.extend([0; 12]);
    ask.extend(remote.ip().octets());
    ask.extend([0; 12]);
    // Any interface, INET_DIAG_NOCOOKIE.
    ask.extend([0; 4]);
    ask.extend([0xff; 8]);
    socket.write_all(&ask)?;
    let mut reply = vec![0; 1024];
    let length = socket.read(&mut reply)?;
    reply.truncate(length);
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn unread_octets_of_a_connection_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let mut client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let (mut server, peer) = listener.accept().expect("accept");
        client.write_all(b"12345").expect("write");
        crate::wait::until("five octets", || unread_octets(listener.local_addr().expect("address"), peer) == Some(5));
        server.read_exact(&mut [0; 5]).expect("read");
        assert_eq!(unread_octets(listener.local_addr().expect("address"), peer), Some(0));
    }

    #[test]
    fn this_process_has_descriptors_threads_and_memory() {
        let this = Process::this();
        assert!(this.fds() > 2 && this.threads() > 0 && this.resident_bytes() > 1 << 20);
    }
}
