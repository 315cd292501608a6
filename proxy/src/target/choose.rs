//! The group that answers a request: the side of the split, then its lowest usable priority_group. Taken before the
//! cache, so that what a static target answers never meets it; that no group is usable is a value, not a fault.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::groups::Groups;
use super::key::Keys;
use super::live::RouteLive;
use crate::base::Instant;

/// The group chosen for a request, in force for all its attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Index into [`Groups::groups`].
    pub group: u16,
    /// Whether health counts within it.
    pub mode: Mode,
}

/// Why the group was chosen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// It is the lowest with a usable target.
    LowestUsable,
    /// Too few of it are usable and no higher group is: health is ignored (`panic_percent`).
    Panic,
    /// No group is usable and the route then uses all of the lowest (`all_unhealthy = "use_all"`).
    UseAll,
}

impl Mode {
    /// The word of explain and traces.
    pub const fn word(self) -> &'static str {
        match self {
            Self::LowestUsable => "lowest_usable",
            Self::Panic => "panic",
            Self::UseAll => "use_all",
        }
    }

    pub(super) const fn heeds_health(self) -> bool {
        matches!(self, Self::LowestUsable)
    }
}

/// Chooses. `None`: no target is usable. `random` is read only by a split without a key.
pub fn choose(live: &RouteLive, keys: &dyn Keys, random: u64, now: Instant) -> Option<Choice> {
    let groups = live.groups();
    if let [_] = groups.sides[..] {
        return side(live, 0, now);
    }
    let key = split_key(groups, keys, random);
    // A side that cannot answer leaves its share to the others; rendezvous moves nothing else.
    heaviest(groups, key, |at| side(live, at, now).is_some()).and_then(|at| side(live, at, now))
}

/// The group within one side.
fn side(live: &RouteLive, at: usize, now: Instant) -> Option<Choice> {
    let range = live.groups().sides[at].groups.clone();
    let choice = |group: usize, mode| Some(Choice { group: group as u16, mode });
    let Some(lowest) = range.clone().find(|&group| live.is_usable(group, now)) else {
        return without_usable(live, range).and_then(|(group, mode)| choice(group, mode));
    };
    let mut higher = lowest + 1..range.end;
    if is_panic(live, lowest, now) && !higher.any(|group| live.is_usable(group, now)) {
        return choice(lowest, Mode::Panic);
    }
    choice(lowest, Mode::LowestUsable)
}

/// Nothing is usable: a share of zero is below any panic_percent, and use_all asks for the same.
fn without_usable(live: &RouteLive, mut range: std::ops::Range<usize>) -> Option<(usize, Mode)> {
    let mode = match live.groups() {
        groups if groups.panic_percent > 0 => Mode::Panic,
        groups if groups.use_all => Mode::UseAll,
        _ => return None,
    };
    range.find(|&group| live.group_endpoints(group).next().is_some()).map(|group| (group, mode))
}

fn is_panic(live: &RouteLive, group: usize, now: Instant) -> bool {
    let percent = live.groups().panic_percent as usize;
    if percent == 0 {
        return false;
    }
    let (usable, all) = live
        .group_endpoints(group)
        .fold((0, 0), |(usable, all), (_, _, endpoint)| (usable + usize::from(endpoint.is_usable(now)), all + 1));
    usable * 100 < percent * all
}

/// A request without the key that the split names has no side of its own: it is drawn at random.
fn split_key(groups: &Groups, keys: &dyn Keys, random: u64) -> u64 {
    let hash = |bytes: &[u8]| if bytes.is_empty() { random } else { xxh3_64(bytes) };
    groups.split_key.as_ref().map_or(random, |key| key.with(keys, hash))
}

/// Weighted rendezvous: each side scores -weight / ln(u) with its own u in (0, 1) drawn from the key; the highest wins.
/// Another weight changes one side's scores only, so keys move only towards a side that was raised.
fn heaviest(groups: &Groups, key: u64, mut is_usable: impl FnMut(usize) -> bool) -> Option<usize> {
    let mut best = None;
    for (at, side) in groups.sides.iter().enumerate() {
        if side.weight == 0 {
            continue;
        }
        let score = score(key, &side.name, side.weight);
        if best.is_none_or(|(highest, _)| score > highest) && is_usable(at) {
            best = Some((score, at));
        }
    }
    best.map(|(_, at)| at)
}

fn score(key: u64, side: &str, weight: u32) -> f64 {
    // 53 bits fill a double's mantissa; the half step keeps u off 0 and 1.
    let u = ((xxh3_64_with_seed(side.as_bytes(), key) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(weight) / u.ln()
}

#[cfg(test)]
mod tests;
