//! Deadlines: to set one is a store; the wheel is told only where it would wake too late.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::runtime::{try_with, with};
use super::wheel::{Entry, Wheel};
use crate::base::Instant;

/// The wheel's tick: 2^20 ns, about a millisecond.
const TICK_BITS: u32 = 20;

/// The wheel of one runtime.
pub(super) struct Timers {
    /// `None` stands for a turn of the loop alone.
    wheel: RefCell<Wheel<Option<Rc<Deadline>>>>,
    due: RefCell<Vec<Rc<Deadline>>>,
}

/// What a timer shares with its entry in the wheel.
struct Deadline {
    at: Cell<Option<Instant>>,
    /// The entry, and the tick at which it expires: not after the deadline, often long before.
    entry: Cell<Option<(Entry, u64)>>,
    waker: RefCell<Option<Waker>>,
    waited_for: Cell<bool>,
}

impl Timers {
    pub(super) fn new(now: Instant) -> Self {
        Self { wheel: RefCell::new(Wheel::new(now.nanos() >> TICK_BITS)), due: RefCell::default() }
    }

    /// When the wheel next has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.wheel.borrow().next_tick().map(|tick| Instant::from_nanos(tick << TICK_BITS))
    }

    /// Has the loop turn at `at`.
    pub(super) fn wake_by(&self, at: Instant) {
        self.wheel.borrow_mut().insert(tick_of(at), None);
    }

    /// Wakes who waits for a deadline that has passed; entries whose deadline was moved meanwhile move after it.
    pub(super) fn expire(&self, now: Instant) {
        let tick = now.nanos() >> TICK_BITS;
        if self.wheel.borrow().next_tick().is_none_or(|next| next > tick) {
            return;
        }
        let mut due = self.due.take();
        self.wheel.borrow_mut().advance(tick, |deadline| due.extend(deadline));
        for deadline in due.drain(..) {
            deadline.entry.set(None);
            match deadline.at.get() {
                Some(at) if at > now => self.enter(&deadline, at),
                Some(_) => deadline.wake(),
                None => {}
            }
        }
        self.due.replace(due);
    }

    /// Makes the wheel wake at `at` or before.
    fn enter(&self, deadline: &Rc<Deadline>, at: Instant) {
        let tick = tick_of(at);
        match deadline.entry.get() {
            Some((_, expires)) if expires <= tick => return,
            Some((entry, _)) => drop(self.wheel.borrow_mut().remove(entry)),
            None => {}
        }
        let entry = self.wheel.borrow_mut().insert(tick, Some(Rc::clone(deadline)));
        deadline.entry.set(Some((entry, tick)));
    }

    fn leave(&self, deadline: &Deadline) {
        if let Some((entry, _)) = deadline.entry.take() {
            drop(self.wheel.borrow_mut().remove(entry));
        }
    }

    /// Entries, those whose deadline was cleared included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.wheel.borrow().len()
    }
}

/// The first tick at which `at` has passed.
fn tick_of(at: Instant) -> u64 {
    at.nanos().div_ceil(1 << TICK_BITS)
}

impl Deadline {
    fn wake(&self) {
        if self.waited_for.take()
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    fn passed(&self) -> bool {
        self.at.get().is_some_and(|at| at <= with(|driver| driver.now()))
    }

    fn wait(&self, context: &Context<'_>) {
        self.waited_for.set(true);
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }
}

/// A deadline of one task, accurate to about a millisecond, never early. [`Timer::set`] is a store in most cases,
/// whatever was set before: one timer serves a connection for all its requests.
pub struct Timer(Rc<Deadline>);

impl Timer {
    /// A timer without a deadline.
    pub fn new() -> Self {
        let (at, entry) = (Cell::new(None), Cell::new(None));
        Self(Rc::new(Deadline { at, entry, waker: RefCell::default(), waited_for: Cell::new(false) }))
    }

    /// Moves, sets or clears the deadline, also of a wait that has begun.
    pub fn set(&self, deadline: Option<Instant>) {
        self.0.at.set(deadline);
        if let Some(at) = deadline {
            with(|driver| driver.timers.enter(&self.0, at));
        }
    }

    /// [`Timer::set`], counted from this turn.
    pub fn set_after(&self, after: Duration) {
        self.set(Some(with(|driver| driver.now()) + after));
    }

    /// The deadline.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.at.get()
    }

    /// Waits for the deadline, for ever while there is none.
    pub async fn expired(&self) {
        poll_fn(|context| {
            if self.0.passed() {
                return Poll::Ready(());
            }
            self.0.wait(context);
            Poll::Pending
        })
        .await;
    }

    /// Runs `work` until it ends or the deadline passes; work that can end, ends, even late.
    pub async fn race<F: Future>(&self, work: F) -> Result<F::Output, Elapsed> {
        let mut work = pin!(work);
        let result = poll_fn(|context| {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            if self.0.passed() {
                return Poll::Ready(Err(Elapsed));
            }
            self.0.wait(context);
            Poll::Pending
        })
        .await;
        self.0.waited_for.set(false);
        result
    }
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        try_with(|driver| driver.timers.leave(&self.0));
    }
}

/// The deadline passed first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed;

/// Waits until `deadline`.
pub async fn sleep_until(deadline: Instant) {
    let timer = Timer::new();
    timer.set(Some(deadline));
    timer.expired().await;
}
