//! Where a connection comes from: its socket's ends, and what a proxy says of it. All that is carried by one connection
//! shares it.

use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, SocketAddr};

use super::Announced;

/// A connection's ends.
pub struct Whence {
    /// The socket's other end; none on a Unix socket.
    remote: Option<SocketAddr>,
    /// The socket's own end; none on a Unix socket.
    local: Option<SocketAddr>,
    /// The other end is a proxy that must say whose connection it brings.
    is_proxy: bool,
    announced: OnceCell<Announced>,
    peer_text: OnceCell<Box<str>>,
    number: Cell<u64>,
}

impl Whence {
    pub(super) fn new(remote: Option<SocketAddr>, local: Option<SocketAddr>, is_proxy: bool) -> Self {
        let (announced, peer_text) = (OnceCell::new(), OnceCell::new());
        Self { remote, local, is_proxy, announced, peer_text, number: Cell::new(0) }
    }

    /// A proxy has said whose connection it is. It says so once, before anything else is known of the client.
    pub(super) fn announce(&self, announced: Announced) {
        let _ = self.announced.set(announced);
    }

    /// Whether it must begin with a header that says whose connection it is.
    pub fn is_proxy(&self) -> bool {
        self.is_proxy
    }

    /// Whether a proxy brought it for somebody else: its packets are the proxy's then.
    pub fn is_brought(&self) -> bool {
        matches!(self.announced.get(), Some(Announced::Ends { .. }))
    }

    /// Both ends, as they are announced to an upstream.
    pub fn ends(&self) -> Announced {
        match (self.announced.get(), self.remote, self.local) {
            (Some(ends @ Announced::Ends { .. }), ..) => *ends,
            (_, Some(source), Some(destination)) => Announced::Ends { source, destination },
            _ => Announced::Nothing,
        }
    }

    /// The address of whom it speaks for: the other end, or whom a proxy announced; none on a Unix socket.
    pub fn peer(&self) -> Option<IpAddr> {
        let peer = match self.announced.get() {
            Some(Announced::Ends { source, .. }) => Some(*source),
            _ => self.remote,
        };
        peer.map(|peer| peer.ip().to_canonical())
    }

    /// The same as text; `unix` on a Unix socket.
    pub fn peer_text(&self) -> &str {
        let text = || self.peer().map_or("unix".into(), |ip| ip.to_string().into());
        self.peer_text.get_or_init(text)
    }

    /// The address that its packets come from.
    pub fn remote(&self) -> Option<IpAddr> {
        self.remote.map(|remote| remote.ip().to_canonical())
    }

    /// Its number among those of its worker that have upstream connections to themselves; 0: it has none.
    pub fn number(&self) -> u64 {
        self.number.get()
    }

    /// The same; it gets the next one if it has none.
    pub fn numbered(&self, last: &Cell<u64>) -> u64 {
        if self.number.get() == 0 {
            last.set(last.get() + 1);
            self.number.set(last.get());
        }
        self.number.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn whom_a_proxy_announces_is_the_peer_and_no_packets_source() {
        let whence = Whence::new(Some(end("[::ffff:10.0.0.1]:1")), Some(end("10.0.0.2:80")), true);
        assert_eq!((whence.peer(), whence.is_brought()), ("10.0.0.1".parse().ok(), false));
        let ends = Announced::Ends { source: end("192.0.2.1:5"), destination: end("198.51.100.7:443") };
        whence.announce(ends);
        assert_eq!((whence.peer(), whence.remote()), ("192.0.2.1".parse().ok(), "10.0.0.1".parse().ok()));
        assert_eq!((whence.peer_text(), whence.ends(), whence.is_brought()), ("192.0.2.1", ends, true));
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_is_the_peer() {
        let whence = Whence::new(Some(end("10.0.0.1:1")), Some(end("10.0.0.2:80")), true);
        whence.announce(Announced::Nothing);
        assert_eq!((whence.peer_text(), whence.is_brought()), ("10.0.0.1", false));
        let ends = Announced::Ends { source: end("10.0.0.1:1"), destination: end("10.0.0.2:80") };
        assert_eq!(whence.ends(), ends);
    }

    #[test]
    fn a_unix_socket_has_no_ends() {
        let whence = Whence::new(None, None, false);
        assert_eq!((whence.peer(), whence.peer_text(), whence.ends()), (None, "unix", Announced::Nothing));
    }

    #[test]
    fn numbers_are_given_once() {
        let (last, one, two) = (Cell::new(0), Whence::new(None, None, false), Whence::new(None, None, false));
        assert_eq!((one.number(), one.numbered(&last), two.numbered(&last), one.numbered(&last)), (0, 1, 2, 1));
        assert_eq!((one.number(), two.number()), (1, 2));
    }
}
