//! Where requests of a leaky bucket wait for their time: a count of places, so that waiting stays bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Requests of one rule that may wait at once, on all workers.
const WAITING_MAX: u32 = 10_000;

/// One rule's places.
#[derive(Default, Debug)]
pub(super) struct WaitingRoom {
    waiting: AtomicU32,
}

impl WaitingRoom {
    /// A place, if there is one.
    pub(super) fn enter(self: &Arc<Self>, time: Duration) -> Option<Wait> {
        let entered = |waiting: u32| (waiting < WAITING_MAX).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, entered).ok()?;
        Some(Wait { time, room: self.clone() })
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A wait, and the place in which it is spent: held until the request goes on, dropped at once if nothing waits.
#[derive(Debug)]
pub struct Wait {
    /// How long.
    pub time: Duration,
    room: Arc<WaitingRoom>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.room.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
