//! The whole history says the same.

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// All of it remembered: the windows one after another, each with the times of its sources.
#[derive(Default)]
struct Oracle {
    windows: Vec<Vec<u64>>,
    until: Vec<u64>,
}

impl Oracle {
    fn met(&mut self, now: u64, max: u64) -> bool {
        if self.windows.last().is_none_or(|window| now - window[0] >= SECOND) {
            self.windows.push(Vec::new());
        }
        let window = self.windows.last_mut().expect("just made");
        window.push(now);
        if window.len() as u64 > max {
            self.until.push(now + SECOND);
        }
        self.until.iter().any(|until| now < *until)
    }

    /// The union of all times of pressure.
    fn pressed_ns(&self) -> u64 {
        let mut end = 0;
        let mut sum = 0;
        for until in &self.until {
            sum += until - (until - SECOND).max(end);
            end = *until;
        }
        sum
    }
}

proptest! {
    #[test]
    fn pressure_is_as_the_whole_history_says(
        max in 0_u64..20,
        gaps in proptest::collection::vec(prop_oneof![0_u64..10, 0..SECOND / 8, 0..3 * SECOND], 1..300),
    ) {
        let (mut cpu, mut oracle, mut now) = (Cpu::default(), Oracle::default(), 5 * SECOND);
        for gap in gaps {
            now += gap;
            prop_assert_eq!(met(&mut cpu, now, max), oracle.met(now, max));
            prop_assert_eq!(cpu.pressed_ns, oracle.pressed_ns());
        }
    }

    #[test]
    fn a_second_holds_so_many_samples(
        max in 0_u64..20,
        gaps in proptest::collection::vec(0..SECOND / 8, 1..300),
    ) {
        let (mut cpu, mut now) = (Cpu::default(), 5 * SECOND);
        let mut window: Option<(u64, u64)> = None;
        for gap in gaps {
            now += gap;
            let (start, taken) = window.filter(|(start, _)| now - start < SECOND).unwrap_or((now, 0));
            let take = sampled(&mut cpu, now, max);
            prop_assert_eq!(take, taken < max);
            window = Some((start, taken + u64::from(take)));
        }
    }
}

#[test]
fn pressure_ends_a_second_after_the_last_excess() {
    let mut cpu = Cpu::default();
    let at = 10 * SECOND;
    assert_eq!([0, 1, 2].map(|n| met(&mut cpu, at + n, 2)), [false, false, true]);
    assert!(met(&mut cpu, at + 1 + SECOND, 2), "a new second, but the pressure lasts");
    assert!(!met(&mut cpu, at + 2 + SECOND, 2));
    assert_eq!(cpu.pressed_ns, SECOND);
}
