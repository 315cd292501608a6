//! The hash policies' tables: made by control when a group's endpoints change, shared by all workers.

use super::hash_ketama::Ring;
use super::hash_maglev::Slots;
use crate::config::value::Balance;
use crate::target::groups::{Groups, Host};
use crate::target::live::{Member, TargetLive};

/// A group's table: all its enabled endpoints, usable or not, so that ill health moves only the keys it must.
#[derive(Debug)]
pub enum Table {
    /// The policy needs none.
    None,
    /// `hash_ketama`.
    Ketama(Ring),
    /// `hash_maglev`.
    Maglev(Slots),
}

impl Table {
    /// The table over `members` that the route's policy wants.
    pub(crate) fn build(groups: &Groups, targets: &[TargetLive], members: &[Member]) -> Self {
        let named = || -> Vec<(String, u128)> {
            let weights = weights(groups, targets, members);
            members.iter().map(|member| name(groups, targets, member)).zip(weights).collect()
        };
        match groups.balance {
            Balance::HashKetama => Self::Ketama(Ring::build(&named())),
            Balance::HashMaglev => Self::Maglev(Slots::build(&named())),
            _ => Self::None,
        }
    }

    /// The member for a key: the first admitted one from the key's place on.
    pub(super) fn find(&self, key: &[u8], admits: impl Fn(usize) -> bool) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Ketama(ring) => ring.find(key, admits),
            Self::Maglev(slots) => slots.find(key, admits),
        }
    }
}

/// What a member is called in the table: the authority as written, or the address a name resolved to. A static target
/// goes by its own name.
fn name(groups: &Groups, targets: &[TargetLive], member: &Member) -> String {
    let target = &groups.targets[usize::from(member.target)];
    let address = targets[usize::from(member.target)].endpoints[usize::from(member.endpoint)].address;
    match (target.origin(), address) {
        (Some(origin), Some(address)) if matches!(origin.host, Host::Name(_)) => address.to_string(),
        (Some(origin), _) => origin.authority.to_string(),
        (None, _) => target.name.to_string(),
    }
}

/// The members' weights as the smallest whole numbers of the same proportions: a target's weight is shared equally by
/// its endpoints.
fn weights(groups: &Groups, targets: &[TargetLive], members: &[Member]) -> Vec<u128> {
    let count = |member: &Member| targets[usize::from(member.target)].endpoints.len().max(1) as u128;
    // At most 64 endpoints a target: below 2^91; with the weight (at most 2^20) still within 128 bits.
    let common = members.iter().map(count).fold(1, |all, count| all / gcd(all, count) * count);
    let weight = |member: &Member| u128::from(groups.targets[usize::from(member.target)].weight);
    let whole: Vec<u128> = members.iter().map(|member| weight(member) * (common / count(member))).collect();
    let divisor = whole.iter().copied().fold(0, gcd).max(1);
    whole.into_iter().map(|weight| weight / divisor).collect()
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}
