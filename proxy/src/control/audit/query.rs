//! What is asked of findings: filters, the order, where a page ends.

use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use uuid::Uuid;

use super::item::Item;
use crate::policy::finding::{Action, Kind};

/// Items of an answer.
pub(super) const LIMIT: usize = 500;
/// Items of the largest answer.
pub(in crate::control) const LIMIT_MAX: usize = 10_000;
/// Kinds of Neuwerk's that may be asked for, though nothing here finds them.
const UNSENT: [&str; 6] = ["auth", "auth_sso", "icmp_deny", "l4_deny", "waf_block", "waf_challenge"];

/// Within a list any may hold, of the lists all that are not empty must.
#[derive(Clone, Debug)]
pub(in crate::control) struct Filter {
    pub(in crate::control) policy_id: Vec<Uuid>,
    pub(in crate::control) finding_type: Vec<&'static str>,
    pub(in crate::control) source_group: Vec<String>,
    pub(in crate::control) src_ip: Vec<IpNet>,
    pub(in crate::control) action: Vec<Action>,
    pub(in crate::control) rule: Vec<String>,
    /// Parts of names, lower case.
    pub(in crate::control) q: Vec<String>,
    /// Unix seconds: some denial at or after, at or before.
    pub(in crate::control) since: u64,
    pub(in crate::control) until: u64,
    pub(in crate::control) limit: usize,
    pub(in crate::control) cursor: Option<Cursor>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            policy_id: Vec::new(),
            finding_type: Vec::new(),
            source_group: Vec::new(),
            src_ip: Vec::new(),
            action: Vec::new(),
            rule: Vec::new(),
            q: Vec::new(),
            since: 0,
            until: u64::MAX,
            limit: LIMIT,
            cursor: None,
        }
    }
}

impl Filter {
    /// Whether an item is asked for.
    pub(super) fn lets(&self, item: &Item) -> bool {
        item.last_seen >= self.since
            && item.first_seen <= self.until
            && any(&self.policy_id, |id| *id == item.policy_id)
            && any(&self.finding_type, |kind| *kind == item.kind.token())
            && any(&self.action, |action| *action == item.action)
            && any(&self.source_group, |group| group.eq_ignore_ascii_case(&item.listener))
            && any(&self.rule, |rule| **rule == *item.rule)
            && any(&self.src_ip, |net| is_of(item, net))
            && any(&self.q, |part| names(item).any(|name| name.to_lowercase().contains(part.as_str())))
    }
}

fn any<T>(wanted: &[T], holds: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(holds)
}

fn is_of(item: &Item, net: &IpNet) -> bool {
    let clients = item.clients.iter().map(|(client, _)| client);
    item.source.into_iter().chain(clients).any(|ip: IpAddr| net.contains(&ip))
}

fn names(item: &Item) -> impl Iterator<Item = &str> {
    [&item.rule, &item.listener, &item.host, &item.sni, &item.fqdn, &item.reason].into_iter().map(|name| &**name)
}

/// The kind of findings of this name.
pub(in crate::control) fn finding_type(text: &str) -> Option<&'static str> {
    let known = Kind::ALL.iter().map(|kind| kind.token()).chain(UNSENT);
    known.into_iter().find(|kind| kind.eq_ignore_ascii_case(text))
}

/// The action of this name.
pub(in crate::control) fn action(text: &str) -> Option<Action> {
    [Action::Enforced, Action::WouldDeny].into_iter().find(|action| action.word() == text)
}

/// A place in the order: newest, then largest, first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::control) struct Cursor {
    pub(super) last_seen: u64,
    count: u64,
    id: u128,
}

impl Cursor {
    pub(super) fn of(item: &Item) -> Self {
        Self { last_seen: item.last_seen, count: item.count, id: item.id.as_u128() }
    }

    /// Reads what its text form says.
    pub(in crate::control) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (last_seen, count) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let id = u128::from_str_radix(parts.next().filter(|id| id.len() == 32)?, 16).ok()?;
        parts.next().is_none().then_some(Self { last_seen, count, id })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{:032x}", self.last_seen, self.count, self.id)
    }
}

impl Ord for Cursor {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |cursor: &Self| (Reverse(cursor.last_seen), Reverse(cursor.count), cursor.id);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
