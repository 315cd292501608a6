//! A hierarchical timer wheel: insertion, removal and the next expiry at constant cost.
//!
//! Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987). Each level has 64 slots and one bit for each
//! slot that is taken; an entry moves down a level when the time of its slot comes.

const LEVELS: usize = 6;
const SLOTS: usize = 64;
const BITS: u32 = 6;
/// Farther deadlines wait in the last level, and are looked at again when it comes round.
const TICKS_MAX: u64 = 1 << (BITS as usize * LEVELS);
const NONE: u32 = u32::MAX;

/// Entries by the tick at which they expire.
pub(super) struct Wheel<T> {
    /// Every entry due at or before this tick has been handed out.
    tick: u64,
    heads: [[u32; SLOTS]; LEVELS],
    taken: [u64; LEVELS],
    nodes: Vec<Node<T>>,
    free: u32,
    len: usize,
}

struct Node<T> {
    value: Option<T>,
    due: u64,
    previous: u32,
    next: u32,
    place: (u8, u8),
}

/// Names an entry until it expires or is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry(u32);

impl<T> Wheel<T> {
    pub(super) fn new(tick: u64) -> Self {
        let heads = [[NONE; SLOTS]; LEVELS];
        Self { tick, heads, taken: [0; LEVELS], nodes: Vec::new(), free: NONE, len: 0 }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds `value`, due at tick `due`; what is already due expires with the next tick.
    pub(super) fn insert(&mut self, due: u64, value: T) -> Entry {
        let node = Node { value: Some(value), due, previous: NONE, next: NONE, place: (0, 0) };
        let index = if self.free == NONE {
            self.nodes.push(node);
            self.nodes.len() as u32 - 1
        } else {
            let index = self.free;
            self.free = self.nodes[index as usize].next;
            self.nodes[index as usize] = node;
            index
        };
        self.len += 1;
        self.link(index);
        Entry(index)
    }

    /// Takes an entry out before it is due.
    pub(super) fn remove(&mut self, entry: Entry) -> Option<T> {
        self.nodes.get(entry.0 as usize)?.value.as_ref()?;
        self.unlink(entry.0);
        self.release(entry.0)
    }

    /// The first tick at which [`Wheel::advance`] has something to do: an entry to hand out, or to move down a level.
    pub(super) fn next_tick(&self) -> Option<u64> {
        let of_level = |level: usize| {
            let taken = self.taken[level];
            let shift = BITS * level as u32;
            let position = self.tick >> shift;
            // Slots after the present one come first, those before it in the next round.
            let ahead = taken.rotate_right((position as u32 + 1) % SLOTS as u32).trailing_zeros();
            (taken != 0).then(|| (position + 1 + u64::from(ahead)) << shift)
        };
        (0..LEVELS).filter_map(of_level).min()
    }

    /// Moves on to tick `to`, handing out what became due, in the order of ticks.
    pub(super) fn advance(&mut self, to: u64, mut expire: impl FnMut(T)) {
        while let Some(next) = self.next_tick().filter(|&next| next <= to) {
            self.tick = next;
            for level in (0..LEVELS).rev() {
                let shift = BITS * level as u32;
                if next & ((1 << shift) - 1) == 0 {
                    self.empty_slot(level, (next >> shift) as usize % SLOTS, &mut expire);
                }
            }
        }
        self.tick = self.tick.max(to);
    }

    fn empty_slot(&mut self, level: usize, slot: usize, expire: &mut impl FnMut(T)) {
        self.taken[level] &= !(1 << slot);
        let mut index = std::mem::replace(&mut self.heads[level][slot], NONE);
        while index != NONE {
            let next = self.nodes[index as usize].next;
            if self.nodes[index as usize].due > self.tick {
                self.link(index);
            } else if let Some(value) = self.release(index) {
                expire(value);
            }
            index = next;
        }
    }

    fn link(&mut self, index: u32) {
        let due = self.nodes[index as usize].due.clamp(self.tick + 1, self.tick + TICKS_MAX - 1);
        let distance = due ^ self.tick;
        let level = ((63 - distance.leading_zeros()) / BITS).min(LEVELS as u32 - 1) as usize;
        let slot = (due >> (BITS * level as u32)) as usize % SLOTS;
        let head = std::mem::replace(&mut self.heads[level][slot], index);
        if head != NONE {
            self.nodes[head as usize].previous = index;
        }
        let node = &mut self.nodes[index as usize];
        (node.previous, node.next, node.place) = (NONE, head, (level as u8, slot as u8));
        self.taken[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Node { previous, next, place: (level, slot), .. } = self.nodes[index as usize];
        let (level, slot) = (usize::from(level), usize::from(slot));
        if next != NONE {
            self.nodes[next as usize].previous = previous;
        }
        if previous == NONE {
            self.heads[level][slot] = next;
        } else {
            self.nodes[previous as usize].next = next;
        }
        if self.heads[level][slot] == NONE {
            self.taken[level] &= !(1 << slot);
        }
    }

    fn release(&mut self, index: u32) -> Option<T> {
        self.len -= 1;
        let node = &mut self.nodes[index as usize];
        node.next = std::mem::replace(&mut self.free, index);
        node.value.take()
    }
}

#[cfg(test)]
mod tests;
