//! Connected streams: received chunks wait in the socket, sends follow one another, and an idle one holds no buffer.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::listener::blocking;
use super::op::close::Descriptor;
use super::runtime::{try_with, with};
use crate::buf::{Chunk, SendBuf};

mod probe;
mod stream;

pub use probe::Probe;
pub(super) use stream::Stream;

/// A connected stream, TCP or Unix. Dropping it cancels what is in flight and closes it once that has ended.
pub struct Socket(Rc<Stream>);

impl Socket {
    /// Adopts a connected stream, and makes it block, as the ring needs it.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self::adopt(Rc::new(Descriptor::new(blocking(fd))))
    }

    pub(super) fn adopt(descriptor: Rc<Descriptor>) -> Self {
        Self(Rc::new(Stream::new(descriptor, with(|driver| driver.settings.recv_cap))))
    }

    /// Adopts what the ring has accepted.
    #[expect(unsafe_code, reason = "a completion brings a bare number")]
    pub(super) fn accepted(fd: RawFd) -> Self {
        // SAFETY: the kernel has just made this descriptor for the accept that tells of it, once.
        Self::adopt(Rc::new(Descriptor::new(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    pub(super) fn descriptor(&self) -> Rc<Descriptor> {
        self.0.descriptor()
    }

    /// The next received octets, `None` at the peer's end of stream; an error once all octets before it are taken.
    /// The first call arms the receive, which then goes on by itself up to the socket's cap.
    pub async fn recv(&self) -> io::Result<Option<Chunk>> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// [`Socket::recv`] for who polls.
    pub fn poll_recv(&self, context: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        match self.try_recv() {
            Some(received) => Poll::Ready(received),
            None => {
                self.0.wait_receive(context);
                Poll::Pending
            }
        }
    }

    /// Waits until octets, the end or an error are there to be received, on a socket from which nothing was ever
    /// received: they stay with the kernel.
    pub async fn readable(&self) -> io::Result<()> {
        super::op::poll::readable_while(self.0.fd(), self.descriptor()).await
    }

    /// What [`Socket::recv`] would return at once.
    pub fn try_recv(&self) -> Option<io::Result<Option<Chunk>>> {
        self.0.take()
    }

    /// Puts octets back in front of what was received.
    pub fn unread(&self, octets: Chunk) {
        self.0.unread(octets);
    }

    /// Nothing waits to be received, not even the end or an error, as of this turn: a pooled connection may be used.
    pub fn is_quiet(&self) -> bool {
        self.0.is_quiet()
    }

    /// Waits for an error of what the peer sends, a reset mostly: the end of its stream is none, for it may go on
    /// reading.
    pub async fn failed(&self) {
        poll_fn(|context| {
            self.0.arm();
            if self.0.has_failed() {
                return Poll::Ready(());
            }
            self.0.wait_receive(context);
            Poll::Pending
        })
        .await;
    }

    /// Arms the receive without waiting, so that an idle connection notices its end.
    pub fn listen(&self) {
        self.0.arm();
    }

    /// Limits what may wait in this socket before its receive pauses; it goes on below half of that.
    pub fn set_recv_cap(&self, octets: u32) {
        self.0.set_cap(octets);
    }

    /// Sends everything. Dropping the future does not stop the send (a torn message is of no use); dropping the
    /// socket does.
    pub async fn send(&self, octets: SendBuf) -> io::Result<()> {
        self.begin_send(octets);
        self.flush().await
    }

    /// Starts a send after those already started; its failure shows in the next [`Socket::flush`] or send.
    pub fn begin_send(&self, octets: SendBuf) {
        self.0.begin_send(octets);
    }

    /// Waits until all that was started is sent. After a failure, every send fails.
    pub async fn flush(&self) -> io::Result<()> {
        self.flush_to(0).await
    }

    /// Waits until no more than `left` octets of what was started are unsent: to keep a queue short but not empty.
    pub async fn flush_to(&self, left: usize) -> io::Result<()> {
        poll_fn(|context| self.poll_flush(context, left)).await
    }

    /// [`Socket::flush_to`] for who polls.
    pub fn poll_flush(&self, context: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        match self.0.flushed(left) {
            Some(result) => Poll::Ready(result),
            None => {
                self.0.wait_send(context, left);
                Poll::Pending
            }
        }
    }

    /// Sends a few octets just before the close, if the kernel takes them at once and nothing else waits: nobody hears
    /// what becomes of them.
    pub fn say(&self, octets: &[u8]) {
        if self.0.unsent() == 0 {
            let _ = self.options().send_with_flags(octets, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        }
    }

    /// Octets given to [`Socket::begin_send`] of which no completion has told yet.
    pub fn unsent(&self) -> usize {
        self.0.unsent()
    }

    /// Octets sent so far, counted as each operation ends; an operation takes at most a whole [`SendBuf`].
    pub fn sent(&self) -> u64 {
        self.0.sent_total()
    }

    /// Octets received so far.
    pub fn received(&self) -> u64 {
        self.0.received_total()
    }

    /// Octets the peer has acknowledged: whether a long send moves at all. A system call (TCP_INFO), for a deadline
    /// that has passed rather than for each send; `None` on a Unix socket.
    pub fn acknowledged(&self) -> Option<u64> {
        Some(stream::tcp_info(self.as_fd())?.bytes_acked)
    }

    /// Has the close reset the connection (SO_LINGER 0).
    pub fn set_linger_reset(&self) {
        // Fails only where there is no TCP, and so no reset.
        let _ = self.options().set_linger(Some(Duration::ZERO));
    }

    /// The peer's address; `None` on a Unix socket, or after a reset. A system call.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.options().peer_addr().ok()?.as_socket()
    }

    /// The local address; `None` on a Unix socket. A system call.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.options().local_addr().ok()?.as_socket()
    }

    /// SO_COOKIE: the kernel's number for this socket, never used again. A system call.
    pub fn cookie(&self) -> u64 {
        self.options().cookie().unwrap_or_default()
    }

    /// A look at it for who does not own it.
    pub fn probe(&self) -> Probe {
        Probe::of(&self.0)
    }

    /// The socket's options and addresses.
    pub fn options(&self) -> socket2::SockRef<'_> {
        socket2::SockRef::from(self)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        try_with(|driver| self.0.abandon(driver));
    }
}
