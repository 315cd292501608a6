//! Ten thousand packets of all sorts, under all that can be armed.

use std::net::SocketAddr;

use weir_common::abi::drop::{Action, Cause, Conf, Denied, Skip, arm, counted, map, skipped};
use weir_common::abi::{Address, Plain};
use weir_common::oracle::Frame;
use weir_common::oracle::frame::{ACK, Extension, QINQ, SYN, VLAN};

use crate::both::{Both, LISTENERS, burst, now, prefix};

/// Numbers that are the same in each run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }
}

/// A client and what it connects to. Both of one family, of few networks.
fn ends(random: &mut Random) -> (SocketAddr, SocketAddr) {
    let (a, b, c) = (random.below(3), random.below(3), 1 + random.below(12));
    let port = random.of(&[443, 443, 443, 80, 22, 8443]);
    let other = random.one_in(10);
    let (client, listener) = if random.one_in(3) {
        let listener = if other { "2001:db8:1::2" } else { LISTENERS[1] };
        (format!("2001:db8:{:x}:{b}::{c:x}", 16 + a), listener)
    } else {
        (format!("198.51.{}.{c}", 100 + a), if other { "192.0.2.2" } else { LISTENERS[0] })
    };
    let address = |text: &str, port| SocketAddr::new(text.parse().expect("an address"), port);
    (address(&client, 40_000), address(listener, port))
}

fn frame(random: &mut Random) -> Vec<u8> {
    let (src, dst) = ends(random);
    let mut frame = Frame { src, dst, flags: random.of(&[SYN, SYN, SYN, ACK, SYN | ACK, 0x04]), ..Frame::default() };
    if random.one_in(2) {
        return frame.octets();
    }
    frame.payload = random.below(200) as usize;
    let tags = random.of(&[0, 0, 0, 1, 2, 3]);
    frame.tags = (0..tags).map(|_| random.of(&[VLAN, QINQ])).collect();
    frame.options = random.of(&[0, 0, 1, 10]);
    frame.fragment = random.of(&[0, 0, 0, 0x4000, 0x2000, 0x2001]);
    frame.padding = random.of(&[0, 0, 6]);
    frame.protocol = random.of(&[6, 6, 6, 6, 6, 17]);
    if random.one_in(3) {
        let kinds: Vec<_> = (0..random.below(8)).map(|_| random.of(&[0, 43, 44, 51, 60])).collect();
        let one = |kind| Extension { kind, length: random.below(4) as u8, fragment: random.of(&[0, 0, 1, 8]) };
        frame.extensions = kinds.into_iter().map(one).collect();
    }
    let mut octets = frame.octets();
    if random.one_in(4) {
        for _ in 0..1 + random.below(3) {
            let at = random.below(octets.len().min(90) as u64) as usize;
            octets[at] = random.below(256) as u8;
        }
    }
    if random.one_in(10) {
        octets.truncate(14 + random.below(octets.len() as u64 - 13) as usize);
    }
    octets
}

fn filled() -> Both {
    let mut both = Both::new(Conf::IDLE);
    both.allow(prefix("198.51.100.1", 128));
    both.allow(prefix("2001:db8:10:1::", 127));
    both.ban(prefix("198.51.101.0", 96 + 29), 7);
    both.ban(prefix("198.51.101.2", 128), 8);
    both.ban(prefix("2001:db8:11:1::", 64), 9);
    let entry = |rule| Denied { expires_ns: u64::MAX, rule, ..Denied::default() };
    both.deny("198.51.100.2", entry(1));
    both.deny("198.51.102.3", entry(2));
    both.deny("2001:db8:12::", entry(3));
    both.deny("198.51.100.1", entry(4));
    both.deny("198.51.102.4", Denied { expires_ns: 1, ..entry(5) });
    both.know("198.51.102.5", u64::MAX);
    both.know("198.51.102.6", 1);
    both.know("2001:db8:12:1::", u64::MAX);
    both
}

const ROUNDS: [u32; 10] = [
    0,
    arm::DENY,
    arm::BANS4 | arm::BANS6,
    arm::SOURCE,
    arm::SOURCE | arm::PARENT,
    arm::ALLOW4 | arm::SOURCE | arm::TOTAL,
    arm::ALLOW6 | arm::ANY | arm::SYN,
    arm::ALLOW4 | arm::ALLOW6 | arm::ANY | arm::SYN,
    arm::ALLOW4 | arm::ALLOW6 | arm::ANY,
    arm::SYN,
];

#[test]
fn ten_thousand_packets_are_judged_as_in_user_space() {
    let (mut both, mut random) = (filled(), Random(7));
    for (round, armed) in ROUNDS.into_iter().enumerate() {
        let pressure = if round % 2 == 0 { 0 } else { u64::MAX };
        let limits = Conf { source: burst(20), parent: burst(60), total: burst(150), ..Conf::IDLE };
        let dry_run = u32::from(round == 6);
        both.arm(Conf { armed, dry_run, pressure, seeds: [3, 4], ..limits });
        for at in 0..1000 {
            both.agree(&format!("packet {at} of round {round}"), &frame(&mut random));
        }
    }
    both.agree_on_counts();
    each_came_to_pass(&both);
    agree_on_entries(&mut both);
    agree_on_sources(&mut both);
}

/// Every cause but contention, which needs two CPUs, and every reason to skip.
fn each_came_to_pass(both: &Both) {
    let causes = Cause::ALL.into_iter().filter(|cause| *cause != Cause::Contended);
    for at in causes.map(|cause| counted(cause, Action::Drop)).chain(Skip::ALL.map(skipped)) {
        assert!(both.counted(at).packets > 10, "count {at}");
    }
}

fn agree_on_entries(both: &mut Both) {
    for (source, held) in both.user.deny.clone() {
        let octets = both.hash::<_, [u8; 32]>(map::DENY).get(&source.octets(), 0).expect("the entry");
        assert_eq!(Denied::from_octets(octets), held.value(), "{source:?}");
    }
}

/// The same are remembered, with the same debts; the clock may have stepped between the two sides.
fn agree_on_sources(both: &mut Both) {
    let ours = both.user.sources.borrow().clone();
    let theirs: Vec<([u8; 16], u64)> = both.hash(map::SYN).iter().map(|entry| entry.expect("an entry")).collect();
    assert_eq!(theirs.len(), ours.len());
    assert!(theirs.len() > 30, "{}", theirs.len());
    for (source, tat) in theirs {
        let own = ours[&Address::from_octets(source)].value();
        assert!(tat.abs_diff(own) < 1_000_000_000, "{source:?}: {tat} and {own} at {}", now());
    }
}
