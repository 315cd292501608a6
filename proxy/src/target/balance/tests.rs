//! The policies as a route meets them: eligibility, order, limits, stickiness, warming, hashing.

use super::Field;

/// Candidates with fixed weights.
pub(super) struct Fixed {
    pub(super) weights: Vec<u64>,
    pub(super) active: Vec<u64>,
    pub(super) warmth: Vec<u32>,
}

impl Fixed {
    pub(super) fn weights(weights: &[u64]) -> Self {
        let warmth = weights.iter().map(|&weight| if weight > 0 { 1000 } else { 0 }).collect();
        Self { weights: weights.to_vec(), active: vec![0; weights.len()], warmth }
    }
}

impl Field for Fixed {
    fn len(&self) -> usize {
        self.weights.len()
    }

    fn weight(&self, at: usize) -> u64 {
        self.weights[at]
    }

    fn active(&self, at: usize) -> u64 {
        self.active[at]
    }

    fn warmth(&self, at: usize) -> u32 {
        self.warmth[at]
    }
}

/// How often each of `n` is picked.
pub(super) fn counts(n: usize, picks: usize, mut pick: impl FnMut() -> Option<usize>) -> Vec<usize> {
    let mut seen = vec![0; n];
    (0..picks).filter_map(|_| pick()).for_each(|at| seen[at] += 1);
    seen
}
