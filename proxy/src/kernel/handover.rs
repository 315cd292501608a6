//! What one process's kernel half leaves to the next one's: links and maps, as descriptors, and who is denied.
//!
//! The next one loads programs of its own, fills their maps, and puts its program in the old one's place at each link
//! (BPF_LINK_UPDATE): no packet passes unjudged. Until it serves, the process before can do the same backwards.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use aya::maps::{Map, MapData};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::deny::{By, Deny, Entry, RuleName};
use super::drop::Heirloom;
use super::link::{Mode, XdpLink};
use super::scope::Place;
use crate::base::Instant;

/// What the descriptors are, in their order: links, then the maps of sources, then the map of listeners.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug, Default)]
pub struct Inventory {
    /// Where the drop program is.
    pub(super) links: Vec<Linked>,
    /// SYN and KNOWN, of the drop program.
    pub(super) sources: bool,
    /// LISTENERS, of the steer program.
    pub(super) listeners: bool,
}

/// The drop program at an interface.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub(super) struct Linked {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) native: bool,
}

/// An inventory and what it speaks of.
#[derive(Debug)]
pub struct Given {
    /// What they are.
    pub inventory: Inventory,
    /// They.
    pub descriptors: Vec<OwnedFd>,
}

/// Who is denied, when nothing changes any more. Times are of CLOCK_MONOTONIC, which both processes read.
#[derive(Serialize, Deserialize, Debug, Default)]
pub struct Standing {
    denied: Vec<Denied>,
    #[serde(default)]
    past: Vec<Past>,
}

#[derive(Serialize, Deserialize, Debug)]
struct Denied {
    source: String,
    /// The table and name of its rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<(String, String)>,
    /// Or what an operator has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    since_ns: u64,
    expires_ns: u64,
    ttl_ns: u64,
    packets: u64,
    bytes: u64,
}

/// What a relapse is measured by.
#[derive(Serialize, Deserialize, Debug)]
struct Past {
    source: String,
    ttl_ns: u64,
    until_ns: u64,
}

impl Standing {
    /// Of who is denied here, with what the map counts.
    pub(super) fn of(deny: &Deny, counted: impl Fn(IpNet) -> Option<(u64, u64)>) -> Self {
        let denied = deny.entries().iter().map(|(source, entry)| {
            let (packets, bytes) = counted(*source).unwrap_or_default();
            let (rule, reason) = match &entry.by {
                By::Rule(rule) => (Some((rule.table.to_owned(), rule.name.to_string())), None),
                By::Operator(reason) => (None, Some(reason.to_string())),
            };
            Denied {
                source: source.to_string(),
                rule,
                reason,
                since_ns: entry.since.nanos(),
                expires_ns: entry.expires.nanos(),
                ttl_ns: nanos(entry.ttl),
                packets: entry.packets + packets,
                bytes: entry.bytes + bytes,
            }
        });
        let past = deny.past().map(|(source, ttl, until)| Past {
            source: source.to_string(),
            ttl_ns: nanos(ttl),
            until_ns: until.nanos(),
        });
        Self { denied: denied.collect(), past: past.collect() }
    }

