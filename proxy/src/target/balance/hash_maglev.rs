//! `hash_maglev`: a table of 65,537 slots filled by each member's own permutation in turn (Eisenbud et al., "Maglev",
//! NSDI 2016, section 3.4), weighted by how often a member's turn comes.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// A prime, so that every skip visits every slot.
const SLOTS: usize = 65_537;

/// The filled table; empty for no members.
#[derive(Debug)]
pub struct Slots {
    members: Vec<u16>,
}

struct Permutation {
    next: usize,
    skip: usize,
    /// Its weight as a share of the heaviest.
    pace: f64,
    /// Turns owed.
    owed: f64,
}

impl Permutation {
    fn of(name: &str, pace: f64) -> Self {
        let hash = |seed| xxh3_64_with_seed(name.as_bytes(), seed) as usize;
        Self { next: hash(0) % SLOTS, skip: hash(1) % (SLOTS - 1) + 1, pace, owed: 0.0 }
    }

    fn advance(&mut self) -> usize {
        let at = self.next;
        self.next = (at + self.skip) % SLOTS;
        at
    }
}

impl Slots {
    /// The table of `(name, weight)`, by index.
    pub(super) fn build(members: &[(String, u128)]) -> Self {
        const FREE: u32 = u32::MAX;
        let heaviest = members.iter().map(|member| member.1).max().unwrap_or(1) as f64;
        let permutation = |(name, weight): &(String, u128)| Permutation::of(name, *weight as f64 / heaviest);
        let mut permutations: Vec<_> = members.iter().map(permutation).collect();
        let mut slots = vec![FREE; if members.is_empty() { 0 } else { SLOTS }];
        let mut free = slots.len();
        while free > 0 {
            for (at, permutation) in permutations.iter_mut().enumerate() {
                permutation.owed += permutation.pace;
                if permutation.owed < 1.0 || free == 0 {
                    continue;
                }
                permutation.owed -= 1.0;
                let mut slot = permutation.advance();
                while slots[slot] != FREE {
                    slot = permutation.advance();
                }
                slots[slot] = at as u32;
                free -= 1;
            }
        }
        Self { members: slots.into_iter().map(|member| member as u16).collect() }
    }

    /// The member in the first slot from the key's on that is admitted.
    pub(super) fn find(&self, key: &[u8], admits: impl Fn(usize) -> bool) -> Option<usize> {
        if self.members.is_empty() {
            return None;
        }
        let start = (xxh3_64(key) % SLOTS as u64) as usize;
        let (before, after) = self.members.split_at(start);
        after.iter().chain(before).map(|&member| usize::from(member)).find(|&member| admits(member))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(members: &[(&str, u128)]) -> Slots {
        Slots::build(&members.iter().map(|&(name, weight)| (name.to_owned(), weight)).collect::<Vec<_>>())
    }

    #[test]
    fn slots_follow_the_weights_to_the_slot() {
        for weights in [vec![1, 1, 1], vec![1, 1, 2], vec![5, 3], vec![7]] {
            let names = ["a:1", "b:2", "c:3"];
            let table = slots(&names.into_iter().zip(weights.iter().copied()).collect::<Vec<_>>());
            let total: u128 = weights.iter().sum();
            for (at, weight) in weights.iter().enumerate() {
                let seen = table.members.iter().filter(|&&member| usize::from(member) == at).count() as f64;
                let expected = SLOTS as f64 * *weight as f64 / total as f64;
                assert!((seen - expected).abs() <= weights.len() as f64 + 1.0, "{weights:?} {at} {seen} {expected}");
            }
        }
    }

    #[test]
    fn a_lost_member_moves_few_other_keys() {
        let names: Vec<String> = (0..10).map(|n| format!("10.0.0.{n}:80")).collect();
        let all: Vec<_> = names.iter().map(|name| (name.clone(), 1)).collect();
        let (before, after) = (Slots::build(&all), Slots::build(&all[..9]));
        let moved = before.members.iter().zip(&after.members).filter(|(old, new)| **old != 9 && old != new).count();
        // The paper's figure 9 has a few per cent for a table of this size.
        assert!(moved < SLOTS / 20, "{moved} slots of members that stayed have moved");
    }

    #[test]
    fn walking_past_agrees_with_a_plain_walk() {
        let (table, mut rng) = (slots(&[("a:1", 1), ("b:2", 2), ("c:3", 3)]), fastrand::Rng::with_seed(11));
        for _ in 0..500 {
            let (key, admitted) = (rng.u64(..).to_le_bytes(), [rng.bool(), rng.bool(), rng.bool()]);
            let mut at = (xxh3_64(&key) % 65_537) as usize;
            let expected = admitted.contains(&true).then(|| {
                while !admitted[usize::from(table.members[at])] {
                    at = (at + 1) % SLOTS;
                }
                usize::from(table.members[at])
            });
            assert_eq!(table.find(&key, |member| admitted[member]), expected);
        }
        assert_eq!(slots(&[]).find(b"x", |_| true), None);
    }
}
