//! The executor: tasks of one thread, run in the order in which they were woken.
#![expect(unsafe_code, reason = "tasks are !Send, their wakers are not")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use slab::Slab;

use super::driver::Driver;
use super::remote::Shared;
use super::runtime::{try_with, with};
use super::stats::{self, Stats};

/// A task that is due to run. What it carries tells its wakers, on whatever thread, where it belongs.
pub(super) type Runnable = async_task::Runnable<Arc<Shared>>;

#[derive(Default)]
pub(super) struct Executor {
    due: RefCell<VecDeque<Runnable>>,
    /// Every task that is not done, so that none outlives its runtime.
    tasks: RefCell<Slab<async_task::Task<(), Arc<Shared>>>>,
}

/// Starts a detached task on this worker. A panic in it ends the task, is counted, and nothing else.
///
/// # Panics
/// Outside a runtime's thread.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    with(|driver| driver.executor.spawn(task, driver));
}

impl Executor {
    fn spawn(&self, future: impl Future<Output = ()> + 'static, driver: &Driver) {
        let mut tasks = self.tasks.borrow_mut();
        let slot = tasks.vacant_entry();
        let guard = Guard { key: slot.key() };
        let builder = async_task::Builder::new().metadata(Arc::clone(&driver.shared));
        // SAFETY: the future is 'static but not Send, so it must be run and dropped on this thread: `schedule`
        // queues a runnable here or, from another thread, sends it here, and `Shared` never drops one; `cancel_all`
        // has this thread drop every future before the runtime is gone. `schedule` itself is Send and Sync.
        let (runnable, task) = unsafe { builder.spawn_unchecked(|_| Entered { future, _guard: guard }, schedule) };
        slot.insert(task);
        stats::count(&driver.stats.tasks);
        self.due.borrow_mut().push_back(runnable);
    }

    pub(super) fn push(&self, runnable: Runnable) {
        self.due.borrow_mut().push_back(runnable);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.due.borrow().is_empty()
    }

    /// Runs what is due, and what that makes due, `count` times at most.
    pub(super) fn run(&self, count: usize, stats: &Stats) {
        for _ in 0..count {
            let Some(runnable) = self.due.borrow_mut().pop_front() else { return };
            // The task is closed by the panic, and its future dropped; only what it shared can be half-changed.
            if catch_unwind(AssertUnwindSafe(|| runnable.run())).is_err() {
                stats::count(&stats.panics);
            }
        }
    }

    /// Drops every task's future.
    pub(super) fn cancel_all(&self, stats: &Stats) {
        loop {
            let tasks = self.tasks.take();
            if tasks.is_empty() && self.is_idle() {
                return;
            }
            // Dropping the handle closes the task and makes it due; run once more, it drops its future.
            drop(tasks);
            self.run(usize::MAX, stats);
        }
    }
}

/// Makes a task due, from any thread. Without captures, so that a wake needs no reference of its own to the task.
fn schedule(runnable: Runnable) {
    if runnable.metadata().is_here() {
        with(|driver| driver.executor.push(runnable));
    } else {
        let shared = Arc::clone(runnable.metadata());
        shared.push(runnable);
    }
}

/// A task's future; counts the task as long as it exists.
struct Entered<F> {
    future: F,
    _guard: Guard,
}

struct Guard {
    key: usize,
}

impl<F: Future<Output = ()>> Future for Entered<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: `future` is pinned with `self`; nothing moves it.
        unsafe { self.map_unchecked_mut(|this| &mut this.future) }.poll(context)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        try_with(|driver| {
            stats::discount(&driver.stats.tasks);
            let task = driver.executor.tasks.borrow_mut().try_remove(self.key);
            if let Some(task) = task {
                task.detach();
            }
        });
    }
}
