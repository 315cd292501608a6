//! What to change so that a map holds what it should.

use std::collections::BTreeMap;

/// Changes to a map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Changes<K, V> {
    /// Entries to write: new ones, and those whose value differs.
    pub(super) set: Vec<(K, V)>,
    /// Entries to take out.
    pub(super) removed: Vec<K>,
}

/// What turns `have` into `want`.
pub(super) fn changes<K: Ord + Clone, V: PartialEq + Clone>(
    have: &BTreeMap<K, V>,
    want: &BTreeMap<K, V>,
) -> Changes<K, V> {
    let set = want.iter().filter(|(key, value)| have.get(key) != Some(value));
    let removed = have.keys().filter(|key| !want.contains_key(key));
    Changes { set: set.map(|(key, value)| (key.clone(), value.clone())).collect(), removed: removed.cloned().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_turn_one_map_into_the_other_and_are_none_where_both_are_equal() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut any = || (0..20).map(|_| (random.u8(..30), random.u8(..3))).collect::<BTreeMap<_, _>>();
        for _ in 0..500 {
            let (have, want) = (any(), any());
            let mut map = have.clone();
            let changes = changes(&have, &want);
            for key in &changes.removed {
                assert!(map.remove(key).is_some() && !want.contains_key(key));
            }
            for (key, value) in changes.set {
                assert_ne!(map.insert(key, value), Some(value), "a needless write");
            }
            assert_eq!(map, want);
            assert_eq!(super::changes(&map, &want), Changes { set: vec![], removed: vec![] });
        }
    }
}
