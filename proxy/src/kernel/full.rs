//! What found no room in the drop program's maps: counted when it is refused first, and warned of as long as it is out.

use std::collections::BTreeMap;

use ipnet::IpNet;
use weir_common::abi::drop::map;

/// Refused entries by map.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Refusals(BTreeMap<&'static str, u64>);

impl Refusals {
    pub(super) fn add(&mut self, map: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(map).or_default() += count;
        }
    }

    pub(super) fn append(&mut self, more: &Self) {
        more.0.iter().for_each(|(map, count)| self.add(map, *count));
    }
}

/// Since the start, and now.
#[derive(Default)]
pub(super) struct Full {
    total: Refusals,
    now: Refusals,
}

impl Full {
    /// The maps were filled anew, and these entries found no room. Those that found none before are counted already.
    pub(super) fn filled(&mut self, refused: Refusals) {
        for (map, count) in &refused.0 {
            let before = self.now.0.get(map).copied().unwrap_or(0);
            self.total.add(map, count.saturating_sub(before));
        }
        self.now = refused;
    }

    /// An entry was refused that nobody tries to add again.
    pub(super) fn refused(&mut self, map: &'static str) {
        self.total.add(map, 1);
    }

    /// Entries that a map had no room for, since the start.
    pub(super) fn total(&self, map: &str) -> u64 {
        self.total.0.get(map).copied().unwrap_or(0)
    }

    /// The maps that lack entries now.
    pub(super) fn lacking(&self) -> impl Iterator<Item = &'static str> {
        self.now.0.keys().copied()
    }
}

/// The map of an allowed network.
pub(super) fn allow(network: &IpNet) -> &'static str {
    match network {
        IpNet::V4(_) => map::ALLOW4,
        IpNet::V6(_) => map::ALLOW6,
    }
}

/// The map of a banned network.
pub(super) fn ban(network: &IpNet) -> &'static str {
    match network {
        IpNet::V4(_) => map::DENY4,
        IpNet::V6(_) => map::DENY6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(rows: &[(&'static str, u64)]) -> Refusals {
        let mut refusals = Refusals::default();
        rows.iter().for_each(|(map, count)| refusals.add(map, *count));
        refusals
    }

    #[test]
    fn what_stays_out_is_counted_once_and_what_joins_it_too() {
        let mut full = Full::default();
        full.filled(refusals(&[(map::DENY6, 3), (map::SCOPE, 0)]));
        full.filled(refusals(&[(map::DENY6, 3)]));
        assert_eq!((full.total(map::DENY6), full.total(map::DENY4)), (3, 0));
        assert_eq!(full.lacking().collect::<Vec<_>>(), [map::DENY6]);
        full.filled(refusals(&[(map::DENY6, 5), (map::ALLOW4, 1)]));
        assert_eq!((full.total(map::DENY6), full.total(map::ALLOW4)), (5, 1));
        full.filled(Refusals::default());
        assert_eq!((full.lacking().count(), full.total(map::DENY6)), (0, 5));
        full.filled(refusals(&[(map::DENY6, 2)]));
        assert_eq!(full.total(map::DENY6), 7, "out again");
    }

    #[test]
    fn single_entries_are_counted_and_leave_no_lack() {
        let mut full = Full::default();
        full.refused(map::DENY);
        full.refused(map::DENY);
        assert_eq!((full.total(map::DENY), full.lacking().count()), (2, 0));
    }

    #[test]
    fn networks_are_counted_by_the_map_of_their_version() {
        let [v4, v6]: [IpNet; 2] = ["192.0.2.0/24", "2001:db8::/32"].map(|net| net.parse().expect("a network"));
        assert_eq!([allow(&v4), allow(&v6), ban(&v4), ban(&v6)], [map::ALLOW4, map::ALLOW6, map::DENY4, map::DENY6]);
    }
}
