//! The interface, before its parts stand.
#![allow(clippy::unimplemented, clippy::unused_async, unused_variables)]

use super::{Chunk, SendBuf};
use crate::base::Instant;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::rc::Rc;

/// Sizes of a runtime.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Entries of the submission queue, a power of two.
    pub entries: u32,
    /// Entries of the completion queue, a power of two.
    pub cq_entries: u32,
    /// Octets of one receive buffer.
    pub buffer_size: u32,
    /// Most receive buffers; they are made when needed.
    pub buffers_max: u16,
    /// Octets of one buffer of the reserve, which serves when the others are all taken.
    pub reserve_size: u32,
    /// Buffers of the reserve.
    pub reserve_max: u16,
    /// Octets that may wait in one socket before its receive pauses.
    pub recv_cap: u32,
}
impl Default for Settings {
    fn default() -> Self {
        Self {
            entries: 1024,
            cq_entries: 8192,
            buffer_size: 128 << 10,
            buffers_max: 512,
            reserve_size: 16 << 10,
            reserve_max: 256,
            recv_cap: 256 << 10,
        }
    }
}

/// One thread's runtime.
pub struct Runtime(PhantomData<Rc<()>>);
impl Runtime {
    /// Sets up the ring. [`forbidden`] tells an error that means "io_uring may not be used here".
    pub fn new(settings: Settings) -> io::Result<Self> {
        unimplemented!()
    }
    /// Drives everything until `main` is done, then cancels what is left: no task, operation or buffer remains.
    pub fn run<F: Future>(&mut self, main: F) -> F::Output {
        unimplemented!()
    }
}
/// Whether [`Runtime::new`] failed because the machine forbids io_uring (sysctl, seccomp, missing support).
pub fn forbidden(error: &io::Error) -> bool {
    unimplemented!()
}
/// Starts a detached task on this worker. A panic in it ends the task, is counted, and nothing else.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    unimplemented!()
}
/// The time at which this turn of the loop began: no clock is read.
pub fn now() -> Instant {
    unimplemented!()
}
/// A handle by which other threads wake this worker.
pub fn remote() -> Remote {
    unimplemented!()
}
/// The runtime's counters and gauges.
pub fn stats() -> Rc<Stats> {
    unimplemented!()
}
/// Lets other tasks run once.
pub async fn yield_now() {
    unimplemented!()
}

/// Wakes a worker's loop from any thread.
#[derive(Clone)]
pub struct Remote(());
impl Remote {
    /// Ends the worker's wait, if it waits.
    pub fn wake(&self) {
        unimplemented!()
    }
}

/// The receiving end of a bounded queue onto this worker.
pub struct Mailbox<T>(PhantomData<(T, Rc<()>)>);
impl<T: Send> Mailbox<T> {
    /// A queue of at most `capacity` messages.
    pub fn new(capacity: usize) -> (Self, Sender<T>) {
        unimplemented!()
    }
    /// The next message.
    pub async fn recv(&self) -> T {
        unimplemented!()
    }
    /// The next message, if one is here.
    pub fn try_recv(&self) -> Option<T> {
        unimplemented!()
    }
}
/// The sending end: any thread, any number of them.
pub struct Sender<T>(PhantomData<T>);
impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        unimplemented!()
    }
}
impl<T: Send> Sender<T> {
    /// Puts a message in, or gives it back if the queue is full.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        unimplemented!()
    }
}

/// Where to connect.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Endpoint {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A stream socket in the file system.
    Unix(PathBuf),
}

/// Connects; dropping the future abandons the attempt and closes its descriptor. TCP_NODELAY is set.
pub async fn connect(endpoint: &Endpoint) -> io::Result<Socket> {
    unimplemented!()
}

