//! A raw client: writes exactly the octets it is given, reads strictly, knows how a connection ended.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::message::{Bad, Response, Wire};
use crate::process;
use crate::tls::{Connector, Pipe};
use crate::wait::SOON;

/// How a peer ended a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// FIN.
    Closed,
    /// RST.
    Reset,
    /// FIN without the close_notify of TLS before it.
    Cut,
}

/// One connection.
pub struct Client {
    wire: Wire<Pipe>,
}

impl Client {
    /// Connects; every later wait has [`SOON`] as its deadline.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|e| panic!("connect to {address}: {e}"))
    }

    /// The same, where the peer may refuse, or reset at once.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, SOON)?;
        stream.set_nodelay(true)?;
        Ok(Self::of(stream))
    }

    /// On a connection that the test made.
    pub fn of(stream: TcpStream) -> Self {
        Self::through(Pipe::plain(stream))
    }

    /// Through a pipe that the test made.
    pub fn through(pipe: Pipe) -> Self {
        let client = Self { wire: Wire::new(pipe) };
        client.patience(SOON);
        client
    }

    /// Connects with TLS.
    #[track_caller]
    pub fn connect_tls(address: SocketAddr, connector: &Connector) -> Self {
        let pipe = connector.connect(address).unwrap_or_else(|e| panic!("TLS to {address}: {e}"));
        Self::through(pipe)
    }

    /// The same from a local address: on loopback, one of as many clients as 127.0.0.0/8 has addresses.
    pub fn try_connect_from(source: IpAddr, address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect_timeout(&address.into(), SOON)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        Ok(Self::of(stream))
    }

    /// The same, where it must succeed.
    #[track_caller]
    pub fn connect_from(source: &str, address: SocketAddr) -> Self {
        let source = source.parse().expect("an address");
        Self::try_connect_from(source, address).unwrap_or_else(|e| panic!("connect from {source} to {address}: {e}"))
    }

    /// Sets the deadline of later reads and writes.
    pub fn patience(&self, limit: Duration) {
        self.pipe().patience(limit);
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        self.pipe().tcp()
    }

    /// What it speaks through.
    pub fn pipe(&self) -> &Pipe {
        self.wire.stream()
    }

    /// Writes octets as they stand.
    #[track_caller]
    pub fn write(&self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes.as_ref()).expect("write");
    }

    /// Writes octets as they stand; the peer may have gone.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<()> {
        self.pipe().write_all(bytes)
    }

    /// Writes in two segments, cut at `at`. The second leaves once the peer has read the first, so that its reads
    /// meet the boundary.
    pub fn write_split(&self, bytes: &[u8], at: usize) {
        self.write_parts([&bytes[..at], &bytes[at..]]);
    }

    /// Writes each part as a segment of its own. The peer may have answered and gone before the last.
    pub fn write_parts<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) {
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if self.try_write(part).is_err() {
                return;
            }
            process::wait_taken(self.stream());
        }
    }

    /// Reads a response to a request of that method.
    pub fn try_response(&mut self, method: &str) -> Result<Response, Bad> {
        self.wire.response(method)
    }

    /// Reads a response to a GET; panics on anything else than one.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// Reads a response to a request of that method; panics on anything else than one.
    #[track_caller]
    pub fn response_to(&mut self, method: &str) -> Response {
        self.try_response(method).unwrap_or_else(|bad| panic!("no response: {bad:?}"))
    }

    /// Reads a head, interim or final, and leaves the body.
    #[track_caller]
    pub fn head(&mut self) -> Response {
        self.wire.response_head().unwrap_or_else(|bad| panic!("no head: {bad:?}"))
    }

    /// Exactly `n` octets.
    #[track_caller]
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        self.wire.take(n).unwrap_or_else(|bad| panic!("no {n} octets: {bad:?}"))
    }

    /// Writes a request and reads its response.
    #[track_caller]
    pub fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.write(bytes);
        self.response()
    }

    /// Expects the connection to end without another octet; says how.
    #[track_caller]
    pub fn ended(&mut self) -> Ended {
        let (rest, ended) = self.drain();
        assert!(rest.is_empty(), "{} octets before the end: {:?}", rest.len(), String::from_utf8_lossy(&rest));
        ended
    }

    /// Reads all up to the end of the connection, however it ends.
    #[track_caller]
    pub fn drain(&mut self) -> (Vec<u8>, Ended) {
        let mut rest = self.wire.pending().to_vec();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.pipe().receive(&mut buffer) {
                Ok(0) => return (rest, Ended::Closed),
                Ok(n) => rest.extend(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return (rest, Ended::Reset),
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return (rest, Ended::Cut),
                Err(e) => panic!("the connection did not end: {e}; read {} octets", rest.len()),
            }
        }
    }

    /// Whether nothing arrives within `window`: for what must not happen.
    pub fn silent_for(&mut self, window: Duration) -> bool {
        self.patience(window);
        let outcome = self.wire.fill();
        self.patience(SOON);
        matches!(outcome, Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    /// Sends FIN, with TLS after close_notify, and keeps reading.
    pub fn half_close(&self) {
        self.pipe().half_close().expect("shutdown");
    }

    /// Sends RST.
    pub fn reset(self) {
        reset(self.stream());
    }
}

/// Makes the close of this socket an RST.
pub(crate) fn reset(stream: &TcpStream) {
    // The socket may be reset already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
