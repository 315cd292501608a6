//! The wheel beside a sorted map.

use super::*;
use std::collections::BTreeMap;

#[test]
fn wheel_hands_out_what_a_sorted_map_does() {
    for seed in 0..40 {
        model(seed);
    }
}

/// Random insertions, removals and steps of all magnitudes; then every entry must come out at its tick or, where the
/// step was larger, with that step.
fn model(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut now = random.u64(..1 << 40);
    let mut wheel = Wheel::new(now);
    let mut oracle: BTreeMap<(u64, u64), Entry> = BTreeMap::new();
    for id in 0..3000 {
        match random.u8(..8) {
            0..4 => {
                let magnitude = random.u32(1..41);
                let due = now.saturating_sub(3) + random.u64(..1 << magnitude);
                oracle.insert((due, id), wheel.insert(due, (due, id)));
            }
            4 if !oracle.is_empty() => {
                let (&key, &entry) = oracle.iter().nth(random.usize(..oracle.len())).unwrap();
                oracle.remove(&key);
                assert_eq!(wheel.remove(entry), Some(key));
            }
            _ => {
                let magnitude = random.u32(1..39);
                now += random.u64(..1 << magnitude) + 1;
                step(&mut wheel, &mut oracle, now);
            }
        }
        assert_eq!(wheel.len(), oracle.len());
        let first = oracle.keys().next().map(|&(due, _)| due.max(now + 1));
        assert!(wheel.next_tick() <= first || first.is_none());
        assert_eq!(wheel.next_tick().is_none(), first.is_none());
    }
    step(&mut wheel, &mut oracle, now + (1 << 42));
    assert_eq!((wheel.len(), wheel.next_tick()), (0, None));
}

fn step(wheel: &mut Wheel<(u64, u64)>, oracle: &mut BTreeMap<(u64, u64), Entry>, now: u64) {
    let mut expired = Vec::new();
    wheel.advance(now, |key| expired.push(key));
    expired.sort_unstable();
    let later = oracle.split_off(&(now + 1, 0));
    assert_eq!(expired, oracle.keys().copied().collect::<Vec<_>>());
    *oracle = later;
}

#[test]
fn waiting_from_one_tick_to_the_next_reaches_every_entry_in_time() {
    let mut wheel = Wheel::new(1000);
    for due in [1001, 1063, 1064, 5000, 70_000, 1 << 20] {
        wheel.insert(due, due);
    }
    let mut seen = Vec::new();
    while let Some(tick) = wheel.next_tick() {
        wheel.advance(tick, |due| seen.push((tick, due)));
    }
    assert!(seen.iter().all(|(tick, due)| tick == due), "{seen:?}");
    assert_eq!(seen.len(), 6);
}
