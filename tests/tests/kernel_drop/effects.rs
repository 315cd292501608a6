//! What becomes of a verdict: the action, counts, samples; and the end of an entry.

use weir_common::abi::drop::{Action, Cause, Conf, Denied, Sample, arm, counted, map};
use weir_common::abi::{Address, Plain};
use weir_common::oracle::Frame;
use weir_common::oracle::frame::ACK;
use weir_tests::object::{PAGE, ring};
use weir_tests::wait;

use crate::both::{Both, DROP, PASS, address, now, prefix};

const SOURCE: &str = "198.51.100.7";

fn denying(conf: Conf, sizes: &[(&str, u32)]) -> Both {
    let mut both = Both::sized(Conf { armed: arm::ANY, ..conf }, sizes);
    both.deny(SOURCE, Denied { expires_ns: u64::MAX, rule: 42, ..Denied::default() });
    both
}

fn entry(both: &mut Both) -> Denied {
    let octets = both.hash(map::DENY).get(&address(SOURCE).octets(), 0);
    Denied::from_octets(octets.expect("the entry"))
}

#[test]
fn a_dry_run_passes_and_counts_what_it_would_drop() {
    let frame = Frame { flags: ACK, ..Frame::default() }.octets();
    for (dry_run, action, other, code) in
        [(0, Action::Drop, Action::WouldDrop, DROP), (1, Action::WouldDrop, Action::Drop, PASS)]
    {
        let mut both = denying(Conf { dry_run, ..Conf::IDLE }, &[]);
        assert_eq!([0; 3].map(|_| both.run(&frame)), [code; 3]);
        let count = both.counted(counted(Cause::Deny, action));
        assert_eq!((count.packets, count.bytes), (3, 3 * 54));
        assert_eq!(both.counted(counted(Cause::Deny, other)).packets, 0);
        let entry = entry(&mut both);
        assert_eq!((entry.packets, entry.bytes, entry.rule), (3, 3 * 54, 42));
    }
}

#[test]
fn an_entry_ends_when_it_says_so_though_nobody_removes_it() {
    let mut both = denying(Conf { dry_run: 0, ..Conf::IDLE }, &[]);
    let expires_ns = now() + 100_000_000;
    both.deny(SOURCE, Denied { expires_ns, ..Denied::default() });
    let frame = Frame::default().octets();
    wait::until("the entry to end", || {
        let before = now();
        let passed = both.run(&frame) == PASS;
        assert!(passed || before < expires_ns, "dropped after the end");
        assert!(!passed || now() >= expires_ns, "passed before the end");
        passed
    });
    assert!(entry(&mut both).packets > 0);
}

/// All events that there are.
fn samples(ring: &mut aya::maps::RingBuf<aya::maps::MapData>) -> Vec<Sample> {
    std::iter::from_fn(|| ring.next().and_then(|record| Sample::from_slice(&record))).collect()
}

#[test]
fn a_sample_tells_the_packet_its_cause_and_what_was_done() {
    let mut both = denying(Conf { dry_run: 1, ..Conf::IDLE }, &[]);
    both.ban(prefix("2001:db8::", 48), 43);
    let mut ring = ring(&mut both.ebpf, map::DROPS);
    let started = now();
    for frame in [Frame { flags: ACK, payload: 10, ..Frame::default() }, Frame::v6()] {
        both.run(&frame.octets());
    }
    let [denied, banned] = samples(&mut ring).try_into().expect("two");
    let expected = Sample {
        ts: denied.ts,
        src: address(SOURCE),
        dst: address("192.0.2.1"),
        sport: 40_000,
        dport: 443,
        rule: 42,
        ifindex: denied.ifindex,
        len: 64,
        cause: Cause::Deny as u8,
        action: Action::WouldDrop as u8,
        flags: ACK,
        ..Sample::default()
    };
    assert_eq!(denied, expected);
    assert!((started..=now()).contains(&denied.ts) && denied.ifindex != 0);
    assert_eq!((banned.src, banned.rule), (Address::from(Frame::v6().src.ip()), 43));
    assert_eq!((Cause::of(banned.cause), banned.len), (Some(Cause::Ban), 74));
}

#[test]
fn a_second_has_so_many_samples_and_counts_the_rest() {
    let mut both = denying(Conf { samples: 3, dry_run: 0, ..Conf::IDLE }, &[]);
    let mut ring = ring(&mut both.ebpf, map::DROPS);
    let frame = Frame::default().octets();
    (0..10).for_each(|_| assert_eq!(both.run(&frame), DROP));
    let first = samples(&mut ring);
    assert_eq!(first.len(), 3);
    assert_eq!(both.counted(counted(Cause::Deny, Action::Drop)).packets, 10);
    let mut next = Vec::new();
    wait::until("a sample of the next second", || {
        both.run(&frame);
        next = samples(&mut ring);
        !next.is_empty()
    });
    assert!(next[0].ts - first[0].ts >= 1_000_000_000);
}

#[test]
fn samples_that_the_ring_has_no_room_for_are_counted_exactly() {
    let mut both = denying(Conf { samples: 1000, dry_run: 0, ..Conf::IDLE }, &[(map::DROPS, PAGE)]);
    let mut ring = ring(&mut both.ebpf, map::DROPS);
    let frame = Frame::default().octets();
    (0..100).for_each(|_| assert_eq!(both.run(&frame), DROP));
    let (read, lost) = (samples(&mut ring).len() as u64, both.cpu().lost);
    assert!(lost > 0 && read > 0);
    assert_eq!(read + lost, 100);
}
