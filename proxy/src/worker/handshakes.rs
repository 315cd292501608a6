//! TLS handshakes under way on one worker: so many, and more wait in line, unread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::base::Instant;
use crate::ring::{self, yield_now};

/// Handshakes that make keys and sign within one turn of the loop: each takes as long as dozens of requests, and those
/// of other connections have their turns between.
const PER_TURN_MAX: u32 = 4;

/// Counts handshakes.
#[derive(Default)]
pub struct Handshakes {
    under_way: Cell<u64>,
    line: RefCell<VecDeque<Rc<Seat>>>,
    /// The last turn in which one has made its keys, and how many have.
    turn: Cell<(Instant, u32)>,
}

/// A place in the line.
#[derive(Default)]
struct Seat {
    /// Its handshake counts as under way.
    called: Cell<bool>,
    /// Nobody waits there any more.
    left: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// A handshake under way; it ends when this is dropped.
#[must_use = "dropping it ends the handshake"]
pub struct UnderWay<'h>(&'h Handshakes);

/// Who waits in line. Leaves it when dropped, whether or not called by then.
struct Waiting<'h> {
    handshakes: &'h Handshakes,
    seat: Rc<Seat>,
}

impl Handshakes {
    /// Begins one if fewer than `max` are under way and nobody waits.
    pub fn try_begin(&self, max: u64) -> Option<UnderWay<'_>> {
        let free = self.under_way.get() < max && self.line.borrow().is_empty();
        free.then(|| {
            self.under_way.set(self.under_way.get() + 1);
            UnderWay(self)
        })
    }

    /// Waits in line to begin one.
    pub async fn begin(&self) -> UnderWay<'_> {
        let waiting = Waiting { handshakes: self, seat: Rc::default() };
        self.line.borrow_mut().push_back(waiting.seat.clone());
        poll_fn(|context| {
            if waiting.seat.called.get() {
                return Poll::Ready(());
            }
            waiting.seat.waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
        // What was counted for the seat is from here on counted for the handshake.
        waiting.seat.called.set(false);
        UnderWay(self)
    }

    /// Waits for a turn of the loop in which not too many have made their keys.
    pub async fn turn(&self) {
        loop {
            let now = ring::now();
            let (turn, count) = self.turn.get();
            if turn != now {
                self.turn.set((now, 1));
                return;
            }
            if count < PER_TURN_MAX {
                self.turn.set((turn, count + 1));
                return;
            }
            yield_now().await;
        }
    }

    fn end(&self) {
        while let Some(next) = self.line.borrow_mut().pop_front() {
            if next.left.get() {
                continue;
            }
            next.called.set(true);
            if let Some(waker) = next.waker.take() {
                waker.wake();
            }
            return;
        }
        self.under_way.set(self.under_way.get() - 1);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.seat.left.set(true);
        if self.seat.called.get() {
            self.handshakes.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    #[test]
    fn those_who_wait_begin_in_order_and_who_leaves_frees_the_place() {
        let handshakes = Handshakes::default();
        let first = handshakes.try_begin(2).expect("free");
        let second = handshakes.try_begin(2).expect("free");
        assert!(handshakes.try_begin(2).is_none());
        let mut context = Context::from_waker(Waker::noop());
        let mut third = Box::pin(handshakes.begin());
        let mut fourth = Box::pin(handshakes.begin());
        let mut fifth = pin!(handshakes.begin());
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert!(fourth.as_mut().poll(&mut context).is_pending());
        assert!(fifth.as_mut().poll(&mut context).is_pending());
        drop(first);
        drop(fourth);
        // Called, and gone before it could begin: the fifth has its place.
        drop(third);
        assert!(fifth.as_mut().poll(&mut context).is_ready());
        drop(second);
        assert_eq!(handshakes.under_way.get(), 0);
        assert!(handshakes.try_begin(1).is_some());
    }
}
