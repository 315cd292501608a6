//! Conditions within one worker, and the choice between two futures.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A condition that tasks of this worker wait for and another task announces.
#[derive(Clone, Default)]
pub struct Event(Rc<State>);

#[derive(Default)]
struct State {
    announced: Cell<u64>,
    /// Whether the last announcement found nobody waiting.
    unseen: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
}

impl Event {
    /// An event nobody has announced.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wakes all who wait now; if nobody does, the next wait returns at once.
    pub fn notify(&self) {
        self.0.announced.set(self.0.announced.get() + 1);
        let wakers = self.0.wakers.take();
        self.0.unseen.set(wakers.is_empty());
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits for an announcement.
    pub async fn wait(&self) {
        if self.0.unseen.take() {
            return;
        }
        let seen = self.0.announced.get();
        poll_fn(|context| {
            if self.0.announced.get() != seen {
                return Poll::Ready(());
            }
            let mut wakers = self.0.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
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
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|context| {
        if let Poll::Ready(output) = a.as_mut().poll(context) {
            return Poll::Ready(Either::Left(output));
        }
        b.as_mut().poll(context).map(Either::Right)
    })
    .await
}

/// Lets other tasks run once.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
