//! The floor: a byte forwarder written straight on the ring, with no HTTP and no executor. What it costs is what the
//! kernel's TCP costs; a proxy is measured against it.
//!
//! Per message: one multishot receive that takes its memory from a provided buffer, one send from that buffer; all
//! that became ready is submitted by the same system call that waits for more.
#![expect(unsafe_code, reason = "io_uring takes addresses, and shares its buffer ring with the kernel")]

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, Submitter, cqueue, opcode, squeue};

/// One buffer serves many small messages: the kernel takes it piece by piece.
const BUFFER_SIZE: usize = 128 << 10;
/// Buffers made in all: 32 MiB, touched only as far as the traffic needs.
const BUFFERS: u16 = 256;
/// Buffers lent to the kernel at a time: few, so that the memory in use stays in the processor's cache.
const LENT: u16 = 8;
const GROUP: u16 = 0;

/// What an operation's `user_data` says in its upper half; the lower half is the connection's side.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;

/// Forwards between `listen` and `upstream` until it is killed, on one thread, pinned to `cpu` if that is given.
pub(crate) fn run(listen: SocketAddr, upstream: SocketAddr, cpu: Option<usize>) -> io::Result<()> {
    if let Some(cpu) = cpu {
        pin(cpu)?;
    }
    Floor::new(listen, upstream)?.run()
}

fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: `set` is a plain bit set, valid when zeroed, and outlives the call that reads it.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The received octets that wait to be sent.
struct Piece {
    buffer: u16,
    at: u32,
    len: u32,
}

/// One end of a forwarded connection. Even indices are clients, the next odd one is its upstream.
struct Side {
    fd: OwnedFd,
    /// What to send to this side; the first piece is in flight.
    outgoing: VecDeque<Piece>,
    receiving: bool,
    ended: bool,
}

/// A buffer's life: lent to the kernel, then held by the pieces cut from it, then free.
#[derive(Clone, Copy, Default)]
struct Buffer {
    used: u32,
    pieces: u32,
    lent: bool,
}

struct Buffers {
    entries: *mut BufRingEntry,
    memory: *mut u8,
    state: Vec<Buffer>,
    free: Vec<u16>,
    tail: u16,
    lent: u16,
}

struct Floor {
    ring: &'static IoUring,
    submitter: Submitter<'static>,
    listener: socket2::Socket,
    upstream: SocketAddr,
    sides: Vec<Option<Side>>,
    free: Vec<usize>,
    buffers: Buffers,
    starved: Vec<usize>,
}

