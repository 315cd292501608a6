//! `round_robin`: each in turn. One that warms up lets its turn pass in proportion.

use super::Field;

/// The first eligible from `cursor` on, which moves behind it.
pub(super) fn pick(cursor: &mut usize, rng: &mut fastrand::Rng, field: &impl Field) -> Option<usize> {
    let n = field.len();
    let mut passed = None;
    for step in 0..n {
        let at = (*cursor + step) % n;
        let warmth = field.warmth(at);
        if warmth == 0 {
            continue;
        }
        if warmth < 1000 && rng.u32(..1000) >= warmth {
            passed = passed.or(Some(at));
            continue;
        }
        *cursor = (at + 1) % n;
        return Some(at);
    }
    // All that are eligible warm up and passed: the first of them takes it after all.
    let at = passed?;
    *cursor = (at + 1) % n;
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixed, counts};
    use super::*;

    #[test]
    fn turns_go_round_from_the_workers_offset() {
        let (mut cursor, mut rng) = (1, fastrand::Rng::with_seed(1));
        let field = Fixed::weights(&[1, 1, 1]);
        let turns: Vec<_> = (0..5).map(|_| pick(&mut cursor, &mut rng, &field).unwrap()).collect();
        assert_eq!(turns, [1, 2, 0, 1, 2]);
    }

    #[test]
    fn shares_are_equal_whichever_are_eligible() {
        let mut rng = fastrand::Rng::with_seed(2);
        for _ in 0..200 {
            let n = rng.usize(1..12);
            let weights: Vec<u64> = (0..n).map(|_| rng.u64(..2)).collect();
            let (field, mut cursor) = (Fixed::weights(&weights), rng.usize(..n));
            let eligible = weights.iter().filter(|&&weight| weight > 0).count();
            let seen = counts(n, eligible * 5, || pick(&mut cursor, &mut fastrand::Rng::with_seed(3), &field));
            for (at, weight) in weights.iter().enumerate() {
                assert_eq!(seen[at], *weight as usize * 5);
            }
        }
    }

    #[test]
    fn a_warming_one_takes_its_part_of_its_turns() {
        let (mut cursor, mut rng) = (0, fastrand::Rng::with_seed(4));
        let field = Fixed { warmth: vec![100, 1000], ..Fixed::weights(&[1, 1]) };
        let seen = counts(2, 11_000, || pick(&mut cursor, &mut rng, &field));
        assert!((900..1100).contains(&seen[0]), "{seen:?}");
    }
}
