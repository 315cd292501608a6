//! When the next request is due, and whether there is one.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Gives out requests to the connections of one executor.
pub(crate) struct Pace {
    start: Instant,
    deadline: Instant,
    left: Cell<Option<u64>>,
    issued: Cell<u64>,
    /// Between intended times; `None` in a closed loop.
    interval: Option<f64>,
}

impl Pace {
    pub(crate) fn new(start: Instant, limit: Duration, requests: Option<u64>, rate: Option<f64>) -> Self {
        Self {
            start,
            deadline: start + limit,
            left: Cell::new(requests),
            issued: Cell::new(0),
            interval: rate.map(f64::recip),
        }
    }

    /// Takes the next request: when it is meant to leave. `None` if there is no more.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        if now >= self.deadline || self.left.get() == Some(0) {
            return None;
        }
        let due = match self.interval {
            None => now,
            Some(interval) => self.start + Duration::from_secs_f64(interval * self.issued.get() as f64),
        };
        if due >= self.deadline {
            return None;
        }
        self.left.set(self.left.get().map(|left| left - 1));
        self.issued.set(self.issued.get() + 1);
        Some(due)
    }

    /// Requests given out so far.
    pub(crate) fn issued(&self) -> u64 {
        self.issued.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_loop_keeps_its_schedule_however_late_it_is_asked() {
        let start = Instant::now();
        let pace = Pace::new(start, Duration::from_secs(1), None, Some(100.0));
        let late = start + Duration::from_millis(500);
        let due: Vec<_> = (0..3).filter_map(|_| pace.next(late)).map(|due| (due - start).as_millis()).collect();
        assert_eq!(due, [0, 10, 20]);
    }

    #[test]
    fn a_count_is_exact_and_time_ends_it() {
        let start = Instant::now();
        let pace = Pace::new(start, Duration::from_secs(1), Some(2), None);
        assert!(pace.next(start).is_some() && pace.next(start).is_some() && pace.next(start).is_none());
        let pace = Pace::new(start, Duration::from_secs(1), None, None);
        assert!(pace.next(start + Duration::from_secs(1)).is_none());
        assert_eq!(pace.issued(), 0);
    }
}
