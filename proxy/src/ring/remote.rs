//! What other threads may touch of a worker: wakes, due tasks, mailboxes.
#![expect(unsafe_code, reason = "the eventfd is read and written by address")]

use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use crossbeam_queue::ArrayQueue;
use io_uring::opcode;
use io_uring::types::Fd;

use super::driver::Driver;
use super::executor::Runnable;
use super::ops::Op;
use super::runtime::try_with;

/// The part of a runtime that its wakers share.
pub(super) struct Shared {
    eventfd: OwnedFd,
    /// Where the ring's read of the eventfd puts its count.
    count: AtomicU64,
    /// Whether the eventfd was written since the worker last looked.
    notified: AtomicBool,
    /// Tasks made due by other threads; `None` once the runtime is gone.
    due: Mutex<Option<Vec<Runnable>>>,
}

impl Shared {
    pub(super) fn new() -> io::Result<Self> {
        // Blocking, because the ring answers a descriptor that must not block at once, with EAGAIN.
        // SAFETY: a plain system call.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and owned by nobody else.
        let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
        let due = Mutex::new(Some(Vec::new()));
        Ok(Self { eventfd, count: AtomicU64::new(0), notified: AtomicBool::new(false), due })
    }

    /// Whether this thread is the worker.
    pub(super) fn is_here(&self) -> bool {
        try_with(|driver| ptr::eq(self, &*driver.shared)).unwrap_or(false)
    }

    pub(super) fn wake(&self) {
        if !self.notified.swap(true, Ordering::AcqRel) {
            let one = 1_u64;
            // SAFETY: reads eight octets of `one`. The counter cannot overflow: the worker resets it for each write.
            unsafe { libc::write(self.eventfd.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
        }
    }

    pub(super) fn push(&self, runnable: Runnable) {
        match &mut *self.due.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(due) => due.push(runnable),
            // Its future is gone with the runtime; to drop the rest here would be wrong, and it is all that leaks.
            None => return mem::forget(runnable),
        }
        self.wake();
    }

    fn take(&self) -> Vec<Runnable> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.as_mut().map(mem::take).unwrap_or_default()
    }

    /// Takes no more tasks.
    pub(super) fn close(&self) {
        let left = self.due.lock().unwrap_or_else(PoisonError::into_inner).take();
        left.into_iter().flatten().for_each(mem::forget);
    }
}

impl Driver {
    /// Keeps one read of the eventfd in flight. `shared` outlives the ring's operations, as the driver owns both.
    pub(super) fn listen_for_wakes(&self) {
        let to = self.shared.count.as_ptr().cast();
        let entry = opcode::Read::new(Fd(self.shared.eventfd.as_raw_fd()), to, size_of::<u64>() as u32).build();
        self.start(entry, Op::Wake);
    }

    /// Another thread wrote the eventfd (or the read was cancelled at the runtime's end).
    pub(super) fn woken(&self) {
        // First, so that whoever comes from here on writes again.
        self.shared.notified.store(false, Ordering::Release);
        self.take_remote();
        if !self.winding_down() {
            self.listen_for_wakes();
        }
    }

    pub(super) fn take_remote(&self) {
        self.shared.take().into_iter().for_each(|runnable| self.executor.push(runnable));
    }
}

/// Wakes a worker's loop from any thread.
#[derive(Clone)]
pub struct Remote(Arc<Shared>);

impl Remote {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Ends the worker's wait, if it waits.
    pub fn wake(&self) {
        self.0.wake();
    }
}

/// The receiving end of a bounded queue onto this worker.
pub struct Mailbox<T> {
    letters: Arc<Letters<T>>,
    not_send: PhantomData<Rc<()>>,
}

/// The sending end: any thread, any number of them.
pub struct Sender<T>(Arc<Letters<T>>);

struct Letters<T> {
    queue: ArrayQueue<T>,
    waker: Mutex<Option<Waker>>,
}

impl<T: Send> Mailbox<T> {
    /// A queue of at most `capacity` messages (at least one).
    pub fn new(capacity: usize) -> (Self, Sender<T>) {
        let letters = Arc::new(Letters { queue: ArrayQueue::new(capacity.max(1)), waker: Mutex::default() });
        (Self { letters: Arc::clone(&letters), not_send: PhantomData }, Sender(letters))
    }

    /// The next message.
    pub async fn recv(&self) -> T {
        poll_fn(|context| {
            if let Some(message) = self.try_recv() {
                return Poll::Ready(message);
            }
            *self.letters.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
            // A sender that came before the waker was in place has woken nobody.
            self.try_recv().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The next message, if one is here.
    pub fn try_recv(&self) -> Option<T> {
        self.letters.queue.pop()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send> Sender<T> {
    /// Puts a message in, or gives it back if the queue is full.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        self.0.queue.push(message)?;
        let waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }
}
