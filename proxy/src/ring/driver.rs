//! The driver: one ring, the operations it works on, the buffers it fills, and the loop's clock.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use io_uring::squeue;

use super::executor::Executor;
use super::heavy::Heavy;
use super::listener::Acceptor;
use super::op;
use super::op::send::Transmit;
use super::ops::{Op, Ops, Token};
use super::remote::Shared;
use super::socket::Stream;
use super::stats::{self, Stats};
use super::timer::Timers;
use crate::base::Instant;

mod buffers;
mod enter;
mod reap;

pub(super) use buffers::Buffers;
pub(super) use enter::Enter;
use enter::clock;

/// Sizes of a runtime.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Entries of the submission queue, a power of two.
    pub entries: u32,
    /// Entries of the completion queue, a power of two.
    pub cq_entries: u32,
    /// Octets of one receive buffer: the most that one receive takes. Small messages share a buffer.
    pub buffer_size: u32,
    /// Most receive buffers.
    pub buffers_max: u16,
    /// Whether messages may share a buffer where the kernel can do it; otherwise small ones have smaller buffers.
    pub incremental: bool,
    /// Octets of one buffer of the reserve, which serves when the others are all taken.
    pub reserve_size: u32,
    /// Most buffers of the reserve.
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
            incremental: true,
            reserve_size: 8 << 10,
            reserve_max: 512,
            recv_cap: 256 << 10,
        }
    }
}

/// Boxes of idle sends kept.
const TRANSMITS_MAX: usize = 256;
/// How long a listener waits that ran out of descriptors, if none is closed here: another process may hold them.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// One thread's driver. Nothing here is held borrowed while code of others runs (a waker, a drop).
pub(super) struct Driver {
    pub(super) enter: Enter,
    pub(super) settings: Settings,
    /// What the submission queue did not take.
    spill: RefCell<VecDeque<squeue::Entry>>,
    ops: RefCell<Ops>,
    pub(super) buffers: Buffers,
    /// Sockets whose receive ended for want of a buffer, the longest waiting first.
    starved: RefCell<VecDeque<Rc<Stream>>>,
    /// Listeners that wait for a descriptor.
    exhausted: RefCell<Vec<Rc<Acceptor>>>,
    /// When they try again, unless a descriptor is closed before.
    accept_again: Cell<Option<Instant>>,
    #[expect(clippy::vec_box, reason = "they move between this and sockets while the kernel has their address")]
    transmits: RefCell<Vec<Box<Transmit>>>,
    pub(super) timers: Timers,
    pub(super) executor: Executor,
    pub(super) heavy: Heavy,
    pub(super) shared: Arc<Shared>,
    now: Cell<Instant>,
    /// Completions that a wait gathers, if they come soon.
    gather: Cell<usize>,
    trimmed: Cell<Instant>,
    /// Whether the kernel limits a multishot receive by itself (6.17), so that none needs to be cancelled.
    pub(super) recv_limit: Cell<bool>,
    /// Whether everything in flight is to end.
    ending: Cell<bool>,
    pub(super) stats: Rc<Stats>,
}

/// Exchanges in progress for each completion that a wait gathers, and how many it gathers at most.
const BUSY_PER_GATHERED: usize = 4;
const GATHERED_MAX: usize = 16;

impl Driver {
    pub(super) fn new(settings: Settings) -> io::Result<Self> {
        let enter = Enter::new(&settings)?;
        let buffers = Buffers::new(enter.submitter(), &settings)?;
        let now = clock();
        let driver = Self {
            spill: RefCell::default(),
            ops: RefCell::default(),
            buffers,
            starved: RefCell::default(),
            exhausted: RefCell::default(),
            accept_again: Cell::new(None),
            transmits: RefCell::default(),
            timers: Timers::new(now),
            executor: Executor::default(),
            heavy: Heavy::new(),
            shared: Arc::new(Shared::new()?),
            now: Cell::new(now),
            gather: Cell::new(1),
            trimmed: Cell::new(now),
            recv_limit: Cell::new(true),
            ending: Cell::new(false),
            stats: Rc::default(),
            enter,
            settings,
        };
        Ok(driver)
    }

    pub(super) fn expect(&self, busy: usize) {
        self.gather.set((busy / BUSY_PER_GATHERED).clamp(1, GATHERED_MAX));
    }

    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Begins a turn: the clock is read, nowhere else.
    pub(super) fn tick(&self) {
        let now = clock();
        self.now.set(now);
        stats::count(&self.stats.turns);
        self.timers.expire(now);
        self.heavy.renew();
        if now.since(self.trimmed.get()).as_secs() >= 1 {
            self.trimmed.set(now);
            self.renew_buffers();
        }
        if self.accept_again.get().is_some_and(|at| at <= now) {
            self.resume_accepts();
        }
    }

