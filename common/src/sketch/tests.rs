//! A key gets no more than alone, whoever it meets, and however CPUs interleave.

use core::sync::atomic::AtomicU64;
use std::collections::HashMap;
use std::net::IpAddr;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::gcra::tests::{Bucket, admitted_by_eight, limit, most};

fn key(number: u32) -> Address {
    IpAddr::from(number.to_be_bytes()).into()
}

/// Rows so short that keys meet.
struct Rows {
    rows: [Vec<AtomicU64>; 2],
    seeds: [u64; 2],
}

impl Rows {
    fn new(cells: usize) -> Self {
        let row = || (0..cells).map(|_| AtomicU64::new(0)).collect();
        Self { rows: [row(), row()], seeds: [1, 2] }
    }

    fn places(&self, key: Address) -> [usize; 2] {
        [0, 1].map(|row| place(key, self.seeds[row]) as usize % self.rows[row].len())
    }

    fn charge(&self, key: Address, now: u64, limit: Limit) -> Charge {
        let [first, second] = self.places(key);
        charge(&[Shared(&self.rows[0][first]), Shared(&self.rows[1][second])], now, limit)
    }
}

struct Shared<'a>(&'a AtomicU64);

impl Cell for Shared<'_> {
    fn load(&self) -> u64 {
        Cell::load(self.0)
    }

    fn exchange(&self, old: u64, new: u64) -> u64 {
        self.0.exchange(old, new)
    }
}

proptest! {
    #[test]
    fn what_a_key_alone_would_be_denied_is_denied(
        t in 1_u64..1000,
        burst in 1_u64..8,
        packets in proptest::collection::vec((0_u32..40, 0_u64..200), 1..400),
    ) {
        let rows = Rows::new(16);
        let (mut now, mut times) = (0, HashMap::<u32, Vec<u64>>::new());
        for (number, gap) in packets {
            now += gap;
            let Charge::Admitted = rows.charge(key(number), now, limit(t, burst)) else { continue };
            let times = times.entry(number).or_default();
            times.push(now);
            for (from, first) in times.iter().enumerate() {
                prop_assert!((times.len() - from) as u64 <= most(now - first, t, burst));
            }
        }
    }

    #[test]
    fn keys_that_do_not_meet_are_limited_as_if_alone(
        t in 1_u64..1000,
        burst in 1_u64..8,
        packets in proptest::collection::vec((0_u32..40, 0_u64..200), 1..400),
    ) {
        let rows = Rows::new(ROW_CELLS as usize);
        let (mut now, mut alone) = (0, HashMap::new());
        for (number, gap) in packets {
            now += gap;
            let expected = alone.entry(number).or_insert_with(Bucket::new).admits(now, t, burst);
            prop_assert_eq!(rows.charge(key(number), now, limit(t, burst)) == Charge::Admitted, expected);
        }
    }
}

#[test]
fn a_charge_leaves_a_cell_alone_that_is_higher_already() {
    let cells = [AtomicU64::new(50), AtomicU64::new(900)];
    assert_eq!(charge(&[Shared(&cells[0]), Shared(&cells[1])], 0, limit(100, 8)), Charge::Admitted);
    assert_eq!(cells.map(AtomicU64::into_inner), [150, 900]);
    let cells = [AtomicU64::new(950), AtomicU64::new(900)];
    assert_eq!(charge(&[Shared(&cells[0]), Shared(&cells[1])], 0, limit(100, 8)), Charge::Denied);
    assert_eq!(cells.map(AtomicU64::into_inner), [950, 900], "a denied packet writes nothing");
}

#[test]
fn eight_threads_on_one_key_are_never_over() {
    for round in 0..20 {
        let rows = Rows::new(16);
        let limit = limit(7, 100);
        let admitted = admitted_by_eight(2_000, |at| rows.charge(key(round), 1_000_000 + at, limit));
        assert!(admitted <= most(2_000, 7, 100), "{admitted}");
        assert!(admitted > 50, "{admitted}");
    }
}

#[test]
fn eight_threads_on_keys_that_share_a_cell_are_never_over() {
    let rows = Rows::new(4);
    let first = key(0);
    let meets = |other: &u32| rows.places(key(*other))[0] == rows.places(first)[0];
    let second = key((1..).find(|other| meets(other)).expect("four cells"));
    let limit = limit(7, 100);
    let of = |at: u64| if at.is_multiple_of(2) { first } else { second };
    let admitted = admitted_by_eight(20_000, |at| rows.charge(of(at), 1_000_000, limit));
    assert!((50..=200).contains(&admitted), "{admitted}");
}

#[test]
fn keys_are_spread_and_the_rows_differ() {
    let mut counts = [vec![0_u32; ROW_CELLS as usize], vec![0_u32; ROW_CELLS as usize]];
    let mut both = 0;
    for number in 0..4 * ROW_CELLS {
        let places = [11, 22].map(|seed| place(key(number), seed));
        counts[0][places[0] as usize] += 1;
        counts[1][places[1] as usize] += 1;
        both += u32::from(places[0] == places[1]);
    }
    // Four on average: by chance hardly ever 25, and 2 % are met by none.
    for row in counts {
        assert!(row.iter().all(|count| *count < 25));
        let empty = row.iter().filter(|count| **count == 0).count();
        assert!((800..1600).contains(&empty), "{empty}");
    }
    assert!(both < 50, "{both}");
    // Also by what is not the last word.
    let sixes: Vec<_> = (0..1000_u32).map(|at| place(Address::v6([at.to_be(), 0, 0, 0]), 7)).collect();
    assert!(sixes.iter().collect::<std::collections::HashSet<_>>().len() > 950);
}

/// A cell to which something happens behind one of its owner's steps.
struct Watched<'a> {
    cell: &'a AtomicU64,
    step: &'a dyn Fn(),
}

impl Cell for Watched<'_> {
    fn load(&self) -> u64 {
        let held = Cell::load(self.cell);
        (self.step)();
        held
    }

    fn exchange(&self, old: u64, new: u64) -> u64 {
        let held = self.cell.exchange(old, new);
        (self.step)();
        held
    }
}

/// All interleavings of a charge with a whole one of another CPU, from every state of two cells that matters.
#[test]
fn a_charge_between_any_two_steps_of_another_is_not_over() {
    for (at, first, second) in (0..8).flat_map(|at| [(at, 0, 0), (at, 0, 300), (at, 300, 0), (at, 100, 100)]) {
        let cells = [AtomicU64::new(first), AtomicU64::new(second)];
        let limit = limit(100, 2);
        let (steps, other) = (core::cell::Cell::new(0), core::cell::Cell::new(None));
        let step = || {
            if steps.replace(steps.get() + 1) == at {
                other.set(Some(charge(&[Shared(&cells[0]), Shared(&cells[1])], 0, limit)));
            }
        };
        let own = charge(&cells.each_ref().map(|cell| Watched { cell, step: &step }), 0, limit);
        let admitted = [Some(own), other.get()].iter().filter(|one| **one == Some(Charge::Admitted)).count() as u64;
        let room = (200 - first.min(second)) / 100;
        assert!(admitted <= room, "{admitted} of {room} from {first}, {second} at step {at}");
    }
}