/// A connected stream. Dropping it cancels what is in flight and closes it once that has ended.
pub struct Socket(PhantomData<Rc<()>>);
impl Socket {
    /// Adopts a connected stream.
    pub fn from_fd(fd: OwnedFd) -> Self {
        unimplemented!()
    }
    /// The next received octets, `None` at the peer's end of stream.
    pub async fn recv(&self) -> io::Result<Option<Chunk>> {
        unimplemented!()
    }
    /// What [`Socket::recv`] would return at once.
    pub fn try_recv(&self) -> Option<io::Result<Option<Chunk>>> {
        unimplemented!()
    }
    /// Puts octets back in front of what was received.
    pub fn unread(&self, octets: Chunk) {
        unimplemented!()
    }
    /// Nothing waits to be received, not even the end or an error.
    pub fn is_quiet(&self) -> bool {
        unimplemented!()
    }
    /// Sends everything. Dropping the future does not stop the send (a torn message is of no use); dropping the
    /// socket does.
    pub async fn send(&self, octets: SendBuf) -> io::Result<()> {
        unimplemented!()
    }
    /// Starts a send after those already started; its failure shows in the next [`Socket::flush`] or send.
    pub fn begin_send(&self, octets: SendBuf) {
        unimplemented!()
    }
    /// Waits until all that was started is sent.
    pub async fn flush(&self) -> io::Result<()> {
        unimplemented!()
    }
    /// Octets given to [`Socket::begin_send`] or [`Socket::send`] that the kernel has not taken yet.
    pub fn unsent(&self) -> usize {
        unimplemented!()
    }
    /// Octets the kernel has taken so far, counted when a send ends.
    pub fn sent(&self) -> u64 {
        unimplemented!()
    }
    /// Octets received so far.
    pub fn received(&self) -> u64 {
        unimplemented!()
    }
    /// Octets the peer acknowledged, by TCP_INFO (a system call: for a timer that asks whether a send moves at all).
    pub fn acknowledged(&self) -> Option<u64> {
        unimplemented!()
    }
    /// Limits what may wait in this socket before its receive pauses.
    pub fn set_recv_cap(&self, octets: u32) {
        unimplemented!()
    }
    /// Shuts one or both directions.
    pub async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        unimplemented!()
    }
    /// Lets the close reset the connection.
    pub fn set_linger_reset(&self) {
        unimplemented!()
    }
    /// The peer's address; `None` on a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        unimplemented!()
    }
    /// The local address; `None` on a Unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        unimplemented!()
    }
    /// SO_COOKIE.
    pub fn cookie(&self) -> u64 {
        unimplemented!()
    }
}
impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        unimplemented!()
    }
}

/// A listening socket.
pub struct Listener(PhantomData<Rc<()>>);
impl Listener {
    /// Adopts a listening descriptor (TCP or Unix).
    pub fn from_fd(fd: OwnedFd) -> Self {
        unimplemented!()
    }
    /// The next connection. Shortage of descriptors is waited out, and counted.
    pub async fn accept(&self) -> io::Result<Socket> {
        unimplemented!()
    }
    /// Stops accepting: what was accepted already is still handed out, then `accept` fails with `NotConnected`.
    pub fn stop(&self) {
        unimplemented!()
    }
}

/// A deadline of one task; [`Timer::set`] is a store, whatever was set before.
pub struct Timer(PhantomData<Rc<()>>);
impl Timer {
    /// A timer without a deadline.
    pub fn new() -> Self {
        unimplemented!()
    }
    /// Moves, sets or clears the deadline.
    pub fn set(&self, deadline: Option<Instant>) {
        unimplemented!()
    }
    /// The deadline.
    pub fn deadline(&self) -> Option<Instant> {
        unimplemented!()
    }
    /// Waits for the deadline, for ever while there is none.
    pub async fn expired(&self) {
        unimplemented!()
    }
    /// Runs `work` until it ends or the deadline passes.
    pub async fn race<F: Future>(&self, work: F) -> Result<F::Output, Elapsed> {
        unimplemented!()
    }
}
impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}
/// The deadline passed first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

/// Waits until `deadline`.
pub async fn sleep_until(deadline: Instant) {
    unimplemented!()
}

/// A condition that tasks of this worker wait for and another task announces.
#[derive(Clone)]
pub struct Event(PhantomData<Rc<()>>);
impl Event {
    /// An event nobody has announced.
    pub fn new() -> Self {
        unimplemented!()
    }
    /// Wakes all who wait now; if nobody does, the next wait returns at once.
    pub fn notify(&self) {
        unimplemented!()
    }
    /// Waits for an announcement.
    pub async fn wait(&self) {
        unimplemented!()
    }
}
impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

/// The result of the future that ended first.
#[derive(Debug)]
pub enum Either<A, B> {
    /// The first one.
    Left(A),
    /// The second one.
    Right(B),
}
/// Polls both, the first one first, and returns the result of the one that ends first.
pub async fn select2<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    unimplemented!()
}

/// What the runtime counts; cumulative but for those said to be gauges.
#[derive(Default, Debug)]
pub struct Stats {
    /// Turns of the loop.
    pub turns: Cell<u64>,
    /// Completions seen.
    pub completions: Cell<u64>,
    /// Times the submission queue was full and had to be flushed within a turn.
    pub sq_full: Cell<u64>,
    /// Turns that found the completion queue overflown.
    pub cq_overflow: Cell<u64>,
    /// Receives that ended for want of a buffer.
    pub enobufs: Cell<u64>,
    /// Receives paused because their socket held its cap.
    pub recv_paused: Cell<u64>,
    /// Accepts that ended for want of a descriptor.
    pub emfile: Cell<u64>,
    /// Tasks that panicked.
    pub panics: Cell<u64>,
    /// Gauge: operations the kernel holds.
    pub ops: Cell<u64>,
    /// Gauge: tasks alive.
    pub tasks: Cell<u64>,
    /// Gauge: sockets open.
    pub sockets: Cell<u64>,
    /// Gauge: receive buffers that hold octets somebody still reads or sends.
    pub buffers_out: Cell<u64>,
    /// Gauge: octets of memory behind receive buffers.
    pub buffer_memory: Cell<u64>,
}