    fn renew_buffers(&self) {
        self.buffers.trim();
        self.stats.buffer_memory.set(self.buffers.memory());
    }

    /// Starts an operation: `entry` is built for it, `op` keeps alive what it names.
    pub(super) fn start(&self, entry: squeue::Entry, op: Op) -> Token {
        let token = self.ops.borrow_mut().insert(op);
        self.push(entry.user_data(token.bits()));
        token
    }

    /// Queues an entry; where the queue is full, flushes it first, and keeps the entry back if that fails.
    pub(super) fn push(&self, entry: squeue::Entry) {
        let mut spill = self.spill.borrow_mut();
        if spill.is_empty() {
            if self.enter.push(&entry) {
                return;
            }
            stats::count(&self.stats.sq_full);
            if self.enter.flush().is_ok() && self.enter.push(&entry) {
                return;
            }
        }
        spill.push_back(entry);
    }

    fn push_spilled(&self) {
        let mut spill = self.spill.borrow_mut();
        while spill.front().is_some_and(|entry| self.enter.push(entry)) {
            spill.pop_front();
        }
    }

    /// Operations in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.ops.borrow().len()
    }

    /// Submits, waits (not at all, where `idle` is false) and handles what completed.
    pub(super) fn turn(&self, idle: bool) -> io::Result<()> {
        // Before the wait: what was freed in this turn may be all that a starved socket waits for.
        self.buffers.lend();
        self.feed_starved();
        self.push_spilled();
        let idle = idle && self.spill.borrow().is_empty();
        let timeout = if idle { self.timers.next().map(|next| next.since(self.now())) } else { None };
        let want = if idle { self.gather.get() } else { 0 };
        self.enter.wait(want, timeout)?;
        if self.enter.overflown() {
            stats::count(&self.stats.cq_overflow);
        }
        self.reap();
        self.stats.ops.set(self.in_flight() as u64);
        self.stats.buffers_out.set(self.buffers.read());
        Ok(())
    }

    /// Begins a run.
    pub(super) fn wind_up(&self) {
        self.ending.set(false);
        self.listen_for_wakes();
    }

    pub(super) fn winding_down(&self) -> bool {
        self.ending.get()
    }

    /// Drops every task, cancels every operation, and waits until the kernel has let go of all of them.
    pub(super) fn wind_down(&self) {
        self.ending.set(true);
        self.executor.cancel_all(&self.stats);
        self.heavy.clear();
        drop(std::mem::take(&mut *self.starved.borrow_mut()));
        drop(std::mem::take(&mut *self.exhausted.borrow_mut()));
        while self.in_flight() > 0 {
            self.push(op::cancel::everything());
            if self.turn(true).is_err() {
                return;
            }
            self.take_remote();
            self.executor.cancel_all(&self.stats);
        }
    }

    /// Has a socket wait for a buffer.
    pub(super) fn starve(&self, stream: Rc<Stream>) {
        stats::count(&self.stats.enobufs);
        self.starved.borrow_mut().push_back(stream);
    }

    /// Re-arms starved receives: from the main group once it has buffers again, or else from the reserve, whose
    /// buffers are small, so that what flows slowly goes on while what floods waits.
    fn feed_starved(&self) {
        if self.starved.borrow().is_empty() {
            return;
        }
        let Some(group) = self.buffers.ready() else { return };
        let starved = std::mem::take(&mut *self.starved.borrow_mut());
        for stream in starved {
            stream.feed(self, group);
        }
    }

    /// Keeps a listener until a descriptor may be free again.
    pub(super) fn exhaust(&self, acceptor: Rc<Acceptor>) {
        stats::count(&self.stats.emfile);
        self.exhausted.borrow_mut().push(acceptor);
        let at = self.now() + ACCEPT_RETRY;
        self.accept_again.set(Some(at));
        self.timers.wake_by(at);
    }

    /// Lets listeners that ran out of descriptors try again.
    fn resume_accepts(&self) {
        if self.accept_again.take().is_some() {
            let all = std::mem::take(&mut *self.exhausted.borrow_mut());
            all.into_iter().for_each(|acceptor| acceptor.arm(self));
        }
    }

    pub(super) fn transmit(&self) -> Box<Transmit> {
        self.transmits.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn keep_transmit(&self, idle: Box<Transmit>) {
        let mut all = self.transmits.borrow_mut();
        if all.len() < TRANSMITS_MAX {
            all.push(idle);
        }
    }
}
