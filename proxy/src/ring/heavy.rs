//! Work that takes long, a share of it in each turn of the loop: whatever else waits for the loop does not wait for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use super::runtime::with;

/// Work of one turn, in octets through a coder: about half a millisecond of it.
const TURN: usize = 32 << 10;
/// What the least piece of work counts for: setting a coder up has its price.
const LEAST: usize = 2 << 10;

/// What is left of this turn's share, and who waits for the next turns, in order.
pub(super) struct Heavy {
    left: Cell<usize>,
    waiting: RefCell<VecDeque<Waiting>>,
    /// Those who have waited and need not wait any more: the ticket of the first one waiting.
    first: Cell<u64>,
}

struct Waiting {
    octets: usize,
    waker: Waker,
}

/// Waits for a turn of the loop that has room for work on so many octets. Work that began in this turn may be all that
/// it has room for: then it is the next turn, and the kernel is looked at before.
pub async fn heavy(octets: usize) {
    let octets = octets.max(LEAST);
    let mut ticket = None;
    poll_fn(|context| with(|driver| driver.heavy.poll(&mut ticket, octets, context))).await;
}

impl Heavy {
    pub(super) fn new() -> Self {
        Self { left: Cell::new(TURN), waiting: RefCell::default(), first: Cell::new(0) }
    }

    /// Nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Forgets who waits.
    pub(super) fn clear(&self) {
        let waiting = self.waiting.take();
        self.first.set(self.first.get() + waiting.len() as u64);
    }

    /// A turn begins.
    pub(super) fn renew(&self) {
        self.left.set(TURN);
        while self.left.get() > 0 {
            let Some(next) = self.waiting.borrow_mut().pop_front() else { return };
            self.first.set(self.first.get() + 1);
            self.left.set(self.left.get().saturating_sub(next.octets));
            next.waker.wake();
        }
    }

    fn poll(&self, ticket: &mut Option<u64>, octets: usize, context: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.borrow_mut();
        let Some(ticket) = *ticket else {
            if waiting.is_empty() && self.left.get() > 0 {
                self.left.set(self.left.get().saturating_sub(octets));
                return Poll::Ready(());
            }
            *ticket = Some(self.first.get() + waiting.len() as u64);
            waiting.push_back(Waiting { octets, waker: context.waker().clone() });
            return Poll::Pending;
        };
        let Some(place) = ticket.checked_sub(self.first.get()) else { return Poll::Ready(()) };
        if let Some(own) = usize::try_from(place).ok().and_then(|place| waiting.get_mut(place)) {
            own.waker.clone_from(context.waker());
        }
        Poll::Pending
    }
}
