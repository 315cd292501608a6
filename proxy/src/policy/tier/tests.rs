//! When a client is given to the kernel, and when not.

use super::*;
use crate::config::Table as _;
use crate::config::raw::RateLimit;
use crate::policy::identity::Source;
use crate::policy::limit::Limit;

fn limit(kernel: &str, tables: &Tables) -> Limit {
    let text = format!("name = \"login\"\nkernel = {{ {kernel} }}");
    let raw = RateLimit::from_toml(&text).unwrap_or_else(|problems| panic!("{problems}{text}"));
    Limit::build(&raw, tables, &|_| None)
}

fn tier(kernel: &str) -> Tier {
    limit(kernel, &Tables::default()).tier.unwrap()
}

fn peer(ip: &str) -> Identity {
    Identity::of_peer(ip.parse().ok())
}

fn named(ip: &str) -> Identity {
    Identity::Known { ip: ip.parse().unwrap(), source: Source::Header }
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos((100_000_000 + ms) * 1_000_000)
}

/// Denials of `client`, all at one time, until one is more than that; `None`: none of `most` was.
fn until_over(tier: &Tier, client: Identity, ms: u64, most: usize) -> Option<(usize, Tiered)> {
    (1..=most).map(|n| (n, tier.denied(client, at(ms)))).find(|(_, tiered)| *tiered != Tiered::Counted)
}

#[test]
fn denial_after_the_last_allowed_promotes_and_the_count_begins_anew() {
    let tier = tier("after = 1000, within = \"10s\", ttl = \"30s\", ttl_max = \"2h\"");
    let (n, tiered) = until_over(&tier, peer("192.0.2.7"), 0, 5000).unwrap();
    let promotion = Promotion {
        address: "192.0.2.7/32".parse().unwrap(),
        table: "rate_limit",
        rule: "login".into(),
        ttl: Duration::from_secs(30),
        ttl_max: Duration::from_secs(7200),
    };
    assert_eq!((n, tiered), (1001, Tiered::Promoted(promotion)));
    assert_eq!(until_over(&tier, peer("192.0.2.7"), 1, 5000).unwrap().0, 1001);
    assert_eq!(until_over(&tier, peer("192.0.2.8"), 1, 1000), None, "another client");
}

#[test]
fn denials_count_within_the_time_from_the_first() {
    let tier = tier("after = 2, within = \"10s\"");
    let client = peer("192.0.2.7");
    assert_eq!(until_over(&tier, client, 0, 2), None);
    assert_eq!(until_over(&tier, client, 10_000, 2), None, "the first two are of another time");
    assert_eq!(until_over(&tier, client, 19_999, 1).unwrap().0, 1);
}

#[test]
fn addresses_of_a_64_are_one_client_and_the_promotion_is_its_net() {
    let tier = tier("after = 1");
    assert_eq!(tier.denied(peer("2001:db8::1"), at(0)), Tiered::Counted);
    let Tiered::Promoted(promotion) = tier.denied(peer("2001:db8::ffff:2"), at(0)) else { panic!("the second") };
    assert_eq!(promotion.address, "2001:db8::/64".parse::<IpNet>().unwrap());
    assert_eq!(tier.denied(peer("::ffff:192.0.2.1"), at(0)), Tiered::Counted);
    let Tiered::Promoted(promotion) = tier.denied(peer("192.0.2.1"), at(0)) else { panic!("the second") };
    assert_eq!(promotion.address, "192.0.2.1/32".parse::<IpNet>().unwrap());
}

#[test]
fn client_that_a_proxy_names_is_never_promoted_and_adds_nothing_to_a_peer() {
    let tier = tier("after = 10");
    assert_eq!(until_over(&tier, named("192.0.2.7"), 0, 100).unwrap(), (11, Tiered::NotPeer));
    assert_eq!(until_over(&tier, named("192.0.2.7"), 0, 10), None);
    assert_eq!(until_over(&tier, peer("192.0.2.7"), 0, 10), None);
    assert_eq!(until_over(&tier, Identity::Unknown, 0, 1000), None);
}

#[test]
fn denials_are_kept_with_the_rules_table() {
    let tables = Tables::default();
    let first = limit("after = 5", &tables);
    assert_eq!(until_over(first.tier.as_ref().unwrap(), peer("192.0.2.7"), 0, 5), None);
    let next = limit("after = 5, ttl = \"5m\"", &tables);
    drop(first);
    assert_eq!(until_over(next.tier.as_ref().unwrap(), peer("192.0.2.7"), 0, 5).unwrap().0, 1);
}

#[test]
fn flood_of_clients_promotes_nobody_who_did_not_come_often_enough() {
    let tier = tier("after = 5");
    for n in 0..200_000u32 {
        let client = Identity::of_peer(Some(IpAddr::from(n.to_be_bytes())));
        assert_eq!(tier.denied(client, at(0)), Tiered::Counted);
    }
}
