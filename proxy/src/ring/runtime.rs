//! A thread's runtime: the loop, from set-up to the last completion.
#![expect(unsafe_code, reason = "the thread-local names the driver by its address")]

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::pin;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::driver::{Driver, Settings};
use super::remote::{Remote, Shared};
use super::stats::Stats;
use crate::base::Instant;

/// Tasks run between two looks at the kernel: enough to amortise the call, few enough to keep the clock true.
const TASKS_PER_TURN_MAX: usize = 512;

thread_local! {
    static DRIVER: Cell<*const Driver> = const { Cell::new(ptr::null()) };
}

/// One thread's runtime.
pub struct Runtime {
    driver: Box<Driver>,
    not_send: PhantomData<*const ()>,
}

/// Calls `f` with this thread's driver, if there is one.
pub(super) fn try_with<R>(f: impl FnOnce(&Driver) -> R) -> Option<R> {
    // SAFETY: set by `Runtime::new` to a box that lives until `Runtime::drop` clears it, on the same thread; only
    // shared references are ever made.
    unsafe { DRIVER.get().as_ref() }.map(f)
}

/// Calls `f` with this thread's driver.
pub(super) fn with<R>(f: impl FnOnce(&Driver) -> R) -> R {
    match try_with(f) {
        Some(result) => result,
        None => panic!("no runtime on this thread"),
    }
}

/// The time at which this turn of the loop began: no clock is read.
pub fn now() -> Instant {
    with(Driver::now)
}

/// Says how many exchanges are in progress. With many, the loop lets some completions gather before it wakes: each wake
/// costs more than they do.
pub fn expect(busy: usize) {
    with(|driver| driver.expect(busy));
}

/// A handle by which other threads wake this worker.
pub fn remote() -> Remote {
    with(|driver| Remote::new(Arc::clone(&driver.shared)))
}

/// Octets that may wait in a socket of this worker before its receive pauses, unless it is told otherwise.
pub fn recv_cap() -> u32 {
    with(|driver| driver.settings.recv_cap)
}

/// The runtime's counters and gauges.
pub fn stats() -> Rc<Stats> {
    with(|driver| Rc::clone(&driver.stats))
}

/// Whether [`Runtime::new`] failed because the machine forbids or lacks io_uring: a sysctl, a seccomp filter, an old
/// kernel. Other errors are shortages (memory, descriptors).
pub fn forbidden(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EINVAL))
}

impl Runtime {
    /// Sets up this thread's ring; [`forbidden`] tells why it failed. One runtime per thread.
    pub fn new(settings: Settings) -> io::Result<Self> {
        if !DRIVER.get().is_null() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let driver = Box::new(Driver::new(settings)?);
        DRIVER.set(&raw const *driver);
        Ok(Self { driver, not_send: PhantomData })
    }

    /// Drives everything until `main` is done, then drops the tasks that are left and waits for what is in flight:
    /// no task, no operation and (once the caller drops what it holds) no buffer remains.
    ///
    /// # Panics
    /// When the kernel refuses the ring itself, which leaves nothing to go on with.
    pub fn run<F: Future>(&mut self, main: F) -> F::Output {
        let driver = &*self.driver;
        driver.wind_up();
        let output = drive(driver, main);
        driver.wind_down();
        output
    }
}

/// The loop; `main` is dropped when it is left.
fn drive<F: Future>(driver: &Driver, main: F) -> F::Output {
    let signal = Arc::new(Main { woken: AtomicBool::new(true), shared: Arc::clone(&driver.shared) });
    let waker = Waker::from(Arc::clone(&signal));
    let mut main = pin!(main);
    loop {
        driver.tick();
        driver.executor.run(TASKS_PER_TURN_MAX, &driver.stats);
        if signal.woken.swap(false, Ordering::Acquire)
            && let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker))
        {
            return output;
        }
        let idle = driver.executor.is_idle() && !signal.woken.load(Ordering::Acquire);
        driver.turn(idle).expect("the kernel refused io_uring_enter");
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.driver.wind_down();
        self.driver.shared.close();
        DRIVER.set(ptr::null());
    }
}

/// Wakes the main future.
struct Main {
    woken: AtomicBool,
    shared: Arc<Shared>,
}

impl Wake for Main {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        if !self.shared.is_here() {
            self.shared.wake();
        }
    }
}
