//! Each stage, and the order of them.

use core::net::IpAddr;
use std::collections::HashMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::abi::drop::{Denied, Limit};
use crate::gcra::tests::most;
use crate::oracle::Ordinary;
use crate::oracle::frame::{ACK, SYN};
use crate::oracle::tables::{Held, Prefix};

const NOW: u64 = 1_000_000_000_000;
const T: u64 = 1_000_000;

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().expect("an address").into()
}

fn prefix(text: &str, bits: u32) -> Prefix {
    Prefix { address: address(text), bits }
}

fn packet(src: &str, flags: u8) -> Tcp {
    let src = address(src);
    let dst = address(if src.is_v4() { "192.0.2.1" } else { "2001:db8:1::1" });
    Tcp { src, dst, sport: 40_000, dport: 443, flags }
}

/// Tables with two listeners, at port 443.
fn tables() -> Ordinary {
    let scope = ["192.0.2.1", "2001:db8:1::1"].map(|text| Endpoint::new(address(text), 443));
    let mut tables = Ordinary::default();
    tables.ports.insert(443);
    tables.scope.extend(scope);
    tables
}

fn conf(armed: u32) -> Conf {
    let limit = |burst: u64| Limit { t: T, tolerance: (burst - 1) * T };
    Conf { armed, source: limit(3), parent: limit(5), total: limit(10), seeds: [1, 2], ..Conf::IDLE }
}

fn cause(tcp: &Tcp, now: u64, conf: &Conf, tables: &Ordinary) -> Option<Cause> {
    judge(tcp, || 60, || now, conf, tables).map(|verdict| verdict.cause)
}

fn deny(tables: &mut Ordinary, source: &str, rule: u32) {
    let entry = Denied { expires_ns: NOW + 10, rule, ..Denied::default() };
    tables.deny.insert(address(source), Held::new(entry));
}

#[test]
fn what_goes_elsewhere_passes_whatever_is_armed() {
    let mut tables = tables();
    deny(&mut tables, "198.51.100.7", 1);
    let conf = conf(arm::ANY | arm::SYN);
    let denied = packet("198.51.100.7", SYN);
    assert_eq!(cause(&denied, NOW, &conf, &tables), Some(Cause::Deny));
    assert_eq!(cause(&Tcp { dport: 22, ..denied }, NOW, &conf, &tables), None);
    assert_eq!(cause(&Tcp { dst: address("192.0.2.2"), ..denied }, NOW, &conf, &tables), None);
}

#[test]
fn what_is_not_armed_stops_nothing() {
    let mut tables = tables();
    deny(&mut tables, "198.51.100.7", 1);
    tables.bans.push((prefix("198.51.100.0", 120), 2));
    for armed in [0, arm::ALLOW4 | arm::ALLOW6, arm::SYN, arm::BANS6] {
        assert_eq!(cause(&packet("198.51.100.7", ACK), NOW, &conf(armed), &tables), None, "{armed:b}");
    }
}

#[test]
fn allowed_is_above_denied_and_denied_above_banned() {
    let mut tables = tables();
    tables.bans.push((prefix("198.51.100.0", 120), 2));
    let (all, packet) = (conf(u32::MAX), packet("198.51.100.7", ACK));
    assert_eq!(judge(&packet, || 60, || NOW, &all, &tables), Some(Verdict { cause: Cause::Ban, rule: 2, at: NOW }));
    deny(&mut tables, "198.51.100.7", 1);
    assert_eq!(judge(&packet, || 60, || NOW, &all, &tables), Some(Verdict { cause: Cause::Deny, rule: 1, at: NOW }));
    tables.allow.push(prefix("198.51.100.7", 128));
    assert_eq!(cause(&packet, NOW, &all, &tables), None);
}

#[test]
fn an_entry_counts_until_it_expires() {
    let mut tables = tables();
    deny(&mut tables, "198.51.100.7", 1);
    let (conf, packet) = (conf(arm::DENY), packet("198.51.100.7", ACK));
    let causes = [NOW, NOW + 9, NOW + 10].map(|now| cause(&packet, now, &conf, &tables));
    assert_eq!(causes, [Some(Cause::Deny), Some(Cause::Deny), None]);
    let entry = tables.deny[&packet.src].value();
    assert_eq!((entry.packets, entry.bytes), (2, 120));
}

