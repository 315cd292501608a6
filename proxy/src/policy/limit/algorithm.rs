//! What an algorithm is: a key's state, how it begins, and what a request does to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::wait::Wait;

/// What became of a request at a rate limit.
#[derive(Debug)]
pub enum Charge {
    /// Charged: it goes on.
    Admitted(Standing),
    /// Charged: it goes on after a wait.
    Delayed(Standing, Wait),
    /// Not charged: it ends here.
    Denied {
        /// After this time a request of the key is admitted, if no other comes before it.
        retry_after: Duration,
    },
}

/// What is left to a key after a charge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Requests that would be admitted right now.
    pub remaining: u64,
    /// Until all that there may be is left, or until the window ends.
    pub reset: Duration,
}

/// How a key's state begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// Nothing charged.
    Fresh,
    /// Half charged: the successor of a key that was still in use, so that many new keys do not each bring a whole burst.
    Half,
}

/// One of the four.
pub(super) trait Algorithm {
    /// A key's state; as it is made, nothing is charged.
    type Cell: Default;

    /// Sets the state of a key that was not there.
    fn begin(&self, cell: &Self::Cell, start: Start, now: u64);

    /// Charges one request. `None`: `held` said that the cell is no longer the key's, and nothing was charged.
    fn charge(&self, cell: &Self::Cell, now: u64, held: impl Fn() -> bool) -> Option<Charge>;
}

/// What a request does to a state of one word.
pub(super) enum Step {
    /// The state is to become this.
    To(u64, Charge),
    /// It stays.
    Stay(Charge),
}

/// Changes a word by compare-exchange: each step is made from the state that it replaces, so none is lost or made twice.
pub(super) fn exchange(word: &AtomicU64, held: impl Fn() -> bool, step: impl Fn(u64) -> Step) -> Option<Charge> {
    let mut state = word.load(Ordering::Relaxed);
    loop {
        let (next, charge) = match step(state) {
            Step::To(next, charge) => (next, charge),
            Step::Stay(charge) => return Some(charge),
        };
        match word.compare_exchange_weak(state, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some(charge),
            Err(_) if !held() => return None,
            Err(other) => state = other,
        }
    }
}
