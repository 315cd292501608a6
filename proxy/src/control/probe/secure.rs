//! TLS for probes: a session of rustls above a stream of tokio.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ClientConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls::Outgoing;

/// A stream with TLS above it.
pub(super) struct Secure<S> {
    session: ClientConnection,
    stream: S,
    /// Records that the stream has not taken yet.
    records: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Secure<S> {
    /// Makes the handshake.
    pub(super) async fn connect(outgoing: &Outgoing, stream: S) -> io::Result<Self> {
        let session = ClientConnection::new(outgoing.config().clone(), outgoing.name().clone());
        let mut secure = Self { session: session.map_err(io::Error::other)?, stream, records: Vec::new() };
        std::future::poll_fn(|cx| secure.poll_handshake(cx)).await?;
        Ok(secure)
    }

    /// Whether the two have agreed on HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.session.alpn_protocol() == Some(b"h2")
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write_out(cx))?;
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if !ready!(self.poll_read_in(cx))? {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Gives the session's records to the stream.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.records)?;
        }
        while !self.records.is_empty() {
            let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.records))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.records.drain(..taken);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Gives what the stream brings to the session. False: the stream has ended.
    fn poll_read_in(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut octets = [0; 4096];
        let mut buffer = ReadBuf::new(&mut octets);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let mut filled = buffer.filled();
        if filled.is_empty() {
            return Poll::Ready(Ok(false));
        }
        while !filled.is_empty() {
            self.session.read_tls(&mut filled)?;
            if let Err(error) = self.session.process_new_packets() {
                // The alert that says so, as far as the stream takes it at once.
                let _ = self.poll_write_out(cx);
                return Poll::Ready(Err(io::Error::other(error)));
            }
        }
        Poll::Ready(Ok(true))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secure<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.session.reader().read(buf.initialize_unfilled()) {
                Ok(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if !ready!(self.poll_read_in(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secure<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        // No more is sealed than the stream takes: what waits has left before.
        ready!(self.poll_write_out(cx))?;
        let count = self.session.writer().write(octets)?;
        let _ = self.poll_write_out(cx)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_out(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        ready!(self.poll_write_out(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
