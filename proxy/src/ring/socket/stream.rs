//! The state that a socket shares with its operations in flight.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::task::{Context, Waker};

use io_uring::cqueue;
use io_uring::types::Fd;

use crate::base::TcpInfo;
use crate::buf::{Chunk, SendBuf};
use crate::ring::driver::Driver;
use crate::ring::op::close::Descriptor;
use crate::ring::op::send::Transmit;
use crate::ring::ops::Token;
use crate::ring::runtime::with;
use crate::ring::stats;

/// Messages up to this size are copied out of their buffer while buffers are scarce, so that few octets pin none.
const COPIED_MAX: usize = 4096;
/// Octets that a receive into the reserve may bring.
const RESERVE_LIMIT: u32 = 32 << 10;

/// A connected stream. Kept small: an idle connection is mostly this.
pub(in crate::ring) struct Stream {
    descriptor: Rc<Descriptor>,
    receive: Receive,
    send: Send,
    /// The socket is gone; only operations that are about to end still hold this.
    abandoned: Cell<bool>,
}

/// What ten thousand idle connections cost is mostly ten thousand of these, and their tasks.
const _: () = assert!(size_of::<Stream>() <= 208);

struct Receive {
    queue: RefCell<Queue>,
    waker: Cell<Option<Waker>>,
    /// The multishot receive, while it is armed.
    token: Cell<Option<Token>>,
    total: Cell<u64>,
    cap: Cell<u32>,
    /// The buffer group of the receive that is armed.
    group: Cell<u16>,
    error: Cell<u16>,
    /// Waits for a buffer, in the driver's queue.
    starved: Cell<bool>,
    /// Asked to end because the cap is reached.
    cancelled: Cell<bool>,
    eof: Cell<bool>,
    /// Whether it receives much at a time, and how many receives in a row said otherwise.
    bulky: Cell<bool>,
    streak: Cell<u8>,
}

/// Received chunks; one needs no memory of its own.
#[derive(Default)]
struct Queue {
    first: Option<Chunk>,
    rest: VecDeque<Chunk>,
    octets: usize,
}

struct Send {
    /// What is in flight and what follows; nothing while the socket sends nothing.
    transmit: RefCell<Option<Box<Transmit>>>,
    waker: Cell<Option<Waker>>,
    /// Wakes who waits once no more than this is unsent.
    wake_at: Cell<usize>,
    unsent: Cell<usize>,
    total: Cell<u64>,
    error: Cell<u16>,
}

impl Stream {
    pub(super) fn new(descriptor: Rc<Descriptor>, cap: u32) -> Self {
        let receive = Receive {
            queue: RefCell::default(),
            waker: Cell::new(None),
            token: Cell::new(None),
            total: Cell::new(0),
            cap: Cell::new(cap),
            group: Cell::new(0),
            error: Cell::new(0),
            starved: Cell::new(false),
            cancelled: Cell::new(false),
            eof: Cell::new(false),
            bulky: Cell::new(false),
            streak: Cell::new(0),
        };
        let send = Send {
            transmit: RefCell::new(None),
            waker: Cell::new(None),
            wake_at: Cell::new(0),
            unsent: Cell::new(0),
            total: Cell::new(0),
            error: Cell::new(0),
        };
        Self { descriptor, receive, send, abandoned: Cell::new(false) }
    }

    pub(super) fn descriptor(&self) -> Rc<Descriptor> {
        Rc::clone(&self.descriptor)
    }

    pub(in crate::ring) fn fd(&self) -> Fd {
        self.descriptor.fd()
    }

