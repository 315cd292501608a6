//! Listeners: accepted connections, queued until a task takes them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use io_uring::types::Fd;

use super::Socket;
use super::driver::Driver;
use super::ops::Token;
use super::runtime::{try_with, with};

/// Accepted connections that may wait; beyond, they stay in the kernel's backlog.
const WAITING_MAX: usize = 256;

/// A listening socket.
pub struct Listener(Rc<Acceptor>);

/// The state that a listener shares with its accept in flight.
pub(super) struct Acceptor {
    fd: OwnedFd,
    /// Other workers accept on the same socket.
    shared: bool,
    waiting: RefCell<VecDeque<Socket>>,
    waker: Cell<Option<Waker>>,
    token: Cell<Option<Token>>,
    /// Waits for a descriptor.
    exhausted: Cell<bool>,
    stopped: Cell<bool>,
    error: Cell<i32>,
}

impl Listener {
    /// Adopts a listening descriptor (TCP or Unix), and makes it block, as the ring needs it.
    pub fn from_fd(fd: OwnedFd) -> Self {
        let fd = blocking(fd);
        // On TCP each worker has a socket of its own.
        let shared = socket2::SockRef::from(&fd).local_addr().is_ok_and(|address| address.is_unix());
        let waiting = RefCell::default();
        let (waker, token) = (Cell::new(None), Cell::new(None));
        let (exhausted, stopped, error) = (Cell::new(false), Cell::new(false), Cell::new(0));
        Self(Rc::new(Acceptor { fd, shared, waiting, waker, token, exhausted, stopped, error }))
    }

    /// The next connection. A shortage of descriptors or memory is waited out, and counted. After [`Listener::stop`]
    /// it fails with `NotConnected` once every accepted connection is handed out.
    pub async fn accept(&self) -> io::Result<Socket> {
        poll_fn(|context| match self.0.take() {
            Some(result) => Poll::Ready(result),
            None => {
                self.0.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }

    /// Where it is bound and a duplicate of its descriptor; none if that is not on TCP, or there is no descriptor left.
    pub fn share(&self) -> Option<(SocketAddr, OwnedFd)> {
        let address = socket2::SockRef::from(&self.0.fd).local_addr().ok()?.as_socket()?;
        Some((address, self.0.fd.try_clone().ok()?))
    }

    /// Lets no further connection begin, and none that has begun be lost: the kernel drops the SYNs that come from now
    /// on, while those whose handshake is over, or under way, are still accepted. [`Listener::stop`] is to follow once
    /// they are. Without this, a connection that is made between the last accept and the close is reset.
    pub fn turn_away(&self) {
        // A TCP filter sees a segment from its header on: the flags are its fourteenth octet, SYN is 2 in them.
        const FLAGS: u32 = 13;
        const SYN: u32 = 2;
        let load = socket2::SockFilter::new((libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16, 0, 0, FLAGS);
        let test = socket2::SockFilter::new((libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16, 0, 1, SYN);
        let answer = |octets| socket2::SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, octets);
        // Fails on a Unix socket's own terms only: there is no handshake to lose there.
        let _ = socket2::SockRef::from(&self.0.fd).attach_filter(&[load, test, answer(0), answer(u32::MAX)]);
    }

    /// Stops accepting. What the kernel has accepted by then is still handed out.
    pub fn stop(&self) {
        self.0.stop();
        self.0.wake();
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd.as_raw_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.stop();
        self.0.waker.take();
        let refused = self.0.waiting.take();
        drop(refused);
    }
}

impl Acceptor {
    pub(super) fn fd(&self) -> Fd {
        Fd(self.fd.as_raw_fd())
    }

    /// Whether others accept on the same socket.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    fn take(self: &Rc<Self>) -> Option<io::Result<Socket>> {
        let first = self.waiting.borrow_mut().pop_front();
        let active = self.token.get().is_some() || self.exhausted.get();
        match self.error.take() {
            0 => {}
            error if first.is_none() => return Some(Err(io::Error::from_raw_os_error(error))),
            error => self.error.set(error),
        }
        if !active && !self.stopped.get() && self.waiting.borrow().len() < WAITING_MAX / 2 {
            with(|driver| self.arm(driver));
        }
        match first {
            None if self.stopped.get() && !active => Some(Err(io::ErrorKind::NotConnected.into())),
            first => first.map(Ok),
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn stop(&self) {
        self.stopped.set(true);
        if let Some(token) = self.token.get() {
            try_with(|driver| driver.cancel(token));
        }
    }

    /// Starts accepting, or goes on.
    pub(super) fn arm(self: &Rc<Self>, driver: &Driver) {
        self.exhausted.set(false);
        if self.stopped.get() {
            self.wake();
        } else {
            self.token.set(Some(driver.start_accept(self)));
        }
    }

    pub(super) fn accepted(self: Rc<Self>, driver: &Driver, result: i32, more: bool) {
        if !more {
            self.token.set(None);
        }
        match result {
            0.. => self.queue(driver, result),
            _ if more => {}
            _ if driver.winding_down() => self.error.set(libc::ECANCELED),
            _ => self.failed(driver, -result),
        }
        if result >= 0 && !more && !driver.winding_down() && self.waiting.borrow().len() < WAITING_MAX {
            self.arm(driver);
        }
        self.wake();
    }

    fn queue(&self, driver: &Driver, fd: RawFd) {
        let socket = Socket::accepted(fd);
        let mut waiting = self.waiting.borrow_mut();
        waiting.push_back(socket);
        if waiting.len() == WAITING_MAX
            && let Some(token) = self.token.get()
        {
            driver.cancel(token);
        }
    }

    fn failed(self: &Rc<Self>, driver: &Driver, error: i32) {
        match error {
            // Cancelled because too many wait, or by `stop`: the next `take` sees to it.
            libc::ECANCELED => {}
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => {
                self.exhausted.set(true);
                driver.exhaust(Rc::clone(self));
            }
            // The connection failed before it was accepted (accept(2) lists what the network may report).
            libc::ECONNABORTED | libc::EINTR | libc::EPROTO | libc::ENETDOWN | libc::EHOSTDOWN => self.arm(driver),
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENONET | libc::EPERM | libc::EAGAIN => self.arm(driver),
            error => self.error.set(error),
        }
    }
}

/// Clears O_NONBLOCK: the ring does the waiting, and takes that flag as a wish not to wait.
pub(super) fn blocking(fd: OwnedFd) -> OwnedFd {
    let socket = socket2::Socket::from(fd);
    // Cannot fail on a descriptor that is open, which an `OwnedFd` is.
    let _ = socket.set_nonblocking(false);
    socket.into()
}
