//! Promotions, relapses, limits.

use super::super::allow::host;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

fn promotion(source: &str) -> Promotion {
    Promotion {
        address: net(source),
        table: "rate_limit",
        rule: "login".into(),
        ttl: 60 * SECOND,
        ttl_max: 200 * SECOND,
    }
}

fn promote(deny: &mut Deny, source: &str, now: Instant) -> Result<Option<IpNet>, Refused> {
    deny.promote(promotion(source), &Allow::of([]), now)
}

#[test]
fn relapse_doubles_the_time_up_to_its_bound() {
    let mut deny = Deny::new(10);
    let mut now = at(1000);
    for expected in [60, 120, 200, 200] {
        promote(&mut deny, "192.0.2.1/32", now).expect("denied");
        let entry = &deny.entries()[&net("192.0.2.1/32")];
        assert_eq!(entry.ttl, expected * SECOND);
        now = entry.expires;
        assert_eq!(deny.expire(now).len(), 1);
    }
}

#[test]
fn source_that_stayed_away_begins_anew() {
    let mut deny = Deny::new(10);
    promote(&mut deny, "192.0.2.1/32", at(0)).expect("denied");
    deny.expire(at(60));
    promote(&mut deny, "192.0.2.1/32", at(60 + 200)).expect("denied");
    assert_eq!(deny.entries()[&net("192.0.2.1/32")].ttl, 60 * SECOND);
}

#[test]
fn release_forgives() {
    let mut deny = Deny::new(10);
    promote(&mut deny, "192.0.2.1/32", at(0)).expect("denied");
    assert!(deny.release(net("192.0.2.1/32")).is_some());
    promote(&mut deny, "192.0.2.1/32", at(1)).expect("denied");
    assert_eq!(deny.entries()[&net("192.0.2.1/32")].ttl, 60 * SECOND);
}

#[test]
fn denied_source_is_not_denied_again_or_for_longer() {
    let mut deny = Deny::new(10);
    assert_eq!(promote(&mut deny, "192.0.2.1/32", at(0)), Ok(Some(net("192.0.2.1/32"))));
    assert_eq!(promote(&mut deny, "192.0.2.1/32", at(10)), Ok(None));
    assert_eq!(deny.entries()[&net("192.0.2.1/32")].expires, at(60));
    assert_eq!(deny.promoted(), 1);
}

#[test]
fn ipv6_is_denied_by_its_64_and_wider_networks_never() {
    let mut deny = Deny::new(10);
    assert_eq!(promote(&mut deny, "2001:db8::9/128", at(0)), Ok(Some(net("2001:db8::/64"))));
    assert_eq!(promote(&mut deny, "2001:db8::7/128", at(0)), Ok(None));
    assert_eq!(key(net("2001:db8::/48")), None);
    assert_eq!(key(net("192.0.2.0/24")), None);
    assert_eq!(key(net("::ffff:192.0.2.1/128")), Some(net("192.0.2.1/32")));
}

#[test]
fn refusals_are_told_apart_and_counted() {
    let mut deny = Deny::new(1);
    let allow = Allow::of([net("192.0.2.0/24"), net("2001:db8::1/128")]);
    assert_eq!(deny.promote(promotion("192.0.2.1/32"), &allow, at(0)), Err(Refused::Allowed));
    assert_eq!(deny.promote(promotion("2001:db8::2/128"), &allow, at(0)), Err(Refused::Allowed));
    promote(&mut deny, "198.51.100.1/32", at(0)).expect("denied");
    assert_eq!(promote(&mut deny, "198.51.100.2/32", at(0)), Err(Refused::Full));
    let counts: Vec<_> = deny.refusals().into_iter().map(|(why, n)| (why.word(), n)).collect();
    assert_eq!(counts, [("allowed", 2), ("full", 1), ("rate", 0), ("off", 0)]);
}

#[test]
fn more_than_a_thousand_a_second_are_refused() {
    let mut deny = Deny::new(5000);
    let mut one = |n: u32, now| {
        let address = host(IpAddr::V4((0x0a00_0000 + n).into()));
        deny.promote(Promotion { address, ..promotion("192.0.2.1/32") }, &Allow::of([]), now)
    };
    assert!((0..1000).all(|n| one(n, at(5)).is_ok()));
    assert_eq!(one(1000, at(5)), Err(Refused::TooFast));
    assert!(one(1001, at(6)).is_ok());
}

#[test]
fn entries_of_a_removed_rule_go_and_an_operators_stay() {
    let mut deny = Deny::new(10);
    promote(&mut deny, "192.0.2.1/32", at(0)).expect("denied");
    deny.add(net("192.0.2.2/32"), SECOND, "scanner".into(), &Allow::of([]), at(0)).expect("denied");
    assert!(deny.keep_rules(|rule| &*rule.name == "login").is_empty());
    let gone: Vec<_> = deny.keep_rules(|_| false).into_iter().map(|(source, _)| source).collect();
    assert_eq!(gone, [net("192.0.2.1/32")]);
    assert_eq!(deny.entries().len(), 1);
}

#[test]
fn what_becomes_allowed_is_let_in() {
    let mut deny = Deny::new(10);
    promote(&mut deny, "192.0.2.1/32", at(0)).expect("denied");
    let gone = deny.keep_denied(&Allow::of([net("192.0.2.0/24")]));
    assert_eq!(gone.len(), 1);
    assert!(deny.entries().is_empty());
}

#[test]
fn operator_may_replace_an_entry_even_where_there_is_no_room() {
    let mut deny = Deny::new(1);
    promote(&mut deny, "192.0.2.1/32", at(0)).expect("denied");
    deny.count(net("192.0.2.1/32"), 3, 180);
    deny.add(net("192.0.2.1/32"), 5 * SECOND, "mine".into(), &Allow::of([]), at(1)).expect("denied");
    let entry = &deny.entries()[&net("192.0.2.1/32")];
    assert_eq!((entry.expires, &entry.by), (at(6), &By::Operator("mine".into())));
    assert_eq!((entry.packets, entry.bytes), (3, 180), "what it has dropped stays its own");
    let other = deny.add(net("192.0.2.2/32"), SECOND, "x".into(), &Allow::of([]), at(1));
    assert_eq!(other, Err(Refused::Full));
}
