//! The share of a route's requests that may be retries: a failing origin must not meet its own traffic twice.

use crate::base::Instant;

/// Seconds over which the share is taken.
const WINDOW: usize = 10;
/// Retries that every second may hold whatever the share.
const FLOOR_PER_SECOND: u32 = 3;

/// Requests and retries of one route on one worker over the last ten seconds.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    seconds: [Second; WINDOW],
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    requests: u32,
    retries: u32,
}

impl Budget {
    /// Counts a request that a client sent.
    pub fn request(&mut self, now: Instant) {
        self.current(now).requests += 1;
    }

    /// Counts a retry if `percent` of the requests leave room for it.
    pub fn try_retry(&mut self, now: Instant, percent: u32) -> bool {
        self.current(now);
        let requests: u64 = self.seconds.iter().map(|second| u64::from(second.requests)).sum();
        let retries: u64 = self.seconds.iter().map(|second| u64::from(second.retries)).sum();
        let current = self.current(now);
        let granted = current.retries < FLOOR_PER_SECOND || (retries + 1) * 100 <= requests * u64::from(percent);
        current.retries += u32::from(granted);
        granted
    }

    fn current(&mut self, now: Instant) -> &mut Second {
        let second = now.nanos() / 1_000_000_000;
        if second > self.newest {
            let passed = usize::try_from(second - self.newest).unwrap_or(WINDOW).min(WINDOW);
            for back in 0..passed {
                self.seconds[slot(second - back as u64)] = Second::default();
            }
            self.newest = second;
        }
        &mut self.seconds[slot(self.newest)]
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below WINDOW")]
const fn slot(second: u64) -> usize {
    (second % WINDOW as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn retries_stay_within_the_share_of_the_window() {
        let mut budget = Budget::default();
        for ms in 0..10_000 {
            budget.request(at(ms));
        }
        let granted = (0..5_000).filter(|_| budget.try_retry(at(9_999), 20)).count();
        assert_eq!(granted, 2_000);
    }

    #[test]
    fn a_quiet_route_may_retry_three_times_a_second() {
        let mut budget = Budget::default();
        for second in 0..100 {
            let granted = (0..10).filter(|_| budget.try_retry(at(second * 1_000), 0)).count();
            assert_eq!(granted, 3, "second {second}");
        }
    }

    #[test]
    fn old_requests_leave_the_window() {
        let mut budget = Budget::default();
        for _ in 0..1_000 {
            budget.request(at(0));
        }
        let granted = (0..1_000).filter(|_| budget.try_retry(at(10_000), 100)).count();
        assert_eq!(granted, 3);
    }
}
