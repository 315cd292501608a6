//! `weighted_round_robin`, smooth as nginx's: who leads in accumulated weight is taken and falls back by the sum.

use super::Field;

/// Adds each eligible one's weight to its account and charges the richest (the first of equals) for all.
pub(super) fn pick(accounts: &mut [i64], field: &impl Field) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<usize> = None;
    for at in 0..field.len().min(accounts.len()) {
        let weight = field.weight(at) as i64;
        if weight == 0 {
            continue;
        }
        total += weight;
        accounts[at] += weight;
        if best.is_none_or(|best| accounts[at] > accounts[best]) {
            best = Some(at);
        }
    }
    accounts[best?] -= total;
    best
}

/// A worker's starting point: its number of picks into the sequence of all.
pub(super) fn start(weights: &[u32], worker: usize) -> Vec<i64> {
    struct All<'a>(&'a [u32]);
    impl Field for All<'_> {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn weight(&self, at: usize) -> u64 {
            u64::from(self.0[at]) * 1000
        }
        fn active(&self, _: usize) -> u64 {
            0
        }
        fn warmth(&self, _: usize) -> u32 {
            1000
        }
    }
    let mut accounts = vec![0; weights.len()];
    for _ in 0..worker {
        pick(&mut accounts, &All(weights));
    }
    accounts
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixed, counts};
    use super::*;

    #[test]
    fn three_to_one_is_a_a_b_a() {
        let (field, mut accounts) = (Fixed::weights(&[3, 1]), start(&[3, 1], 0));
        let turns: Vec<_> = (0..8).map(|_| pick(&mut accounts, &field).unwrap()).collect();
        assert_eq!(turns, [0, 0, 1, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_cycle_gives_each_exactly_its_weight() {
        let mut rng = fastrand::Rng::with_seed(5);
        for _ in 0..200 {
            let weights: Vec<u64> = (0..rng.usize(1..9)).map(|_| rng.u64(..20)).collect();
            let sum: u64 = weights.iter().sum();
            let (field, mut accounts) = (Fixed::weights(&weights), vec![0; weights.len()]);
            let seen = counts(weights.len(), sum as usize, || pick(&mut accounts, &field));
            assert!(seen.iter().zip(&weights).all(|(&seen, &weight)| seen as u64 == weight), "{weights:?} {seen:?}");
            assert!(accounts.iter().all(|&account| account == 0), "a cycle ends where it began");
        }
    }

    #[test]
    fn a_later_worker_starts_further_on() {
        let (field, mut accounts) = (Fixed::weights(&[3000, 1000]), start(&[3, 1], 2));
        assert_eq!(pick(&mut accounts, &field), Some(1));
    }
}
