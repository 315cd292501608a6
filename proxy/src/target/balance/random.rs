//! `random` and `weighted_random`: drawn by the weights that count.

use super::Field;

/// Draws in proportion to the weights.
pub(super) fn pick(rng: &mut fastrand::Rng, field: &impl Field) -> Option<usize> {
    let total: u64 = (0..field.len()).map(|at| field.weight(at)).sum();
    if total == 0 {
        return None;
    }
    let mut draw = rng.u64(..total);
    let mut last = None;
    for at in 0..field.len() {
        let weight = field.weight(at);
        if draw < weight {
            return Some(at);
        }
        draw -= weight;
        last = if weight > 0 { Some(at) } else { last };
    }
    // Another worker filled an endpoint between the two looks.
    last
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixed, counts};
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let mut rng = fastrand::Rng::with_seed(6);
        for weights in [vec![1, 1, 1, 1], vec![3, 0, 1], vec![1000, 1], vec![5]] {
            let (field, total) = (Fixed::weights(&weights), weights.iter().sum::<u64>() as f64);
            let draws = 40_000;
            let seen = counts(weights.len(), draws, || pick(&mut rng, &field));
            for (at, &weight) in weights.iter().enumerate() {
                let expected = draws as f64 * weight as f64 / total;
                // Five standard deviations of a binomial.
                let slack = 5.0 * (expected * (1.0 - weight as f64 / total)).sqrt() + 1e-9;
                assert!((seen[at] as f64 - expected).abs() <= slack, "{weights:?} {seen:?}");
            }
        }
        assert_eq!(pick(&mut rng, &Fixed::weights(&[0, 0])), None);
    }
}