#[test]
fn ipv6_is_denied_by_its_64_and_banned_by_any_prefix() {
    let mut tables = tables();
    deny(&mut tables, "2001:db8:0:1::", 1);
    tables.bans.push((prefix("2001:db8:0:2::", 96), 2));
    let all = conf(u32::MAX);
    assert_eq!(cause(&packet("2001:db8:0:1:a:b:c:d", ACK), NOW, &all, &tables), Some(Cause::Deny));
    assert_eq!(cause(&packet("2001:db8:0:2::a:b", ACK), NOW, &all, &tables), Some(Cause::Ban));
    assert_eq!(cause(&packet("2001:db8:0:2:1::", ACK), NOW, &all, &tables), None);
}

#[test]
fn syns_beyond_the_burst_of_a_source_are_dropped_until_time_makes_room() {
    let (tables, conf) = (tables(), conf(arm::SOURCE));
    let syn = packet("198.51.100.7", SYN);
    let at = |now| cause(&syn, now, &conf, &tables);
    assert_eq!([NOW; 4].map(at), [None, None, None, Some(Cause::SynSource)]);
    assert_eq!(cause(&packet("198.51.100.7", ACK), NOW, &conf, &tables), None, "only SYNs");
    assert_eq!(cause(&packet("198.51.100.8", SYN), NOW, &conf, &tables), None, "only that source");
    assert_eq!([NOW + T; 2].map(at), [None, Some(Cause::SynSource)]);
}

#[test]
fn sources_of_one_parent_share_its_limit() {
    let (tables, conf) = (tables(), conf(arm::PARENT));
    for (prefix, other) in [("198.51.100.", "198.51.101.1"), ("2001:db8:5:", "2001:db8:6::1")] {
        let src = |last: u32| {
            if prefix.contains(':') { std::format!("{prefix}{last}::1") } else { std::format!("{prefix}{last}") }
        };
        let causes = [1, 2, 3, 4, 5, 6].map(|last| cause(&packet(&src(last), SYN), NOW, &conf, &tables));
        assert_eq!(causes, [None, None, None, None, None, Some(Cause::SynPrefix)]);
        assert_eq!(cause(&packet(other, SYN), NOW, &conf, &tables), None);
    }
}

#[test]
fn known_sources_pass_a_machine_that_is_over_its_total() {
    let (mut tables, conf) = (tables(), conf(arm::TOTAL));
    tables.known.insert(address("198.51.100.7"), NOW + 1);
    let source = |last: u8| packet(&std::format!("203.0.113.{last}"), SYN);
    assert!((0..10).all(|last| cause(&source(last), NOW, &conf, &tables).is_none()));
    assert_eq!(cause(&source(10), NOW, &conf, &tables), Some(Cause::SynTotal));
    assert_eq!(cause(&packet("198.51.100.7", SYN), NOW, &conf, &tables), None);
    tables.known.insert(address("198.51.100.7"), NOW);
    assert_eq!(cause(&packet("198.51.100.7", SYN), NOW, &conf, &tables), Some(Cause::SynTotal), "no longer known");
}

#[test]
fn under_pressure_only_known_sources_are_remembered_and_the_sketch_limits_the_rest() {
    let (mut tables, conf) = (tables(), Conf { pressure: 2, ..conf(arm::SOURCE) });
    tables.known.insert(address("198.51.100.7"), NOW + 1);
    let unknown = |last: u8| packet(&std::format!("203.0.113.{last}"), SYN);
    for last in 0..50 {
        assert_eq!(cause(&unknown(last), NOW, &conf, &tables), None);
    }
    assert_eq!(tables.sources.borrow().len(), 2);
    let causes = [NOW; 3].map(|now| cause(&unknown(40), now, &conf, &tables));
    assert_eq!(causes, [None, None, Some(Cause::SynSource)]);
    let known = packet("198.51.100.7", SYN);
    assert_eq!([NOW; 4].map(|now| cause(&known, now, &conf, &tables)), [None, None, None, Some(Cause::SynSource)]);
    assert_eq!(tables.sources.borrow().len(), 3);
}

proptest! {
    /// Remembered without pressure, in the sketch under it.
    #[test]
    fn no_source_gets_more_than_its_limit(
        packets in proptest::collection::vec((0_u8..30, 0..T), 1..300),
        pressure in prop_oneof![Just(0_u64), Just(u64::MAX)],
    ) {
        let (tables, conf) = (tables(), Conf { pressure, ..conf(arm::SOURCE) });
        let (mut now, mut passed) = (NOW, HashMap::<u8, Vec<u64>>::new());
        for (last, gap) in packets {
            now += gap;
            if cause(&packet(&std::format!("203.0.113.{last}"), SYN), now, &conf, &tables).is_some() {
                continue;
            }
            let times = passed.entry(last).or_default();
            times.push(now);
            for (from, first) in times.iter().enumerate() {
                prop_assert!((times.len() - from) as u64 <= most(now - first, T, 3));
            }
        }
    }
}
