//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// How long anything may take that should be immediate: generous, because test machines are busy.
pub const SOON: Duration = Duration::from_secs(10);

/// Polls `condition` until it holds. Panics with `what` after [`SOON`].
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(SOON, what, condition);
}

/// Polls `condition` until it holds. Panics with `what` after `limit`.
#[track_caller]
pub fn until_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    assert!(holds_within(limit, &mut condition), "not within {limit:?}: {what}");
}

/// Polls `condition` until it holds, for at most `limit`; says whether it did.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Polls `attempt` until it gives a value. Panics with `what` after [`SOON`].
#[track_caller]
pub fn value<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    until(what, || {
        found = attempt();
        found.is_some()
    });
    found.expect("the condition held")
}
