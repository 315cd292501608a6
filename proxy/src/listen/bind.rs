//! Opening listening sockets: one per worker for TCP (SO_REUSEPORT), one shared by all workers for a Unix path.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::socket_file::{Access, remove_stale};

/// Connections that the kernel may hold for a listener that has not accepted them yet; the kernel caps it at
/// `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix stream socket in the file system.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Permission bits of the socket file.
        mode: u32,
        /// Owner's user name or id; none: unchanged.
        owner: Option<String>,
        /// Group's name or id; none: unchanged.
        group: Option<String>,
    },
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why an address could not be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address.
    pub bind: Bind,
    /// What the kernel said, or which name is unknown.
    pub cause: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.bind, self.cause)
    }
}

impl std::error::Error for BindError {}

/// The sockets of one bound address.
#[derive(Debug)]
pub struct Opened {
    /// The address with the port that the kernel chose, where 0 was asked.
    pub bind: Bind,
    /// One listening socket for each worker, in order; those taken over may be more, or one for all.
    pub sockets: Vec<OwnedFd>,
}

/// Opens `bind` for `workers` workers.
///
/// # Errors
/// The kernel's refusal; EADDRINUSE also when another process, or another weir, listens there already.
pub fn open(bind: &Bind, workers: usize) -> Result<Opened, BindError> {
    match bind {
        Bind::Tcp(address) => open_tcp(*address, workers),
        Bind::Unix { path, mode, owner, group } => {
            open_unix(path, *mode, owner.as_deref(), group.as_deref(), workers).map(|sockets| (bind.clone(), sockets))
        }
    }
    .map(|(bind, sockets)| Opened { bind, sockets })
    .map_err(|cause| BindError { bind: bind.clone(), cause })
}

/// Binds `count` more sockets where others of this process, or of the one that it follows, listen already. They get no
/// connections before [`begin`]: until this process accepts, those are the other's.
///
/// # Errors
/// The kernel's refusal: another user's sockets are not joined.
pub fn join(address: SocketAddr, count: usize) -> Result<Vec<OwnedFd>, BindError> {
    let sockets: io::Result<_> = (0..count).map(|_| Ok(tcp_bound(address)?.into())).collect();
    sockets.map_err(|cause| BindError { bind: Bind::Tcp(address), cause })
}

/// Has a bound socket listen, unless it does.
///
/// # Errors
/// The kernel's refusal.
pub fn begin(socket: &OwnedFd) -> io::Result<()> {
    SockRef::from(socket).listen(BACKLOG)
}

fn open_tcp(address: SocketAddr, workers: usize) -> io::Result<(Bind, Vec<OwnedFd>)> {
    // A reuseport group would let another process share the port in silence: this bind, without it, finds out.
    let probe = tcp_socket(address)?;
    probe.bind(&address.into())?;
    if address.port() != 0 {
        probe.listen(1)?;
    }
    drop(probe);

    let first = tcp_listener(address)?;
    let chosen = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first.into()];
    for _ in 1..workers {
        sockets.push(tcp_listener(chosen)?.into());
    }
    Ok((Bind::Tcp(chosen), sockets))
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn tcp_listener(address: SocketAddr) -> io::Result<Socket> {
    let socket = tcp_bound(address)?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn tcp_bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = tcp_socket(address)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit these two, which saves two system calls per connection.
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn open_unix(
    path: &Path,
    mode: u32,
    owner: Option<&str>,
    group: Option<&str>,
    workers: usize,
) -> io::Result<Vec<OwnedFd>> {
    let access = Access::new(mode, owner, group)?;
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody connects before it listens: by then the file is whose it is to be.
    access.grant(path)?;
    socket.listen(BACKLOG)?;
    let first: OwnedFd = socket.into();
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(first.try_clone()?);
    }
    sockets.insert(0, first);
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn every_worker_gets_a_socket_on_the_chosen_port() {
        let opened = open(&Bind::Tcp((Ipv4Addr::LOCALHOST, 0).into()), 3).expect("binds");
        assert_eq!(opened.sockets.len(), 3);
        let Bind::Tcp(address) = opened.bind else { panic!("not TCP") };
        assert_ne!(address.port(), 0);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_in_use_even_with_reuseport() {
        let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
        let taken = Bind::Tcp(plain.local_addr().expect("bound"));
        assert_eq!(open(&taken, 1).expect_err("taken").cause.kind(), io::ErrorKind::AddrInUse);

        let ours = open(&Bind::Tcp((Ipv4Addr::LOCALHOST, 0).into()), 2).expect("binds");
        assert_eq!(open(&ours.bind, 2).expect_err("taken").cause.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().expect("temp dir");
        let bind = Bind::Unix { path: dir.path().join("s"), mode: 0o600, owner: None, group: None };
        let first = open(&bind, 2).expect("binds");
        assert_eq!(open(&bind, 1).expect_err("live").cause.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        open(&bind, 1).expect("stale file is replaced");
    }

    #[test]
    fn a_file_that_is_not_a_socket_stays() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("precious");
        std::fs::write(&path, "data").expect("written");
        let bind = Bind::Unix { path: path.clone(), mode: 0o600, owner: None, group: None };
        open(&bind, 1).expect_err("refused");
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "data");
    }
}
