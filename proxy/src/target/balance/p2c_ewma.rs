//! `p2c_ewma`: the cheaper of two drawn at random, by a peak-sensitive average of the time to head (Mitzenmacher, "The
//! power of two choices"; the average is Finagle's peak EWMA).

use std::time::Duration;

use super::Field;
use crate::base::Instant;

/// What an endpoint is taken for before it answered.
const START: Duration = Duration::from_millis(30);
/// What a failed connect counts as.
pub(super) const CONNECT_FAILED: Duration = Duration::from_secs(5);
/// The average's time constant.
const TAU: Duration = Duration::from_secs(10);
/// Draws before the eligible are counted out: more than enough while most are.
const DRAWS_MAX: usize = 4;

/// The cheaper of two different eligible ones, each pair as likely.
pub(super) fn pick(rng: &mut fastrand::Rng, field: &impl Field, cost: impl Fn(usize) -> f64) -> Option<usize> {
    let first = draw(rng, field, None)?;
    let Some(second) = draw(rng, field, Some(first)) else { return Some(first) };
    Some(if cost(second) < cost(first) { second } else { first })
}

fn draw(rng: &mut fastrand::Rng, field: &impl Field, other: Option<usize>) -> Option<usize> {
    let n = field.len();
    let eligible = |&at: &usize| Some(at) != other && field.weight(at) > 0;
    if n == 0 {
        return None;
    }
    let lucky = (0..DRAWS_MAX).map(|_| rng.usize(..n)).find(eligible);
    lucky.or_else(|| {
        let count = (0..n).filter(eligible).count();
        (count > 0).then(|| rng.usize(..count)).and_then(|nth| (0..n).filter(eligible).nth(nth))
    })
}

/// A peak EWMA: a higher sample replaces it, a lower one pulls it down by the time that passed. Without samples it
/// fades, so that one slow answer does not bar an endpoint for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ewma {
    value: f64,
    at: Option<Instant>,
}

impl Default for Ewma {
    fn default() -> Self {
        Self { value: START.as_secs_f64(), at: None }
    }
}

impl Ewma {
    /// The average now.
    pub(super) fn read(&self, now: Instant) -> Duration {
        Duration::from_secs_f64(self.value * self.fade(now))
    }

    /// The average with one more sample.
    pub(super) fn with(self, sample: Duration, now: Instant) -> Self {
        let (sample, fade) = (sample.as_secs_f64(), self.fade(now));
        let value = if sample >= self.value { sample } else { self.value * fade + sample * (1.0 - fade) };
        Self { value, at: Some(now) }
    }

    fn fade(&self, now: Instant) -> f64 {
        self.at.map_or(1.0, |at| (-now.since(at).as_secs_f64() / TAU.as_secs_f64()).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixed, counts};
    use super::*;

    const ORIGIN: Instant = Instant::from_nanos(1_000_000_000_000);

    #[test]
    fn the_dearest_is_never_picked_and_the_cheapest_most() {
        let mut rng = fastrand::Rng::with_seed(8);
        let field = Fixed::weights(&[1, 1, 1]);
        let seen = counts(3, 9_000, || pick(&mut rng, &field, |at| at as f64));
        // Pairs 01, 02, 12 are as likely: 0 wins two of three, 1 one, 2 none.
        assert_eq!(seen[2], 0);
        assert!((5_700..6_300).contains(&seen[0]), "{seen:?}");
    }

    #[test]
    fn only_eligible_ones_are_drawn_and_the_last_one_alone() {
        let mut rng = fastrand::Rng::with_seed(9);
        let mut weights = vec![0; 400];
        assert_eq!(pick(&mut rng, &Fixed::weights(&weights), |_| 1.0), None);
        weights[399] = 1;
        assert_eq!(pick(&mut rng, &Fixed::weights(&weights), |_| 1.0), Some(399));
        weights[7] = 1;
        let seen = counts(400, 1_000, || pick(&mut rng, &Fixed::weights(&weights), |at| at as f64));
        assert_eq!(seen[7], 1_000);
    }

    #[test]
    fn a_peak_replaces_and_a_lower_sample_decays_with_tau() {
        let start = Ewma::default();
        assert_eq!(start.read(ORIGIN), START);
        let peak = start.with(Duration::from_secs(1), ORIGIN);
        assert_eq!(peak.read(ORIGIN), Duration::from_secs(1));
        let later = ORIGIN + TAU;
        let expected = (-1.0f64).exp() + 0.1 * (1.0 - (-1.0f64).exp());
        let lower = peak.with(Duration::from_millis(100), later).read(later).as_secs_f64();
        assert!((lower - expected).abs() < 1e-6, "{lower} {expected}");
    }

    #[test]
    fn a_failed_connect_is_forgiven_in_time() {
        let failed = Ewma::default().with(CONNECT_FAILED, ORIGIN);
        assert!(failed.read(ORIGIN + Duration::from_secs(60)) < START);
    }
}
