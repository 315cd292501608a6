//! One side of an exchange as its stages see it: octets in, octets out, whatever carries them.
//!
//! A stage asks a [`Wire`] what it would ask a socket; what the octets pass through on their way is decided once, when
//! the wire is made.

use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll};

use crate::buf::{Chunk, SendBuf};
use crate::ring::Socket;
pub use adapter::{Adapter, Carrier, Port};
pub use meter::Meter;
pub use stream::{Payload, Stream};
pub use tls::{Failure, Tls};

mod adapter;
pub mod meter;
pub mod stream;
mod tls;

/// What carries an exchange's octets.
pub enum Wire {
    /// A socket, as it is.
    Plain(Socket),
    /// One stream of an HTTP/2 connection: see [`stream`].
    Stream(Box<Stream>),
    /// A socket with TLS above it.
    Tls(Box<Tls>),
}

impl Wire {
    /// The socket of its own below it.
    pub fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(tls) => Some(tls.socket()),
            Self::Stream(_) => None,
        }
    }

    /// The stream of HTTP/2 that it is: there the wire itself ends messages, and has no chunks.
    pub fn stream(&self) -> Option<&Stream> {
        match self {
            Self::Plain(_) | Self::Tls(_) => None,
            Self::Stream(stream) => Some(stream),
        }
    }

    /// The TLS of its own.
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Plain(_) | Self::Stream(_) => None,
            Self::Tls(tls) => Some(tls),
        }
    }

    /// Whether the stream has ended without the peer's saying so, where it could have: what came may be a part.
    pub fn was_cut(&self) -> bool {
        self.tls().is_some_and(Tls::was_cut)
    }

    /// The next received octets, `None` at the peer's end of stream; an error once all octets before it are taken.
    ///
    /// # Errors
    /// What ended the connection.
    pub async fn recv(&self) -> io::Result<Option<Chunk>> {
        match self {
            Self::Plain(socket) => socket.recv().await,
            Self::Stream(stream) => stream.recv().await,
            Self::Tls(tls) => tls.recv().await,
        }
    }

    /// What [`Wire::recv`] would return at once.
    pub fn try_recv(&self) -> Option<io::Result<Option<Chunk>>> {
        match self {
            Self::Plain(socket) => socket.try_recv(),
            Self::Stream(stream) => stream.try_recv(),
            Self::Tls(tls) => tls.try_recv(),
        }
    }

    /// Puts octets back in front of what was received.
    pub fn unread(&self, octets: Chunk) {
        match self {
            Self::Plain(socket) => socket.unread(octets),
            Self::Stream(stream) => stream.unread(octets),
            Self::Tls(tls) => tls.unread(octets),
        }
    }

    /// Nothing waits to be received, not even the end or an error, as of this turn.
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_quiet(),
            Self::Stream(stream) => stream.is_quiet(),
            Self::Tls(tls) => tls.is_quiet(),
        }
    }

    /// Waits for an error of what the peer sends; the end of its stream is none.
    pub async fn failed(&self) {
        match self {
            Self::Plain(socket) => socket.failed().await,
            Self::Stream(stream) => stream.failed().await,
            Self::Tls(tls) => tls.socket().failed().await,
        }
    }

    /// Sends everything. Dropping the future does not stop the send; dropping the wire does.
    ///
    /// # Errors
    /// What ended the connection.
    pub async fn send(&self, octets: SendBuf) -> io::Result<()> {
        self.begin_send(octets);
        self.flush().await
    }

    /// Starts a send after those already started; its failure shows in the next [`Wire::flush`] or send.
    pub fn begin_send(&self, octets: SendBuf) {
        match self {
            Self::Plain(socket) => socket.begin_send(octets),
            Self::Stream(stream) => stream.begin_send(octets),
            Self::Tls(tls) => tls.begin_send(octets),
        }
    }

    /// Waits until all that was started is sent.
    ///
    /// # Errors
    /// What ended the connection; every later send fails too.
    pub async fn flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush().await,
            Self::Stream(stream) => stream.flush().await,
            Self::Tls(tls) => tls.flush().await,
        }
    }

    /// Octets of payload sent so far.
    pub fn sent(&self) -> u64 {
        match self {
            Self::Plain(socket) => socket.sent(),
            Self::Stream(stream) => stream.sent(),
            Self::Tls(tls) => tls.sent(),
        }
    }

    /// Octets that were to be sent and have not left.
    pub fn unsent(&self) -> usize {
        match self {
            Self::Plain(socket) => socket.unsent(),
            Self::Stream(stream) => stream.unsent(),
            Self::Tls(tls) => tls.socket().unsent(),
        }
    }

    /// The trailers behind what was received, where the wire has them apart: lines, the empty one last. Once.
    pub fn take_trailers(&self) -> Option<Vec<u8>> {
        self.stream()?.take_trailers()
    }

    /// Octets of payload received so far.
    pub fn received(&self) -> u64 {
        match self {
            Self::Plain(socket) => socket.received(),
            Self::Stream(stream) => stream.received(),
            Self::Tls(tls) => tls.received(),
        }
    }

    /// Octets that the peer has taken, where that can be told: see [`Socket::acknowledged`].
    pub fn acknowledged(&self) -> Option<u64> {
        match self {
            Self::Plain(socket) => socket.acknowledged(),
            // What has left the codec is the measure: a window that opens is no progress.
            Self::Stream(_) => None,
            Self::Tls(tls) => tls.socket().acknowledged(),
        }
    }

    /// Has the drop of it reset the connection, or the stream.
    pub fn set_linger_reset(&self) {
        match self {
            Self::Plain(socket) => socket.set_linger_reset(),
            Self::Stream(stream) => stream.reset(::h2::Reason::INTERNAL_ERROR),
            Self::Tls(tls) => tls.set_linger_reset(),
        }
    }

    /// Ends one or both directions, after what was sent before.
    ///
    /// # Errors
    /// The connection is over already.
    pub async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.shutdown(how).await,
            Self::Stream(stream) => {
                stream.end(Vec::new());
                Ok(())
            }
            Self::Tls(tls) => tls.shutdown(how).await,
        }
    }

    /// [`Wire::recv`] for who polls.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match self {
            Self::Plain(socket) => socket.poll_recv(cx),
            Self::Tls(tls) => tls.poll_recv(cx),
            Self::Stream(stream) => stream.poll_recv(cx),
        }
    }

    /// Ready once no more than `left` octets of what was started are unsent.
    pub fn poll_flush(&self, cx: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_flush(cx, left),
            Self::Tls(tls) => tls.poll_flush(cx, left),
            Self::Stream(stream) => stream.poll_flush(cx, left),
        }
    }
}
