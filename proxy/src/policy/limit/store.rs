//! A table of keys for all workers: sets of eight slots, chosen by hash, read and charged without locks.
//!
//! A slot is a key's while it bears its tag. Who looks a key up stores when it was seen, then reads the tag again; who
//! evicts it claims the tag, then reads again when it was seen. All four are sequentially consistent, so one of the two
//! notices the other: the looker finds another tag and starts over, or the evictor finds the key in use and yields. From
//! then on the slot is safe for a second, since only keys that were not seen for one are evicted.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::algorithm::{Algorithm, Start};
use super::key::Key;

const SLOTS: usize = 8;
/// Tags that no key has: [`Key`] makes none below 2.
const EMPTY: u64 = 0;
const CLAIMED: u64 = 1;
/// A key that was seen within this time is not evicted.
const IN_USE: u64 = 1_000_000_000;
/// Cells for keys that found no slot.
const COMMON: usize = 64;
/// Locks for putting keys in; a set's is always the same one.
const GATES: usize = 64;

/// See the module.
pub(in crate::policy) struct Store<C> {
    sets: Box<[Set<C>]>,
    common: Box<[Common<C>]>,
    gates: Box<[Gate]>,
    counts: Counts,
}

#[derive(Default)]
#[repr(align(64))]
struct Set<C> {
    slots: [Slot<C>; SLOTS],
}

#[derive(Default)]
#[repr(align(32))]
struct Slot<C> {
    tag: AtomicU64,
    /// When the key was last looked up; grows with each look, so that none goes unnoticed.
    seen: AtomicU64,
    cell: C,
}

#[derive(Default)]
#[repr(align(64))]
struct Common<C>(C);

/// Whoever holds it puts a key in: two workers that bring the same key find one slot.
#[derive(Default)]
#[repr(align(64))]
struct Gate(AtomicBool);

/// What became of keys, since the table was made.
#[derive(Default, Debug)]
pub(in crate::policy) struct Counts {
    /// Slots in use.
    pub(in crate::policy) keys: AtomicU64,
    /// Keys that made room for another before they were idle.
    pub(in crate::policy) evicted: AtomicU64,
}

const _: () = assert!(size_of::<Set<AtomicU64>>() == 32 * SLOTS, "32 octets a key");
const _: () = assert!(size_of::<Set<super::sliding::Parts>>() == 128 * SLOTS, "128 octets a key of a sliding window");

/// What a charge needs to know beside the algorithm.
#[derive(Clone, Copy)]
pub(in crate::policy) struct Now {
    /// The time.
    pub(in crate::policy) ns: u64,
    /// A key that was not seen for so long is forgotten.
    pub(in crate::policy) idle: u64,
}

/// Octets of a store of `keys` keys with cells of type `C`.
pub(in crate::policy) const fn bytes<C>(keys: u64) -> u64 {
    keys.div_ceil(SLOTS as u64) * size_of::<Set<C>>() as u64
        + (COMMON * size_of::<Common<C>>() + GATES * size_of::<Gate>()) as u64
}

impl<C: Default> Store<C> {
    /// Room for `keys` keys, taken at once.
    pub(in crate::policy) fn new(keys: u64) -> Self {
        let sets = usize::try_from(keys.div_ceil(SLOTS as u64)).unwrap_or(usize::MAX).max(1);
        Self { sets: many(sets), common: many(COMMON), gates: many(GATES), counts: Counts::default() }
    }

    /// What became of keys.
    pub(in crate::policy) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Charges the key's own cell, which begins now if it was not there. `None`: neither was there room for it.
    pub(in crate::policy) fn charge<A: Algorithm<Cell = C>>(
        &self,
        algorithm: &A,
        key: Key,
        now: Now,
    ) -> Option<A::Outcome> {
        loop {
            let slot = self.find(key, now.ns).or_else(|| self.insert(algorithm, key, now))?;
            let held = || slot.tag.load(Ordering::Acquire) == key.tag;
            if let Some(outcome) = algorithm.charge(&slot.cell, now.ns, held) {
                return Some(outcome);
            }
        }
    }

    /// Charges one of the common cells.
    pub(in crate::policy) fn charge_common<A: Algorithm<Cell = C>>(
        &self,
        algorithm: &A,
        key: Key,
        now: Now,
    ) -> Option<A::Outcome> {
        let cell = &self.common[key.tag as usize % COMMON].0;
        algorithm.charge(cell, now.ns, || true)
    }

    /// The set's slots, the one that the key would like best first.
    fn slots(&self, key: Key) -> impl Iterator<Item = &Slot<C>> {
        let set = &self.sets[self.set_of(key)];
        (0..SLOTS).map(move |step| &set.slots[(key.tag as usize).wrapping_add(step) % SLOTS])
    }

    fn find(&self, key: Key, now: u64) -> Option<&Slot<C>> {
        self.slots(key).find(|slot| slot.tag.load(Ordering::Acquire) == key.tag && slot.touch(key.tag, now))
    }

