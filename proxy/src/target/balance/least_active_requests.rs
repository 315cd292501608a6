//! `least_active_requests` and its weighted form: the fewest requests in flight per weight, ties in turn.

use super::Field;

/// The eligible one with the least in flight / weight; of equals the first from `cursor`, which moves behind it.
pub(super) fn pick(cursor: &mut usize, field: &impl Field) -> Option<usize> {
    let n = field.len();
    let mut best: Option<(usize, u64, u64)> = None;
    for step in 0..n {
        let at = (*cursor + step) % n;
        let weight = field.weight(at);
        if weight == 0 {
            continue;
        }
        let active = field.active(at);
        // a / wa < b / wb without a division.
        let less = |&(_, least, of): &(usize, u64, u64)| {
            u128::from(active) * u128::from(of) < u128::from(least) * u128::from(weight)
        };
        if best.as_ref().is_none_or(less) {
            best = Some((at, active, weight));
        }
    }
    let (at, ..) = best?;
    *cursor = (at + 1) % n;
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixed, counts};
    use super::*;

    #[test]
    fn the_least_loaded_per_weight_is_picked() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let n = rng.usize(1..9);
            let weights: Vec<u64> = (0..n).map(|_| rng.u64(..5)).collect();
            let active: Vec<u64> = (0..n).map(|_| rng.u64(..6)).collect();
            let field = Fixed { active: active.clone(), ..Fixed::weights(&weights) };
            let load = |at: usize| active[at] as f64 / weights[at] as f64;
            let least = (0..n).filter(|&at| weights[at] > 0).map(load).fold(f64::INFINITY, f64::min);
            match pick(&mut rng.usize(..n), &field) {
                Some(at) => assert!(weights[at] > 0 && load(at) == least, "{weights:?} {active:?} {at}"),
                None => assert!(weights.iter().all(|&weight| weight == 0)),
            }
        }
    }

    #[test]
    fn ties_go_in_turn() {
        let (mut cursor, field) = (0, Fixed::weights(&[1, 1, 1]));
        assert_eq!(counts(3, 9, || pick(&mut cursor, &field)), [3, 3, 3]);
    }
}
