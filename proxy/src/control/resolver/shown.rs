//! The table of names: what is wanted, by whose leave, and what the API shows of it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::entry::Entry;
use super::{DnsUpdate, Settings, Wanted};
use crate::base::Instant;
use crate::config::value::NamePattern;

/// A list of rows, as the API shows it.
#[derive(Serialize)]
pub struct Shown {
    /// The rows.
    pub entries: Vec<Row>,
}

/// A name's addresses that may be used, or may not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// The name.
    pub hostname: String,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Unix seconds of the last answer with addresses.
    pub last_seen: Option<u64>,
    /// Seconds for which the answer still holds.
    pub ttl_s: Option<u64>,
    /// Whether the answer has outlived its TTL.
    pub stale: bool,
    /// Whether the addresses may be used.
    pub granted: bool,
    /// `resolved`, `unresolved`, `denied_address`, `allowed`, `not_allowed`.
    pub reason: &'static str,
    /// Why the last lookup failed.
    pub failure: Option<String>,
    /// The targets that use it, as `route/target`.
    pub used_by: Vec<String>,
}

#[derive(Default)]
pub(super) struct Table {
    names: BTreeMap<Arc<str>, Entry>,
    allow: Vec<NamePattern>,
}

impl Table {
    /// Takes the names of a new configuration. Addresses that other settings judge otherwise are reported.
    pub(super) fn want(&mut self, names: Vec<Wanted>, settings: &Settings) -> Vec<DnsUpdate> {
        let mut known = std::mem::take(&mut self.names);
        self.allow.clone_from(&settings.allow);
        let mut wanted = HashMap::new();
        for Wanted { hostname, used_by } in names {
            let mut entry: Entry = known.remove(&hostname).unwrap_or_default();
            entry.used_by = used_by;
            wanted.insert(hostname, entry);
        }
        self.names = wanted.into_iter().collect();
        let rejudged = self.names.iter_mut().filter_map(|(name, entry)| {
            let addresses = entry.rejudge(settings)?;
            Some(DnsUpdate { hostname: Arc::clone(name), addresses })
        });
        rejudged.collect()
    }

    pub(super) fn entry(&mut self, name: &str) -> Option<&mut Entry> {
        self.names.get_mut(name)
    }

    pub(super) fn all_asked(&self) -> bool {
        self.names.values().all(Entry::was_asked)
    }

    pub(super) fn rows(&self, hostname: Option<&str>, ip: Option<IpAddr>, now: Instant) -> Vec<Row> {
        let hostname = hostname.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let asked = self.names.iter().filter(|(name, _)| hostname.as_deref().is_none_or(|asked| asked == &***name));
        let mut rows: Vec<Row> = asked.flat_map(|(name, entry)| rows_of(name, entry, now)).collect();
        if let Some(name) = hostname.filter(|_| rows.is_empty()) {
            rows.push(self.unused(name));
        }
        rows.retain(|row| ip.is_none_or(|ip| row.ips.contains(&ip)));
        rows
    }

    /// A name that no target uses: whether it might.
    fn unused(&self, hostname: String) -> Row {
        let granted = self.allow.iter().any(|pattern| match pattern {
            NamePattern::Exact(name) => *name == hostname,
            NamePattern::Below(name) => hostname.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.')),
        });
        let reason = if granted { "allowed" } else { "not_allowed" };
        Row { granted, reason, ..Row::of(hostname, Vec::new()) }
    }
}

impl Row {
    fn of(hostname: String, ips: Vec<IpAddr>) -> Self {
        Self {
            hostname,
            ips,
            last_seen: None,
            ttl_s: None,
            stale: false,
            granted: true,
            reason: "resolved",
            failure: None,
            used_by: Vec::new(),
        }
    }
}

/// A row for what may be used and one for what may not; at least one.
fn rows_of(name: &str, entry: &Entry, now: Instant) -> Vec<Row> {
    let row = Row {
        last_seen: entry.last_seen,
        ttl_s: entry.fresh_until.map(|until| until.since(now).as_secs()),
        stale: entry.is_stale(now),
        failure: entry.failure.clone(),
        used_by: entry.used_by.clone(),
        ..Row::of(name.to_owned(), entry.granted.clone())
    };
    let mut rows = Vec::new();
    if !entry.denied.is_empty() {
        rows.push(Row { ips: entry.denied.clone(), granted: false, reason: "denied_address", ..row.clone() });
    }
    if !entry.granted.is_empty() {
        rows.push(row);
    } else if rows.is_empty() {
        rows.push(Row { reason: "unresolved", ..row });
    }
    rows
}