    fn insert<A: Algorithm<Cell = C>>(&self, algorithm: &A, key: Key, now: Now) -> Option<&Slot<C>> {
        let _turn = self.gates[self.set_of(key) % GATES].enter();
        if let Some(slot) = self.find(key, now.ns) {
            return Some(slot);
        }
        // A victim that is looked up in this moment yields nothing: then there is another, or none.
        for _ in 0..SLOTS {
            let Some(victim) = self.victim(key, now) else { break };
            let start = victim.start;
            if victim.slot.replace(&victim, key.tag, now.ns, |cell| algorithm.begin(cell, start, now.ns)) {
                self.count(&victim);
                return Some(victim.slot);
            }
        }
        None
    }

    /// An empty slot, or the key that was not seen for the longest time, if that is long enough.
    fn victim(&self, key: Key, now: Now) -> Option<Victim<'_, C>> {
        let victims = self.slots(key).map(|slot| {
            let (tag, seen) = (slot.tag.load(Ordering::Relaxed), slot.seen.load(Ordering::Relaxed));
            Victim { slot, tag, seen, start: Start::Fresh }
        });
        let oldest = victims.min_by_key(|victim| (victim.tag != EMPTY, victim.seen))?;
        let age = now.ns.saturating_sub(oldest.seen);
        match oldest.tag {
            EMPTY => Some(oldest),
            _ if age >= now.idle => Some(oldest),
            _ if age >= IN_USE => Some(Victim { start: Start::Half, ..oldest }),
            _ => None,
        }
    }

    fn count(&self, victim: &Victim<'_, C>) {
        if victim.tag == EMPTY {
            self.counts.keys.fetch_add(1, Ordering::Relaxed);
        } else if victim.start == Start::Half {
            self.counts.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The high half of the product spreads hashes evenly over any number of sets.
    fn set_of(&self, key: Key) -> usize {
        ((u128::from(key.set) * self.sets.len() as u128) >> 64) as usize
    }
}

/// A slot that may be another key's, as it was when it was chosen.
struct Victim<'s, C> {
    slot: &'s Slot<C>,
    tag: u64,
    seen: u64,
    /// How the next key begins.
    start: Start,
}

impl<C> Slot<C> {
    /// Notes that the key was seen. False: the slot is not its own any more.
    fn touch(&self, tag: u64, now: u64) -> bool {
        let seen = self.seen.load(Ordering::Relaxed);
        self.seen.store(now.max(seen + 1), Ordering::SeqCst);
        self.tag.load(Ordering::SeqCst) == tag
    }

    /// Gives the slot to another key, unless its own is looked up meanwhile. Only who holds the gate may.
    fn replace(&self, victim: &Victim<'_, C>, tag: u64, now: u64, begin: impl FnOnce(&C)) -> bool {
        self.tag.swap(CLAIMED, Ordering::SeqCst);
        if self.seen.load(Ordering::SeqCst) != victim.seen {
            self.tag.store(victim.tag, Ordering::Release);
            return false;
        }
        begin(&self.cell);
        self.seen.store(now, Ordering::Relaxed);
        self.tag.store(tag, Ordering::Release);
        true
    }
}

/// A turn at a gate.
struct Turn<'g>(&'g Gate);

impl Gate {
    fn enter(&self) -> Turn<'_> {
        spin(|| (!self.0.swap(true, Ordering::Acquire)).then(|| Turn(self)))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

fn many<T: Default>(count: usize) -> Box<[T]> {
    std::iter::repeat_with(T::default).take(count).collect()
}

/// Tries until it works. What is waited for takes nanoseconds, unless its thread lost its core: then that is lent ours.
pub(in crate::policy) fn spin<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    const SPINS: u32 = 64;
    let mut spins = 0;
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        spins += 1;
        if spins % SPINS == 0 { std::thread::yield_now() } else { spin_loop() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// One look against one eviction of the same key, many times over.
    #[test]
    fn looker_and_evictor_never_both_have_the_slot() {
        const ROUNDS: usize = 20_000;
        let slots: Vec<Slot<AtomicU64>> = (0..ROUNDS).map(|_| Slot::default()).collect();
        slots.iter().for_each(|slot| slot.tag.store(7, Ordering::Relaxed));
        let reached = [AtomicUsize::new(0), AtomicUsize::new(0)];
        // Both go from slot to slot together, so that they meet at each.
        let together = |me: usize, round: usize| {
            reached[me].store(round + 1, Ordering::Release);
            spin(|| (reached[1 - me].load(Ordering::Acquire) > round).then_some(()));
        };
        let (found, evicted): (Vec<bool>, Vec<bool>) = std::thread::scope(|scope| {
            let looker = scope.spawn(|| {
                let look = |(round, slot): (usize, &Slot<AtomicU64>)| {
                    together(0, round);
                    slot.touch(7, 0)
                };
                slots.iter().enumerate().map(look).collect()
            });
            let evict = |(round, slot)| {
                together(1, round);
                let victim = Victim { slot, tag: 7, seen: 0, start: Start::Half };
                slot.replace(&victim, 8, 5, |cell: &AtomicU64| cell.store(1, Ordering::Relaxed))
            };
            let evicted = slots.iter().enumerate().map(evict).collect();
            (looker.join().unwrap(), evicted)
        });
        for (round, slot) in slots.iter().enumerate() {
            assert!(!(found[round] && evicted[round]), "both in round {round}");
            let tag = if evicted[round] { 8 } else { 7 };
            assert_eq!(slot.tag.load(Ordering::Relaxed), tag, "who yields leaves the slot as it was");
        }
        assert!(found.contains(&true) && evicted.contains(&true));
    }
}
