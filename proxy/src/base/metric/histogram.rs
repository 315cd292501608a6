//! Log-linear buckets: a record is an index and two relaxed adds, by the histogram's only writer.

use std::time::Duration;

use super::Counter;

/// Each power of two is cut into this many buckets: a value is known within 12.5 %.
const SUBDIVISIONS: usize = 8;
const SUBDIVISION_BITS: u32 = SUBDIVISIONS.trailing_zeros();
/// Powers of two above the linear part; the last bucket holds everything from 2^29 us (9 minutes) up.
const OCTAVES: usize = 27;
const BUCKETS: usize = SUBDIVISIONS * OCTAVES;

/// Bounds that `/metrics` shows, in microseconds. Powers of two, so that each is also a bound of a bucket and the
/// counts below it are exact.
pub const LE_BOUNDS_US: [u64; 14] = [
    1 << 6,
    1 << 7,
    1 << 8,
    1 << 9,
    1 << 10,
    1 << 11,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
    1 << 26,
];

/// The bucket of a value.
const fn index(us: u64) -> usize {
    if us < SUBDIVISIONS as u64 {
        return us as usize;
    }
    let octave = us.ilog2() - SUBDIVISION_BITS;
    let within = (us >> octave) as usize - SUBDIVISIONS;
    let at = SUBDIVISIONS * (octave as usize + 1) + within;
    if at < BUCKETS { at } else { BUCKETS - 1 }
}

/// The smallest value of a bucket.
const fn lower_bound(index: usize) -> u64 {
    if index < SUBDIVISIONS {
        return index as u64;
    }
    let octave = index / SUBDIVISIONS - 1;
    ((SUBDIVISIONS + index % SUBDIVISIONS) as u64) << octave
}

const _: () = {
    let mut i = 0;
    while i < LE_BOUNDS_US.len() {
        assert!(lower_bound(index(LE_BOUNDS_US[i])) == LE_BOUNDS_US[i], "a bound falls inside a bucket");
        i += 1;
    }
};

/// Durations, counted. One thread records; any thread reads.
pub struct Histogram {
    buckets: [Counter; BUCKETS],
    sum_us: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { Counter::new() }; BUCKETS], sum_us: Counter::new() }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&self, duration: Duration) {
        self.record_us(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts one duration in microseconds.
    pub fn record_us(&self, us: u64) {
        self.buckets[index(us)].add(1);
        self.sum_us.add(us);
    }
}

/// A histogram's counts as plain values: sums of histograms, differences over time, quantiles.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buckets {
    counts: Box<[u64; BUCKETS]>,
    /// Sum of all durations, in microseconds.
    pub sum_us: u64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]), sum_us: 0 }
    }
}

impl Buckets {
    /// Adds what `histogram` has counted so far.
    pub fn add(&mut self, histogram: &Histogram) {
        for (count, cell) in self.counts.iter_mut().zip(&histogram.buckets) {
            *count = count.wrapping_add(cell.value());
        }
        self.sum_us = self.sum_us.wrapping_add(histogram.sum_us.value());
    }

    /// What was counted since `earlier`; nothing where a count has fallen, because a route went away.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut delta = self.clone();
        for (count, before) in delta.counts.iter_mut().zip(earlier.counts.iter()) {
            *count = count.saturating_sub(*before);
        }
        delta.sum_us = self.sum_us.saturating_sub(earlier.sum_us);
        delta
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many durations lie below `bound_us`, exact for the values of [`LE_BOUNDS_US`].
    pub fn below(&self, bound_us: u64) -> u64 {
        self.counts[..index(bound_us)].iter().sum()
    }

    /// The duration in microseconds that `share` (0 to 1) of all do not exceed; none if nothing was counted.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let count = self.count();
        let rank = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        let at = self.counts.iter().position(|&n| {
            seen += n;
            seen >= rank
        })?;
        let (low, high) = (lower_bound(at), lower_bound(at + 1));
        Some(low + (high - low) / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_falls_into_the_bucket_whose_bounds_hold_it() {
        let edges = (0..29).flat_map(|bit| {
            let value = 1_u64 << bit;
            [value.saturating_sub(1), value, value + 1, value + value / 3]
        });
        for us in edges {
            let at = index(us);
            assert!(lower_bound(at) <= us && us < lower_bound(at + 1), "{us} in bucket {at}");
        }
        assert_eq!(index(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_within_an_eighth() {
        let histogram = Histogram::default();
        (1..=10_000).for_each(|us| histogram.record_us(us));
        let mut buckets = Buckets::default();
        buckets.add(&histogram);
        for (share, exact) in [(0.5, 5_000.0), (0.9, 9_000.0), (0.99, 9_900.0), (0.999, 9_990.0)] {
            let got = buckets.quantile_us(share).expect("values were recorded") as f64;
            assert!((got - exact).abs() / exact < 0.125, "p{share}: {got} for {exact}");
        }
        assert_eq!(buckets.below(64), 63);
        assert_eq!(buckets.sum_us, 50_005_000);
    }

    #[test]
    fn a_difference_holds_only_what_came_between() {
        let histogram = Histogram::default();
        histogram.record_us(5);
        let mut before = Buckets::default();
        before.add(&histogram);
        histogram.record(Duration::from_millis(2));
        let mut after = Buckets::default();
        after.add(&histogram);
        let delta = after.since(&before);
        assert_eq!((delta.count(), delta.sum_us), (1, 2_000));
        assert_eq!(Buckets::default().quantile_us(0.5), None);
    }
}
