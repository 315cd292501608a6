//! The line for a group at its limits: FIFO per worker, bounded, and no freed slot is ever lost.
//!
//! [`Line`] decides and is pure; [`Queue`] puts wakers beside it, and a [`Ticket`] is one request's place. A request
//! that finds no slot, or a line, enters; then it awaits its turn and picks, again and again, until it has a slot or its
//! time is over, and drops the ticket. No slot is lost because whoever was called and leaves has another one look, and
//! who looks in vain does not.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::cells::Waiting;

/// Why a request may not wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// `queue_max` requests wait already, or the route lets none wait.
    Full,
}

/// The order of those who wait: places, who has been called, whose turn passes on.
#[derive(Debug, Default)]
pub struct Line {
    places: VecDeque<Place>,
    next: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    number: u64,
    state: Call,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Call {
    /// Not called since it last looked.
    Waits,
    /// A slot came free for it; it has not looked yet.
    Called,
    /// It was told, and looks now.
    Looking,
}

impl Line {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A place at the end, unless `max` wait already. Who enters an empty line is called at once: a slot freed before
    /// it was announced called nobody.
    pub fn enter(&mut self, max: usize) -> Result<u64, Refused> {
        if self.places.len() >= max {
            return Err(Refused::Full);
        }
        let number = self.next;
        self.next += 1;
        let state = if self.places.is_empty() { Call::Called } else { Call::Waits };
        self.places.push_back(Place { number, state });
        Ok(number)
    }

    /// A slot came free: calls the oldest who waits, or has one who looks already look again.
    pub fn call(&mut self) -> Option<u64> {
        let waits = self.places.iter().position(|place| place.state == Call::Waits);
        let at = waits.or_else(|| self.places.iter().position(|place| place.state == Call::Looking))?;
        self.places[at].state = Call::Called;
        Some(self.places[at].number)
    }

    /// Calls everyone.
    pub fn call_all(&mut self) {
        self.places.iter_mut().for_each(|place| place.state = Call::Called);
    }

    /// The holder asks: true if it was called and is to look now. Asking while looking says that it found the slot
    /// taken by another worker: it keeps its place and waits on.
    pub fn look(&mut self, number: u64) -> bool {
        let Some(place) = self.places.iter_mut().find(|place| place.number == number) else { return false };
        let called = place.state == Call::Called;
        place.state = if called { Call::Looking } else { Call::Waits };
        called
    }

    /// Leaves the line. True if it had been called: whether it got its slot or gave up, there may be another free one,
    /// and somebody has to look.
    pub fn leave(&mut self, number: u64) -> bool {
        let Some(at) = self.places.iter().position(|place| place.number == number) else { return false };
        self.places.remove(at).is_some_and(|place| place.state != Call::Waits)
    }
}

/// A slot came free and nobody waits for it here: to be sent to the worker named, for [`super::Balancers::wake`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wake {
    /// To whom.
    pub worker: usize,
    /// Which group: its [`Waiting::id`].
    pub group: u64,
}

/// How a worker reaches the others.
#[derive(Clone)]
pub(super) struct Far(pub(super) Rc<dyn Fn(Wake)>);

impl std::fmt::Debug for Far {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Far")
    }
}

/// One group's line on one worker.
#[derive(Debug)]
pub struct Queue {
    worker: usize,
    waiting: Arc<Waiting>,
    far: Far,
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    line: Line,
    wakers: Vec<(u64, Waker)>,
}

impl Queue {
    pub(super) fn new(worker: usize, waiting: Arc<Waiting>, far: Far) -> Rc<Self> {
        Rc::new(Self { worker, waiting, far, inner: RefCell::default() })
    }

    /// Which group's.
    pub fn waiting(&self) -> &Arc<Waiting> {
        &self.waiting
    }

    /// How many wait here.
    pub fn len(&self) -> usize {
        self.inner.borrow().line.len()
    }

    /// Whether nobody waits here: only then may a newcomer look for a slot before it enters.
    pub fn is_empty(&self) -> bool {
        self.inner.borrow().line.is_empty()
    }

    /// A place at the end. Its holder then awaits [`Ticket::turn`] and picks, again and again.
    pub fn enter(self: &Rc<Self>, max: u32) -> Result<Ticket, Refused> {
        let number = self.inner.borrow_mut().line.enter(max as usize)?;
        self.waiting.announce(self.worker);
        Ok(Ticket { queue: self.clone(), number })
    }

    /// A slot came free: wakes this worker's oldest who has not been called yet; if nobody waits here, another worker's.
    pub fn freed(&self) {
        if self.waiting.total() == 0 {
            return;
        }
        if !self.is_empty() {
            // If all here are called already, they look soon, and each that leaves comes back here: nothing is lost.
            let called = self.inner.borrow_mut().line.call();
            self.wake(called);
        } else if let Some(worker) = self.waiting.heir(self.worker) {
            (self.far.0)(Wake { worker, group: self.waiting.id() });
        }
    }

    /// Everything may have changed (a new epoch): wakes all.
    pub fn call_all(&self) {
        let mut wakers = Vec::new();
        {
            let mut inner = self.inner.borrow_mut();
            inner.line.call_all();
            wakers.append(&mut inner.wakers);
        }
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn wake(&self, number: Option<u64>) {
        // The waker runs after the borrow ends: it may come back here.
        let waker = number.and_then(|number| self.inner.borrow_mut().take_waker(number));
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Inner {
    fn take_waker(&mut self, number: u64) -> Option<Waker> {
        let at = self.wakers.iter().position(|(owner, _)| *owner == number)?;
        Some(self.wakers.remove(at).1)
    }
}

/// One request's place in a line. Dropping it leaves, served or not, and has the next one look.
#[derive(Debug)]
#[must_use = "dropping a ticket leaves the line"]
pub struct Ticket {
    queue: Rc<Queue>,
    number: u64,
}

impl Ticket {
    /// Ready when this request is to pick (again); it may still find the slot taken, and asks again then.
    pub fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.queue.inner.borrow_mut();
        let _stale = inner.take_waker(self.number);
        if inner.line.look(self.number) {
            return Poll::Ready(());
        }
        inner.wakers.push((self.number, cx.waker().clone()));
        Poll::Pending
    }

    /// [`Ticket::poll_turn`] as a future.
    pub async fn turn(&mut self) {
        poll_fn(|cx| self.poll_turn(cx)).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The waker is dropped after the borrow ends, like every other: what it holds may come back here.
        let (_waker, called) = {
            let mut inner = self.queue.inner.borrow_mut();
            (inner.take_waker(self.number), inner.line.leave(self.number))
        };
        self.queue.waiting.withdraw(self.queue.worker);
        if called {
            self.queue.freed();
        }
    }
}

#[cfg(test)]
mod tests;
