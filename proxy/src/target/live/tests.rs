//! What endpoints keep from table to table.

use super::*;
use crate::target::testing::{SECOND, START, groups, id, live, route, weighted};

fn ips(last: &[u8]) -> Vec<IpAddr> {
    last.iter().map(|&last| IpAddr::from([10, 0, 0, last])).collect()
}

fn addresses(live: &Live) -> Vec<String> {
    let endpoints = &route(live).targets()[0].endpoints;
    endpoints.iter().map(|endpoint| endpoint.address.unwrap().to_string()).collect()
}

fn named() -> Arc<Groups> {
    groups("slow_start = \"10s\"\n[[route.target]]\nurl = \"http://one.test:81\"\n[route.health]")
}

#[test]
fn addresses_are_there_at_once_and_names_when_resolved() {
    let table = live(&weighted("", &[1, 1]));
    assert_eq!(table.endpoints().count(), 2);
    let groups = named();
    assert_eq!(groups.names().collect::<Vec<_>>(), [(0, "one.test", 81)]);
    let table = live(&groups);
    assert_eq!(table.endpoints().count(), 0);
    let table = table.with_addresses(0, 0, &ips(&[1, 2]), START);
    assert_eq!(addresses(&table), ["10.0.0.1:81", "10.0.0.2:81"]);
}

#[test]
fn kept_endpoints_keep_their_state_and_new_ones_warm_up() {
    let before = live(&named()).with_addresses(0, 0, &ips(&[1, 2]), START);
    let before = before.with_health(id(&before, 0, 1), State::Unhealthy, START + SECOND);
    let later = START + SECOND * 100;
    let after = before.with_addresses(0, 0, &ips(&[3, 2]), later);
    assert_eq!(addresses(&after), ["10.0.0.3:81", "10.0.0.2:81"]);
    let [new, kept] = &route(&after).targets()[0].endpoints[..] else { panic!() };
    assert_eq!((kept.state, kept.since), (State::Unhealthy, START + SECOND));
    assert_eq!(kept.cells.id(), id(&before, 0, 1));
    assert_eq!((new.state, new.warm_since), (State::Unknown, Some(later)));
    assert_eq!(new.warmth(later + SECOND * 5, SECOND * 10), 550);
    assert!(Arc::ptr_eq(&route(&before).parts()[0].waiting, &route(&after).parts()[0].waiting));
}

#[test]
fn the_same_addresses_change_nothing_but_the_epoch() {
    let before = live(&named()).with_addresses(0, 0, &ips(&[1, 2]), START);
    let after = before.with_addresses(0, 0, &ips(&[1, 2]), START);
    assert!(after.epoch() > before.epoch());
    assert!(Arc::ptr_eq(route(&before), route(&after)));
}

#[test]
fn sixty_four_addresses_are_used_each_once() {
    let many: Vec<u8> = (0..100).chain(0..100).collect();
    let table = live(&named()).with_addresses(0, 0, &ips(&many), START);
    assert_eq!(addresses(&table).len(), ADDRESSES_MAX);
}

#[test]
fn a_new_generation_keeps_what_is_the_same() {
    let table = live(&named()).with_addresses(0, 0, &ips(&[1]), START);
    let table = table.with_health(id(&table, 0, 0), State::Unhealthy, START);
    let next = Live::initial(&[named()], 1, Some(&table), START);
    assert!(next.epoch() > table.epoch());
    assert_eq!(id(&next, 0, 0), id(&table, 0, 0));
    assert_eq!(route(&next).targets()[0].endpoints[0].state, State::Unhealthy);
    assert!(Arc::ptr_eq(&route(&next).parts()[0].waiting, &route(&table).parts()[0].waiting));
    let unprobed = groups("[[route.target]]\nurl = \"http://one.test:81\"");
    let next = Live::initial(&[unprobed], 1, Some(&table), START);
    assert_eq!(route(&next).targets()[0].endpoints[0].state, State::Unknown, "nobody probes it any more");
    let elsewhere = groups("[[route.target]]\nurl = \"http://one.test:82\"");
    assert_eq!(Live::initial(&[elsewhere], 1, Some(&table), START).endpoints().count(), 0);
}

#[test]
fn an_endpoint_may_have_to_prove_itself_first() {
    let groups = groups("[[route.target]]\nurl = \"http://127.0.0.1\"\n[route.health]\nstart = \"unhealthy\"");
    let table = live(&groups);
    assert!(!route(&table).is_usable(0, START));
    assert!(route(&table.with_health(id(&table, 0, 0), State::Healthy, START)).is_usable(0, START));
}

#[test]
fn changes_for_what_is_gone_change_nothing() {
    let table = live(&named()).with_addresses(0, 0, &ips(&[1]), START);
    let gone = id(&table, 0, 0);
    let table = table.with_addresses(0, 0, &[], START);
    let changes = [
        Change::Health(gone, State::Unhealthy),
        Change::Eject(gone, START + SECOND),
        Change::Restore(gone),
        Change::Addresses { slot: 7, target: 0, addresses: ips(&[1]) },
        Change::Addresses { slot: 0, target: 7, addresses: ips(&[1]) },
    ];
    assert!(Arc::ptr_eq(route(&table), route(&table.apply(&changes, START))));
}

#[test]
fn health_changes_keep_the_hash_tables() {
    let table = live(&weighted("balance = \"hash_maglev\"", &[1, 1]));
    let after = table.with_health(id(&table, 0, 0), State::Unhealthy, START);
    assert!(Arc::ptr_eq(&route(&table).parts()[0].table, &route(&after).parts()[0].table));
}

#[test]
fn every_endpoint_is_found_where_it_stands() {
    let mut rng = fastrand::Rng::with_seed(70);
    let mut table = Live::initial(&[named(), weighted("", &[1, 1])], 1, None, START);
    for _ in 0..200 {
        let some: Vec<u8> = (0..rng.u8(0..6)).map(|_| rng.u8(..8)).collect();
        let before: Vec<_> = table.endpoints().map(|(_, endpoint)| endpoint.cells.id()).collect();
        table = table.with_addresses(0, 0, &ips(&some), START);
        let now: Vec<_> = table.endpoints().map(|(place, endpoint)| (place, endpoint.cells.id())).collect();
        assert!(now.iter().all(|&(place, id)| table.find(id) == Some(place)));
        let gone = before.into_iter().filter(|id| now.iter().all(|(_, other)| other != id));
        assert!(gone.into_iter().all(|id| table.find(id).is_none()));
    }
}
