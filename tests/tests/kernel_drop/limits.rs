//! Limits of SYNs in the kernel: time makes room, full maps, pressure.

use std::sync::Barrier;

use aya::programs::Xdp;
use aya::{TestRun, TestRunOptions};
use weir_common::abi::Plain;
use weir_common::abi::drop::{Action, Cause, Conf, Denied, Limit, arm, counted, map};
use weir_common::oracle::Frame;
use weir_tests::wait;

use crate::both::{Both, DROP, PASS, burst, cpus, now, pin};

fn conf(armed: u32) -> Conf {
    Conf { armed, dry_run: 0, source: burst(2), parent: burst(1000), total: burst(1000), seeds: [5, 6], ..Conf::IDLE }
}

/// A SYN of one of many sources.
fn syn(number: u32) -> Vec<u8> {
    let [_, a, b, c] = number.to_be_bytes();
    Frame { src: ([10, a, b, c], 40_000).into(), ..Frame::default() }.octets()
}

fn remembered(both: &mut Both) -> usize {
    both.hash::<[u8; 16], u64>(map::SYN).keys().count()
}

#[test]
fn a_denied_source_is_served_again_as_time_makes_room() {
    let limit = Limit { t: 200_000_000, tolerance: 200_000_000 };
    let both = Both::new(Conf { source: limit, ..conf(arm::SOURCE) });
    let started = now();
    let passed = std::cell::Cell::new(0);
    wait::until("four SYNs passed", || {
        passed.set(passed.get() + u32::from(both.run(&syn(1)) == PASS));
        passed.get() == 4
    });
    // Two at once, and one more each 200 ms; the program may have read the clock before us.
    assert!(now() - started >= 400_000_000 - 10_000_000);
    assert!(both.counted(counted(Cause::SynSource, Action::Drop)).packets > 0);
}

#[test]
fn under_pressure_sources_are_not_remembered_and_yet_limited() {
    let mut both = Both::new(Conf { pressure: 100, ..conf(arm::SOURCE) });
    both.know("10.9.9.9", u64::MAX);
    for number in 0..300 {
        assert_eq!(both.run(&syn(number)), PASS);
    }
    assert_eq!(remembered(&mut both), 100);
    assert_eq!([syn(250), syn(250)].map(|frame| both.run(&frame)), [PASS, DROP]);
    assert_eq!([syn(50), syn(50)].map(|frame| both.run(&frame)), [PASS, DROP], "a remembered one goes on");
    assert_eq!(both.run(&syn(0x09_09_09)), PASS);
    assert_eq!(remembered(&mut both), 101, "a known one is remembered");
    let pressed = both.cpu().pressed_ns;
    assert!((1_000_000_000..2_000_000_000).contains(&pressed), "{pressed}");
}

#[test]
fn a_second_after_the_flood_new_sources_are_remembered_again() {
    let mut both = Both::new(Conf { pressure: 100, ..conf(arm::SOURCE) });
    (0..150).for_each(|number| assert_eq!(both.run(&syn(number)), PASS));
    assert_eq!(remembered(&mut both), 100);
    let end = both.cpu().pressed_until;
    let end_seen = || now() >= end;
    wait::until("the end of the pressure", end_seen);
    assert_eq!(both.run(&syn(200)), PASS);
    assert_eq!(remembered(&mut both), 101);
}

#[test]
fn a_full_memory_of_sources_forgets_some_and_refuses_none() {
    const ENTRIES: u32 = 4096;
    let mut both = Both::sized(Conf { pressure: u64::MAX, ..conf(arm::SOURCE) }, &[(map::SYN, ENTRIES)]);
    for number in 0..3 * ENTRIES {
        assert_eq!(both.run(&syn(number)), PASS);
    }
    assert!(remembered(&mut both) <= ENTRIES as usize);
    let last = 3 * ENTRIES - 1;
    assert_eq!([syn(last), syn(last)].map(|frame| both.run(&frame)), [PASS, DROP], "the last is remembered");
}

#[test]
fn a_full_deny_map_refuses_entries_and_keeps_those_it_has() {
    const ENTRIES: u32 = 1024;
    let mut both = Both::sized(conf(arm::DENY), &[(map::DENY, ENTRIES)]);
    let entry = Denied { expires_ns: u64::MAX, rule: 1, ..Denied::default() };
    for number in 0..ENTRIES {
        let [_, a, b, c] = number.to_be_bytes();
        both.deny(&format!("10.{a}.{b}.{c}"), entry);
    }
    let more = crate::both::address("203.0.113.1").octets();
    both.insert(map::DENY, more, entry.octets()).expect_err("it is full");
    assert_eq!([syn(0), syn(ENTRIES - 1), syn(ENTRIES)].map(|frame| both.run(&frame)), [DROP, DROP, PASS]);
}

/// Runs a frame so often on each of 8 threads, spread over the CPUs.
fn on_eight_threads(program: &Xdp, cpus: &[usize], frame: &[u8], repeat: u32) {
    let start = Barrier::new(8);
    let run = |cpu| {
        pin(cpu);
        start.wait();
        program.test_run(TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() }).expect("a run");
    };
    std::thread::scope(|scope| {
        let run = &run;
        cpus.iter().cycle().take(8).for_each(|cpu| drop(scope.spawn(move || run(*cpu))));
    });
}

#[test]
fn eight_threads_on_one_cell_are_never_over() {
    const BURST: u64 = 2_000;
    const EACH: u32 = 5_000;
    let cpus = cpus();
    for (armed, pressure) in [(arm::SOURCE, u64::MAX), (arm::SOURCE, 0), (arm::PARENT, 0), (arm::TOTAL, 0)] {
        let limit = burst(BURST);
        let both = Both::new(Conf { source: limit, parent: limit, total: limit, pressure, ..conf(armed) });
        on_eight_threads(both.program(), &cpus, &syn(1), EACH);
        let dropped: u64 = Cause::ALL.map(|cause| both.counted(counted(cause, Action::Drop)).packets).iter().sum();
        let passed = 8 * u64::from(EACH) - dropped;
        assert!((BURST / 2..=BURST).contains(&passed), "{passed} of {armed:b}");
    }
}

#[test]
fn a_machine_over_its_total_serves_known_sources() {
    let mut both = Both::new(Conf { total: burst(10), ..conf(arm::TOTAL) });
    both.know("10.0.0.200", u64::MAX);
    let causes = (0..20).map(|number| both.agree("total", &syn(number))).collect::<Vec<_>>();
    assert_eq!(causes, [[PASS; 10], [DROP; 10]].concat());
    assert_eq!(both.agree("known", &syn(200)), PASS);
    both.agree_on_counts();
}