impl Floor {
    fn new(listen: SocketAddr, upstream: SocketAddr) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(8192)
            .build(1024)
            .map(|ring| &*Box::leak(Box::new(ring)))?;
        let mut submitter = ring.submitter();
        submitter.register_ring_fd()?;
        let buffers = Buffers::new(&submitter)?;
        let listener = socket2::Socket::new(socket2::Domain::for_address(listen), socket2::Type::STREAM, None)?;
        listener.set_reuse_address(true)?;
        listener.set_tcp_nodelay(true)?;
        listener.bind(&listen.into())?;
        listener.listen(4096)?;
        let (sides, free, starved) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { ring, submitter, listener, upstream, sides, free, buffers, starved })
    }

    fn run(&mut self) -> io::Result<()> {
        self.arm_accept()?;
        loop {
            match self.submitter.submit_and_wait(1) {
                Err(error) if error.raw_os_error() != Some(libc::EINTR) => return Err(error),
                _ => self.turn()?,
            }
        }
    }

    fn turn(&mut self) -> io::Result<()> {
        // SAFETY: the only view of the completion queue, on the only thread.
        let completions = unsafe { self.ring.completion_shared() };
        for entry in completions {
            let index = entry.user_data() as u32 as usize;
            match entry.user_data() >> 32 << 32 {
                ACCEPT => self.accepted(&entry)?,
                RECEIVE => self.received(index, &entry)?,
                _ => self.sent(index, entry.result())?,
            }
        }
        self.buffers.lend();
        self.feed_starved()
    }

    fn push(&self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: the only view of the submission queue; the memory that entries name is leaked or owned by `self`,
        // which lives until the process ends.
        while unsafe { self.ring.submission_shared().push(entry) }.is_err() {
            self.submitter.submit()?;
        }
        Ok(())
    }

    fn arm_accept(&self) -> io::Result<()> {
        self.push(&opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).build().user_data(ACCEPT))
    }

    fn arm_receive(&mut self, index: usize) -> io::Result<()> {
        let Some(side) = &mut self.sides[index] else { return Ok(()) };
        side.receiving = true;
        let entry = opcode::RecvMulti::new(Fd(side.fd.as_raw_fd()), GROUP).build();
        self.push(&entry.user_data(RECEIVE | index as u64))
    }

    fn accepted(&mut self, entry: &cqueue::Entry) -> io::Result<()> {
        if !cqueue::more(entry.flags()) {
            self.arm_accept()?;
        }
        if entry.result() < 0 {
            return Ok(());
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let client = unsafe { OwnedFd::from_raw_fd(entry.result() as RawFd) };
        let Ok(upstream) = TcpStream::connect(self.upstream) else { return Ok(()) };
        upstream.set_nodelay(true)?;
        let at = self.free.pop().unwrap_or_else(|| {
            self.sides.extend([None, None]);
            self.sides.len() - 2
        });
        // SAFETY: the stream has just given its descriptor up.
        let upstream = unsafe { OwnedFd::from_raw_fd(upstream.into_raw_fd()) };
        for (index, fd) in [(at, client), (at + 1, upstream)] {
            self.sides[index] = Some(Side { fd, outgoing: VecDeque::new(), receiving: false, ended: false });
            self.arm_receive(index)?;
        }
        Ok(())
    }

    fn received(&mut self, index: usize, entry: &cqueue::Entry) -> io::Result<()> {
        let more = cqueue::more(entry.flags());
        if let Some(side) = &mut self.sides[index] {
            side.receiving = more;
        }
        if entry.result() > 0 {
            let buffer = cqueue::buffer_select(entry.flags()).ok_or(io::ErrorKind::InvalidData)?;
            let piece = self.buffers.cut(buffer, entry.result() as u32);
            self.queue(index ^ 1, piece)?;
        }
        match entry.result() {
            _ if more => Ok(()),
            1.. => self.arm_receive(index),
            result if result == -libc::ENOBUFS => {
                self.starved.push(index);
                Ok(())
            }
            _ => self.end(index),
        }
    }

    fn queue(&mut self, index: usize, piece: Piece) -> io::Result<()> {
        let Some(side) = &mut self.sides[index] else {
            self.buffers.release(piece.buffer);
            return Ok(());
        };
        side.outgoing.push_back(piece);
        if side.outgoing.len() == 1 { self.send(index) } else { Ok(()) }
    }

    fn send(&self, index: usize) -> io::Result<()> {
        let Some(side) = &self.sides[index] else { return Ok(()) };
        let Some(piece) = side.outgoing.front() else { return Ok(()) };
        let entry = opcode::Send::new(Fd(side.fd.as_raw_fd()), self.buffers.address(piece), piece.len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        self.push(&entry.user_data(SEND | index as u64))
    }

    fn sent(&mut self, index: usize, result: i32) -> io::Result<()> {
        let Some(side) = &mut self.sides[index] else { return Ok(()) };
        let Some(piece) = side.outgoing.front_mut() else { return Ok(()) };
        if result > 0 && (result as u32) < piece.len {
            piece.at += result as u32;
            piece.len -= result as u32;
            return self.send(index);
        }
        self.buffers.release(piece.buffer);
        side.outgoing.pop_front();
        if result < 0 {
            for piece in side.outgoing.drain(..) {
                self.buffers.release(piece.buffer);
            }
            side.ended = true;
        }
        if side.outgoing.is_empty() { self.close_if_over(index) } else { self.send(index) }
    }

    /// This side sends no more: so the other one is told, once it has taken what is left.
    fn end(&mut self, index: usize) -> io::Result<()> {
        if let Some(side) = &mut self.sides[index] {
            side.ended = true;
        }
        self.close_if_over(index ^ 1)
    }

    fn close_if_over(&mut self, index: usize) -> io::Result<()> {
        let (Some(side), Some(peer)) = (&self.sides[index], &self.sides[index ^ 1]) else { return Ok(()) };
        if !peer.ended || !side.outgoing.is_empty() {
            return Ok(());
        }
        // SAFETY: a plain system call on a descriptor that `side` owns.
        unsafe { libc::shutdown(side.fd.as_raw_fd(), if side.ended { libc::SHUT_RDWR } else { libc::SHUT_WR }) };
        let over = side.ended && !side.receiving && !peer.receiving && peer.outgoing.is_empty();
        if over && !self.starved.iter().any(|&starved| starved | 1 == index | 1) {
            self.sides[index & !1] = None;
            self.sides[index | 1] = None;
            self.free.push(index & !1);
        }
        Ok(())
    }

    fn feed_starved(&mut self) -> io::Result<()> {
        if self.buffers.lent == 0 {
            return Ok(());
        }
        for index in std::mem::take(&mut self.starved) {
            self.arm_receive(index)?;
        }
        Ok(())
    }
}

impl Buffers {
    fn new(submitter: &Submitter<'_>) -> io::Result<Self> {
        const INCREMENTAL: u16 = 2; // IOU_PBUF_RING_INC
        let entries = map(BUFFERS.next_power_of_two() as usize * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let memory = map(BUFFERS as usize * BUFFER_SIZE)?;
        let slots = BUFFERS.next_power_of_two();
        // SAFETY: `entries` is page-aligned, as large as said, and never unmapped.
        unsafe { submitter.register_buf_ring_with_flags(entries as u64, slots, GROUP, INCREMENTAL)? };
        let state = vec![Buffer::default(); BUFFERS as usize];
        let mut this = Self { entries, memory, state, free: (0..BUFFERS).rev().collect(), tail: 0, lent: 0 };
        this.lend();
        Ok(this)
    }

    /// Lends buffers to the kernel, the one used last first: it is the likeliest to be in the cache.
    fn lend(&mut self) {
        let before = self.tail;
        while self.lent < LENT {
            let Some(buffer) = self.free.pop() else { break };
            self.state[buffer as usize] = Buffer { used: 0, pieces: 0, lent: true };
            let slot = (self.tail & (BUFFERS.next_power_of_two() - 1)) as usize;
            // SAFETY: `slot` is within the ring; the kernel does not read it before the tail passes it.
            let entry = unsafe { &mut *self.entries.add(slot) };
            entry.set_addr(self.memory as u64 + (buffer as usize * BUFFER_SIZE) as u64);
            entry.set_len(BUFFER_SIZE as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            self.lent += 1;
        }
        if before != self.tail {
            // SAFETY: the tail lies in the first entry, aligned for an atomic; the kernel only reads it.
            let tail = unsafe { &*BufRingEntry::tail(self.entries).cast::<AtomicU16>() };
            tail.store(self.tail, Ordering::Release);
        }
    }

    /// The kernel has written `len` octets after those it wrote before.
    fn cut(&mut self, buffer: u16, len: u32) -> Piece {
        let state = &mut self.state[buffer as usize];
        let at = state.used;
        state.used += len;
        state.pieces += 1;
        if state.used as usize == BUFFER_SIZE {
            state.lent = false;
            self.lent -= 1;
        }
        Piece { buffer, at, len }
    }

    fn release(&mut self, buffer: u16) {
        let state = &mut self.state[buffer as usize];
        state.pieces -= 1;
        if state.pieces == 0 && !state.lent {
            self.free.push(buffer);
        }
    }

    fn address(&self, piece: &Piece) -> *const u8 {
        self.memory.wrapping_add(piece.buffer as usize * BUFFER_SIZE + piece.at as usize)
    }
}

fn map(len: usize) -> io::Result<*mut u8> {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new anonymous mapping, which touches no memory that exists.
    let memory = unsafe { libc::mmap(ptr::null_mut(), len, access, flags, -1, 0) };
    if memory == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(memory.cast()) }
}