    /// The socket was dropped: whatever is in flight is to end, and holds the descriptor until then.
    pub(super) fn abandon(&self, driver: &Driver) {
        self.abandoned.set(true);
        self.receive.waker.take();
        self.send.waker.take();
        self.receive.queue.take();
        if let Some(token) = self.receive.token.get() {
            driver.cancel(token);
        }
        if let Some(transmit) = &mut *self.send.transmit.borrow_mut() {
            transmit.next.clear();
            driver.cancel(transmit.token);
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Receiving.
impl Stream {
    pub(super) fn take(self: &Rc<Self>) -> Option<io::Result<Option<Chunk>>> {
        let receive = &self.receive;
        let first = receive.queue.borrow_mut().pop();
        self.arm();
        if let Some(first) = first {
            return Some(Ok(Some(first)));
        }
        match receive.error.get() {
            0 if receive.eof.get() => Some(Ok(None)),
            0 => None,
            error => Some(Err(io::Error::from_raw_os_error(error.into()))),
        }
    }

    pub(super) fn unread(&self, octets: Chunk) {
        if !octets.is_empty() {
            self.receive.queue.borrow_mut().push_front(octets);
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        let receive = &self.receive;
        receive.queue.borrow().octets == 0 && !receive.eof.get() && receive.error.get() == 0
    }

    pub(super) fn has_failed(&self) -> bool {
        self.receive.error.get() != 0
    }

    /// The error that a receive or a send ended with.
    pub(super) fn error(&self) -> Option<io::Error> {
        let error = [self.receive.error.get(), self.send.error.get()].into_iter().find(|&error| error != 0)?;
        Some(io::Error::from_raw_os_error(error.into()))
    }

    /// Whether the peer's end of stream has come.
    pub(super) fn has_ended(&self) -> bool {
        self.receive.eof.get()
    }

    pub(super) fn set_cap(&self, octets: u32) {
        self.receive.cap.set(octets.max(1));
    }

    pub(super) fn wait_receive(&self, context: &Context<'_>) {
        self.receive.waker.set(Some(context.waker().clone()));
    }

    pub(super) fn received_total(&self) -> u64 {
        self.receive.total.get()
    }

    /// Starts the receive, or goes on with it, unless there is a reason not to.
    pub(super) fn arm(self: &Rc<Self>) {
        let receive = &self.receive;
        let settled = receive.token.get().is_some() || receive.starved.get() || receive.eof.get();
        if settled || receive.error.get() != 0 || self.abandoned.get() || !self.drained() {
            return;
        }
        with(|driver| self.start(driver, self.bulk(driver).unwrap_or(driver.buffers.main())));
    }

    /// The group of large buffers, where there is one and this socket is to use it.
    fn bulk(&self, driver: &Driver) -> Option<u16> {
        driver.buffers.bulk().filter(|_| self.receive.bulky.get())
    }

    /// Whether at most half of the cap waits.
    fn drained(&self) -> bool {
        self.receive.queue.borrow().octets <= self.receive.cap.get() as usize / 2
    }

    fn start(self: &Rc<Self>, driver: &Driver, group: u16) {
        let cap = self.receive.cap.get();
        let limit = if driver.buffers.is_reserve(group) { cap.min(RESERVE_LIMIT) } else { cap };
        self.receive.group.set(group);
        self.receive.cancelled.set(false);
        self.receive.token.set(Some(driver.start_receive(self, group, limit)));
    }

    /// Buffers are back: goes on receiving, from `group` or the large ones, if it still wants to.
    pub(in crate::ring) fn feed(self: &Rc<Self>, driver: &Driver, group: u16) {
        self.receive.starved.set(false);
        if !self.abandoned.get() && self.receive.token.get().is_none() && self.drained() {
            let group = self.bulk(driver).filter(|&bulk| driver.buffers.pool(bulk).ready()).unwrap_or(group);
            if driver.buffers.is_reserve(group) {
                stats::count(&driver.stats.reserve_used);
            }
            self.start(driver, group);
        }
    }

    /// A completion of the receive.
    pub(in crate::ring) fn received(self: Rc<Self>, driver: &Driver, entry: &cqueue::Entry, more: bool) {
        let result = entry.result();
        if !more {
            self.receive.token.set(None);
        }
        if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
            let chunk = driver.buffers.pool(self.receive.group.get()).filled(buffer, result.max(0) as u32);
            if let Some(chunk) = chunk.filter(|_| !self.abandoned.get()) {
                self.queue(driver, chunk);
            }
        }
        if self.abandoned.get() {
            return;
        }
        if more {
            self.stop_flood(driver);
            self.weigh(driver, result);
        } else {
            self.ended(driver, result);
        }
        if (result > 0 || self.receive.eof.get() || self.receive.error.get() != 0)
            && let Some(waker) = self.receive.waker.take()
        {
            waker.wake();
        }
    }

    fn queue(&self, driver: &Driver, mut chunk: Chunk) {
        let receive = &self.receive;
        receive.total.set(receive.total.get() + chunk.len() as u64);
        if chunk.len() <= COPIED_MAX && driver.buffers.pool(receive.group.get()).scarce() {
            chunk.compact();
        }
        receive.queue.borrow_mut().push_back(chunk);
    }

    /// Ends the receive where more waits than may.
    fn stop_flood(&self, driver: &Driver) {
        let receive = &self.receive;
        if receive.queue.borrow().octets <= receive.cap.get() as usize || receive.cancelled.replace(true) {
            return;
        }
        stats::count(&driver.stats.recv_paused);
        if let Some(token) = receive.token.get() {
            driver.cancel(token);
        }
    }

    /// With a ring for each size: has a socket whose receives fill small buffers use large ones, and back.
    fn weigh(&self, driver: &Driver, received: i32) {
        /// So many receives in a row must ask for the other size.
        const STREAK: u8 = 3;
        let receive = &self.receive;
        if driver.buffers.bulk().is_none() || driver.buffers.is_reserve(receive.group.get()) {
            return;
        }
        let large = received as u32 >= driver.buffers.pool(driver.buffers.main()).size();
        receive.streak.set(if large == receive.bulky.get() { 0 } else { receive.streak.get() + 1 });
        if receive.streak.get() >= STREAK && !receive.cancelled.replace(true) {
            receive.streak.set(0);
            receive.bulky.set(large);
            if let Some(token) = receive.token.get() {
                driver.cancel(token);
            }
        }
    }

    /// The last completion of a receive said `result`.
    fn ended(self: &Rc<Self>, driver: &Driver, result: i32) {
        let receive = &self.receive;
        match -result {
            0 => receive.eof.set(true),
            // Its limit is reached, or the kernel could not post one more completion.
            ..0 if self.drained() => self.arm(),
            ..0 => stats::count(&driver.stats.recv_paused),
            libc::ENOBUFS => {
                receive.starved.set(true);
                driver.starve(Rc::clone(self));
            }
            // By `stop_flood`, unless the whole ring ends.
            libc::ECANCELED if receive.cancelled.get() => self.arm(),
            libc::EINTR | libc::EAGAIN => self.arm(),
            libc::EINVAL if driver.recv_limit.replace(false) => self.arm(),
            error => receive.error.set(error as u16),
        }
    }
}

/// Sending.
impl Stream {
    pub(super) fn begin_send(self: &Rc<Self>, octets: SendBuf) {
        if octets.is_empty() || self.send.error.get() != 0 {
            return;
        }
        self.send.unsent.set(self.send.unsent.get() + octets.len());
        let mut transmit = self.send.transmit.borrow_mut();
        match &mut *transmit {
            Some(transmit) if transmit.next.is_empty() => transmit.next = octets,
            Some(transmit) => transmit.next.append(octets),
            None => with(|driver| {
                let mut idle = driver.transmit();
                idle.current = octets;
                driver.start_send(self, &mut idle);
                *transmit = Some(idle);
            }),
        }
    }

    pub(super) fn unsent(&self) -> usize {
        self.send.unsent.get()
    }

    pub(super) fn sent_total(&self) -> u64 {
        self.send.total.get()
    }

    pub(super) fn flushed(&self, left: usize) -> Option<io::Result<()>> {
        match self.send.error.get() {
            0 if self.send.unsent.get() <= left => Some(Ok(())),
            0 => None,
            error => Some(Err(io::Error::from_raw_os_error(error.into()))),
        }
    }

    pub(super) fn wait_send(&self, context: &Context<'_>, left: usize) {
        self.send.wake_at.set(left);
        self.send.waker.set(Some(context.waker().clone()));
    }

    /// The completion of the send in flight.
    pub(in crate::ring) fn sent(self: Rc<Self>, driver: &Driver, result: i32) {
        let Some(mut transmit) = self.send.transmit.take() else { return };
        match result {
            1.. => self.advance(driver, &mut transmit, result as usize),
            _ if result == -libc::EINTR || result == -libc::EAGAIN => driver.start_send(&self, &mut transmit),
            _ => {
                self.send.error.set(if result == 0 { libc::EPIPE } else { -result } as u16);
                transmit.clear();
            }
        }
        if transmit.current.is_empty() {
            driver.keep_transmit(transmit);
        } else {
            self.send.transmit.replace(Some(transmit));
        }
        if (self.send.error.get() != 0 || self.send.unsent.get() <= self.send.wake_at.get())
            && let Some(waker) = self.send.waker.take()
        {
            waker.wake();
        }
    }

    /// The kernel has taken `count` octets more: goes on with the rest, or with what follows.
    fn advance(self: &Rc<Self>, driver: &Driver, transmit: &mut Transmit, count: usize) {
        self.send.total.set(self.send.total.get() + count as u64);
        self.send.unsent.set(self.send.unsent.get().saturating_sub(count));
        transmit.done += count;
        if transmit.done >= transmit.current.len() {
            transmit.current.clear();
            transmit.done = 0;
            std::mem::swap(&mut transmit.current, &mut transmit.next);
        }
        if self.abandoned.get() {
            transmit.clear();
        } else if !transmit.current.is_empty() {
            driver.start_send(self, transmit);
        }
    }
}

impl Queue {
    fn push_back(&mut self, chunk: Chunk) {
        self.octets += chunk.len();
        if self.first.is_none() {
            self.first = Some(chunk);
        } else {
            self.rest.push_back(chunk);
        }
    }

    fn push_front(&mut self, chunk: Chunk) {
        self.octets += chunk.len();
        if let Some(second) = self.first.replace(chunk) {
            self.rest.push_front(second);
        }
    }

    fn pop(&mut self) -> Option<Chunk> {
        let first = self.first.take()?;
        self.octets -= first.len();
        self.first = self.rest.pop_front();
        Some(first)
    }
}

/// TCP_INFO of a TCP socket.
#[expect(unsafe_code, reason = "the kernel fills a structure by address")]
pub(super) fn tcp_info(fd: BorrowedFd<'_>) -> Option<TcpInfo> {
    use std::os::fd::AsRawFd;
    // SAFETY: plain numbers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    let at = (&raw mut info).cast();
    // SAFETY: writes at most `len` octets to `info`.
    let done = unsafe { libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, at, &mut len) };
    (done == 0).then_some(TcpInfo {
        state: info.tcpi_state,
        srtt_us: info.tcpi_rtt,
        min_rtt_us: Some(info.tcpi_min_rtt).filter(|&us| us != u32::MAX),
        cwnd: info.tcpi_snd_cwnd,
        retrans: info.tcpi_total_retrans,
        segs_in: info.tcpi_segs_in,
        segs_out: info.tcpi_segs_out,
        bytes_received: info.tcpi_bytes_received,
        bytes_acked: info.tcpi_bytes_acked,
    })
}
