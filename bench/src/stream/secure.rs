//! TLS over a stream of glommio's, by rustls's buffered interface.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use rustls::Connection;

/// One read of the socket.
const READ: usize = 64 << 10;

/// A session with the octets that wait on both sides of it.
pub(crate) struct Secure {
    stream: TcpStream,
    session: Connection,
    /// Records that were read and not yet taken in.
    incoming: Vec<u8>,
    taken: usize,
    /// Records that have not left yet.
    outgoing: Vec<u8>,
    sent: usize,
}

impl Secure {
    /// Shakes hands.
    pub(super) async fn handshake(stream: TcpStream, session: Connection) -> io::Result<Self> {
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        let mut secure = Self { stream, session, incoming, taken: 0, outgoing, sent: 0 };
        while secure.session.is_handshaking() {
            poll_fn(|cx| secure.poll_flush(cx)).await?;
            if secure.session.is_handshaking() && poll_fn(|cx| secure.poll_receive(cx)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        poll_fn(|cx| secure.poll_flush(cx)).await?;
        Ok(secure)
    }

    /// The protocol that both sides agreed on.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        // What could not leave before must not wait for its answer.
        if let Poll::Ready(Err(e)) = self.poll_flush(cx) {
            return Poll::Ready(Err(e));
        }
        loop {
            match self.session.reader().read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let length = self.session.writer().write(octets)?;
        match self.poll_flush(cx) {
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            _ => Poll::Ready(Ok(length)),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.session.wants_write() {
                self.session.write_tls(&mut self.outgoing)?;
            }
            if self.sent == self.outgoing.len() {
                self.outgoing.clear();
                self.sent = 0;
                return Poll::Ready(Ok(()));
            }
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.outgoing[self.sent..]))?;
            self.sent += sent;
        }
    }

    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_close(cx)
    }

    /// Takes records in, reading some if none wait; 0 is the end of the connection.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.taken == self.incoming.len() {
            self.incoming.resize(READ, 0);
            self.taken = READ;
            let length = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut self.incoming))?;
            self.incoming.truncate(length);
            self.taken = 0;
            if length == 0 {
                return Poll::Ready(Ok(0));
            }
        }
        let mut rest = &self.incoming[self.taken..];
        let length = self.session.read_tls(&mut rest)?;
        self.taken += length;
        let outcome = self.session.process_new_packets();
        outcome.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        Poll::Ready(Ok(length))
    }
}
