//! Findings in memory: merged, bounded, found again. No clock, no file.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::item::{Item, Row};
use super::query::{Cursor, Filter};
use crate::base::hash::BuildMix;

/// All findings of this node.
#[derive(Default)]
pub(super) struct Store {
    items: HashMap<u128, Item, BuildMix>,
    /// By last denial: whose turn it is to go, and what is newest.
    by_age: BTreeSet<(u64, u128)>,
    /// Those that differ from their last line on disk.
    changed: HashSet<u128, BuildMix>,
}

/// A part of an answer.
pub(super) struct Page<'a> {
    pub(super) items: Vec<&'a Item>,
    /// Where the rest begins, if there is more.
    pub(super) next: Option<Cursor>,
}

impl Store {
    /// Adds denials to their finding.
    pub(super) fn merge(&mut self, later: Item) {
        let id = later.id.as_u128();
        self.changed.insert(id);
        match self.take(id) {
            Some(mut item) => {
                item.add(later);
                self.put(item);
            }
            None => self.put(later),
        }
    }

    /// Adds all that another one has.
    pub(super) fn merge_all(&mut self, later: Self) {
        later.items.into_values().for_each(|item| self.merge(item));
    }

    /// Takes a finding as it was kept, in place of an older line's.
    pub(super) fn keep(&mut self, item: Item) {
        self.take(item.id.as_u128());
        self.put(item);
    }

    fn take(&mut self, id: u128) -> Option<Item> {
        let item = self.items.remove(&id)?;
        self.by_age.remove(&(item.last_seen, id));
        Some(item)
    }

    fn put(&mut self, item: Item) {
        let id = item.id.as_u128();
        self.by_age.insert((item.last_seen, id));
        self.items.insert(id, item);
    }

    /// Drops findings without a denial since `since`.
    pub(super) fn expire(&mut self, since: u64) {
        while self.by_age.first().is_some_and(|(last_seen, _)| *last_seen < since) {
            self.drop_oldest();
        }
    }

    /// Drops the oldest beyond `max`; how many.
    pub(super) fn shrink(&mut self, max: usize) -> u64 {
        let over = self.items.len().saturating_sub(max);
        (0..over).for_each(|_| _ = self.drop_oldest());
        over as u64
    }

    /// Drops the finding whose last denial is the longest ago; which one.
    pub(super) fn drop_oldest(&mut self) -> Option<u128> {
        let (_, id) = self.by_age.pop_first()?;
        self.items.remove(&id);
        self.changed.remove(&id);
        Some(id)
    }

    /// Whether this finding is here.
    pub(super) fn holds(&self, id: u128) -> bool {
        self.items.contains_key(&id)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Those that have changed since they were last asked for.
    pub(super) fn take_changed(&mut self) -> Vec<u128> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// Has none of them written: there is no place for it.
    pub(super) fn forget_changed(&mut self) {
        self.changed.clear();
    }

    /// Has them written again.
    pub(super) fn mark(&mut self, ids: impl Iterator<Item = u128>) {
        self.changed.extend(ids.filter(|id| self.items.contains_key(id)));
    }

    /// Lines of those that are here.
    pub(super) fn lines(&self, ids: impl Iterator<Item = u128>, node_id: &str) -> Vec<(u128, Vec<u8>)> {
        let line = |id: u128| {
            let item = self.items.get(&id)?;
            Some((id, serde_json::to_vec(&Row::of(item, node_id)).ok()?))
        };
        ids.filter_map(line).collect()
    }

    /// Those that the filter lets through, from the cursor on: newest first, then largest.
    pub(super) fn page(&self, filter: &Filter) -> Page<'_> {
        let newest = filter.cursor.map_or(u64::MAX, |cursor| cursor.last_seen);
        let mut page = Page { items: Vec::new(), next: None };
        let mut ages = self.by_age.range(..=(newest, u128::MAX)).rev().peekable();
        while let Some((age, _)) = ages.peek().copied().copied() {
            // What is equally new is put in order together.
            let same = std::iter::from_fn(|| ages.next_if(|(last_seen, _)| *last_seen == age));
            let mut same: Vec<&Item> = same.filter_map(|(_, id)| self.items.get(id)).collect();
            same.retain(|item| filter.lets(item) && filter.cursor.is_none_or(|cursor| cursor < Cursor::of(item)));
            same.sort_unstable_by_key(|item| Cursor::of(item));
            page.items.extend(same);
            if page.items.len() > filter.limit {
                page.items.truncate(filter.limit);
                page.next = page.items.last().map(|item| Cursor::of(item));
                break;
            }
        }
        page
    }
}

#[cfg(test)]
mod tests;