    /// Has all of them denied.
    pub(super) fn restore(self, deny: &mut Deny) {
        for one in self.denied {
            let by = match (one.rule, one.reason) {
                (Some((table, name)), _) => rule(&table, &name).map(By::Rule),
                (None, reason) => Some(By::Operator(reason.unwrap_or_default().into())),
            };
            let (Some(by), Ok(source)) = (by, one.source.parse()) else { continue };
            let [since, expires] = [one.since_ns, one.expires_ns].map(Instant::from_nanos);
            let ttl = Duration::from_nanos(one.ttl_ns);
            let Denied { packets, bytes, .. } = one;
            deny.restore(source, Entry { by, since, expires, ttl, packets, bytes });
        }
        for Past { source, ttl_ns, until_ns } in self.past {
            let Ok(source) = source.parse() else { continue };
            deny.remember(source, Duration::from_nanos(ttl_ns), Instant::from_nanos(until_ns));
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A rule of a table that this release has.
fn rule(table: &str, name: &str) -> Option<RuleName> {
    let table = ["rate_limit"].into_iter().find(|known| *known == table)?;
    Some(RuleName { table, name: Arc::from(name) })
}

/// The descriptors, as what they are.
#[derive(Default)]
pub(super) struct Taken {
    /// Of the drop group.
    pub(super) heirloom: Option<Heirloom>,
    /// LISTENERS: a socket fits one such map at a time.
    pub(super) listeners: Option<MapData>,
}

impl Taken {
    /// What cannot be made sense of is closed.
    pub(super) fn of(given: Given) -> Self {
        let Given { inventory, descriptors } = given;
        let mut descriptors = descriptors.into_iter();
        let links = inventory.links.into_iter().map_while(|linked| {
            let Linked { index, name, native } = linked;
            let mode = if native { Mode::Native } else { Mode::Generic };
            Some((Place { index, name }, XdpLink::of(descriptors.next()?, mode)))
        });
        let links: BTreeMap<_, _> = links.collect();
        let mut map = |is_there: bool| MapData::from_fd(is_there.then(|| descriptors.next()).flatten()?).ok();
        let (syn, known) = (map(inventory.sources), map(inventory.sources));
        let sources = syn.zip(known).and_then(|(syn, known)| {
            Some([Map::LruHashMap(syn), Map::LruHashMap(known)].map(|map| map.try_into().ok()))
        });
        let sources = sources.and_then(|[syn, known]| Some([syn?, known?]));
        Self { heirloom: Some(Heirloom { links, sources }), listeners: map(inventory.listeners) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::allow::Allow;
    use crate::policy::tier::Promotion;

    #[test]
    fn who_is_denied_is_so_in_the_next_process_with_counts_times_and_relapses() {
        let (mut before, allow) = (Deny::new(10), Allow::default());
        let now = Instant::from_nanos(5_000_000_000);
        let hour = Duration::from_secs(3600);
        let promotion = |ip: &str| Promotion {
            address: ip.parse().expect("a network"),
            table: "rate_limit",
            rule: "one".into(),
            ttl: Duration::from_secs(60),
            ttl_max: hour,
        };
        before.promote(promotion("192.0.2.1/32"), &allow, now).expect("denied").expect("new");
        let operator = "2001:db8::/64".parse().expect("a network");
        before.add(operator, hour, "noise".into(), &allow, now).expect("denied");
        let standing = Standing::of(&before, |source| (source == operator).then_some((7, 420)));
        let json = serde_json::to_string(&standing).expect("JSON");
        let standing: Standing = serde_json::from_str(&json).expect("as it was written");
        let mut after = Deny::new(10);
        standing.restore(&mut after);
        let mut expected = before.entries().clone();
        expected.get_mut(&operator).into_iter().for_each(|entry| (entry.packets, entry.bytes) = (7, 420));
        assert_eq!(*after.entries(), expected);
        let later = now + Duration::from_secs(61);
        after.expire(later);
        after.promote(promotion("192.0.2.1/32"), &allow, later).expect("denied").expect("new");
        let again = after.entries().get(&"192.0.2.1/32".parse().expect("a network")).expect("denied");
        assert_eq!(again.ttl, Duration::from_secs(120), "a relapse counts double");
    }

    #[test]
    fn what_another_release_denied_by_a_table_that_is_not_known_is_left_out() {
        let json = r#"{"denied":[{"source":"192.0.2.1/32","rule":["no_such_table","x"],"since_ns":1,"expires_ns":2,
            "ttl_ns":1,"packets":0,"bytes":0}],"more":true}"#;
        let mut deny = Deny::new(10);
        serde_json::from_str::<Standing>(json).expect("tolerant").restore(&mut deny);
        assert!(deny.entries().is_empty());
    }
}
