//! Wall time derived from the worker's monotonic clock, and the Date header's text, refreshed a few times a second.

use std::cell::{Cell, RefCell};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::base::Instant;

/// Wall time as an offset of the monotonic clock, so that a request reads no clock of its own.
#[derive(Debug)]
pub struct Wall {
    offset: Cell<u64>,
    date_second: Cell<u64>,
    date: RefCell<[u8; 29]>,
}

impl Wall {
    /// Wall time as read at `now`.
    pub fn new(now: Instant) -> Self {
        let wall = Self { offset: Cell::new(0), date_second: Cell::new(u64::MAX), date: RefCell::new([b' '; 29]) };
        wall.refresh(now);
        wall
    }

    /// Reads the wall clock again: it may have been stepped.
    pub fn refresh(&self, now: Instant) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.offset.set(u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX).saturating_sub(now.nanos()));
    }

    /// Unix time in nanoseconds at `now`.
    pub fn unix_ns(&self, now: Instant) -> u64 {
        self.offset.get() + now.nanos()
    }

    /// Calls `use_it` with the IMF-fixdate of `now` (RFC 9110 section 5.6.7).
    pub fn with_date<R>(&self, now: Instant, use_it: impl FnOnce(&[u8]) -> R) -> R {
        let second = self.unix_ns(now) / 1_000_000_000;
        if self.date_second.replace(second) != second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            if let Ok(text) = text.as_bytes().try_into() {
                *self.date.borrow_mut() = text;
            }
        }
        use_it(&*self.date.borrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_follows_the_second() {
        let wall = Wall::new(Instant::from_nanos(0));
        wall.offset.set(784_111_777 * 1_000_000_000);
        wall.with_date(Instant::from_nanos(0), |date| assert_eq!(date, b"Sun, 06 Nov 1994 08:49:37 GMT"));
        wall.with_date(Instant::from_nanos(999_999_999), |date| assert_eq!(date, b"Sun, 06 Nov 1994 08:49:37 GMT"));
        wall.with_date(Instant::from_nanos(1_000_000_000), |date| assert_eq!(date, b"Sun, 06 Nov 1994 08:49:38 GMT"));
    }
}
