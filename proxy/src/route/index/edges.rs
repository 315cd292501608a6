//! The edges of a trie, all in one open-addressed table: (parent node, label) to child, two cache lines a step
//! whatever the number of edges. The keys come from the document, so no client can choose collisions.

use xxhash_rust::xxh3::xxh3_64_with_seed;

const FREE: u32 = u32::MAX;
const CAPACITY_MIN: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    slots: Vec<Slot>,
    labels: Vec<u8>,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    parent: u32,
    label: u32,
    len: u32,
    child: u32,
}

impl Edges {
    /// The child of `parent` by `label`.
    pub(crate) fn find(&self, parent: u32, label: &[u8]) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let slot = &self.slots[self.place(hash(parent, label), parent, label)];
        (slot.child != FREE).then_some(slot.child)
    }

    /// The child of `parent` by `label`, made by `new` if there is none yet.
    pub(crate) fn insert(&mut self, parent: u32, label: &[u8], new: impl FnOnce() -> u32) -> u32 {
        if 2 * (self.used + 1) > self.slots.len() {
            self.grow();
        }
        let hash = hash(parent, label);
        let place = self.place(hash, parent, label);
        if self.slots[place].child == FREE {
            let start = self.labels.len() as u32;
            self.labels.extend_from_slice(label);
            self.slots[place] = Slot { hash, parent, label: start, len: label.len() as u32, child: new() };
            self.used += 1;
        }
        self.slots[place].child
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The slot that holds the edge, or the free one where it belongs: the table is never more than half full.
    fn place(&self, hash: u32, parent: u32, label: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = &self.slots[at];
            if slot.child == FREE || (slot.hash == hash && slot.parent == parent && self.label(slot) == label) {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    fn label(&self, slot: &Slot) -> &[u8] {
        &self.labels[slot.label as usize..][..slot.len as usize]
    }

    fn grow(&mut self) {
        let capacity = (2 * self.slots.len()).max(CAPACITY_MIN);
        let free = Slot { hash: 0, parent: 0, label: 0, len: 0, child: FREE };
        let old = std::mem::replace(&mut self.slots, vec![free; capacity]);
        for slot in old.into_iter().filter(|slot| slot.child != FREE) {
            let mut at = slot.hash as usize & (capacity - 1);
            while self.slots[at].child != FREE {
                at = (at + 1) & (capacity - 1);
            }
            self.slots[at] = slot;
        }
    }
}

fn hash(parent: u32, label: &[u8]) -> u32 {
    xxh3_64_with_seed(label, parent.into()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_edges_are_found_and_no_others() {
        let mut edges = Edges::default();
        assert_eq!(edges.find(0, b"x"), None);
        for i in 0..10_000u32 {
            assert_eq!(edges.insert(i % 7, i.to_string().as_bytes(), || i), i);
        }
        for i in 0..10_000u32 {
            let label = i.to_string();
            assert_eq!(edges.insert(i % 7, label.as_bytes(), || u32::MAX - 1), i);
            assert_eq!(edges.find(i % 7, label.as_bytes()), Some(i));
            assert_eq!(edges.find(i % 7 + 1, label.as_bytes()), None);
        }
    }
}
