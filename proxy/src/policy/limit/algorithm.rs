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
        /// Whether for want of room, for its key or to wait, and not because too many came.
        full: bool,
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
pub(in crate::policy) enum Start {
    /// Nothing charged.
    Fresh,
    /// Half charged: the successor of a key that was still in use, so that many new keys do not each bring a whole burst.
    Half,
}

impl Charge {
    /// One too many.
    pub(super) fn denied(retry_after_ns: u64) -> Self {
        Self::Denied { retry_after: Duration::from_nanos(retry_after_ns), full: false }
    }
}

/// What happens to the state of one key.
pub(in crate::policy) trait Algorithm {
    /// A key's state; as it is made, nothing is charged.
    type Cell: Default;
    /// What a charge comes to.
    type Outcome;

    /// Sets the state of a key that was not there.
    fn begin(&self, cell: &Self::Cell, start: Start, now: u64);

    /// Charges one request. `None`: `held` said that the cell is no longer the key's, and nothing was charged.
    fn charge(&self, cell: &Self::Cell, now: u64, held: impl Fn() -> bool) -> Option<Self::Outcome>;
}

/// What a request does to a state of one word.
pub(in crate::policy) enum Step<T> {
    /// The state is to become this.
    To(u64, T),
    /// It stays.
    Stay(T),
}

/// Changes a word by compare-exchange: each step is made from the state that it replaces, so none is lost or made twice.
pub(in crate::policy) fn exchange<T>(
    word: &AtomicU64,
    held: impl Fn() -> bool,
    step: impl Fn(u64) -> Step<T>,
) -> Option<T> {
    let mut state = word.load(Ordering::Relaxed);
    loop {
        let (next, outcome) = match step(state) {
            Step::To(next, outcome) => (next, outcome),
            Step::Stay(outcome) => return Some(outcome),
        };
        match word.compare_exchange_weak(state, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some(outcome),
            Err(_) if !held() => return None,
            Err(other) => state = other,
        }
    }
}
