//! Findings against a plain list: merging, bounds, pages.

use std::collections::BTreeMap;

use super::super::item::tests::finding;
use super::super::query::LIMIT_MAX;
use super::*;
use crate::policy::finding::{Action, Finding, Key};

fn filled(findings: impl IntoIterator<Item = Finding>) -> Store {
    let mut store = Store::default();
    findings.into_iter().for_each(|finding| store.merge(Item::of(finding)));
    store
}

fn hosts(store: &Store, filter: &Filter) -> Vec<String> {
    store.page(filter).items.iter().map(|item| item.host.to_string()).collect()
}

#[test]
fn equal_denials_are_one_item_whichever_worker_saw_them() {
    let store = filled((0..1_000).map(|n| finding("a.test", 1_000, 100 + n % 7)));
    let item = store.page(&Filter::default()).items[0];
    assert_eq!((store.len(), item.count, item.first_seen, item.last_seen), (1, 1_000_000, 100, 106));
    assert_eq!(item.requests.iter().count(), 5);
}

#[test]
fn newest_come_first_then_largest_and_pages_join_without_gap() {
    let mut random = fastrand::Rng::with_seed(7);
    let store = filled((0..500).map(|n| finding(&format!("h{n}.test"), random.u64(1..5), random.u64(1..20))));
    let all = Filter { limit: LIMIT_MAX, ..Filter::default() };
    let whole = store.page(&all);
    let order: Vec<_> = whole.items.iter().map(|item| (item.last_seen, item.count)).collect();
    assert!(order.windows(2).all(|pair| pair[0] >= pair[1]), "{order:?}");
    assert!(whole.items.len() == 500 && whole.next.is_none());
    for limit in [1, 7, 499, 500, 501] {
        let (mut joined, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.page(&Filter { limit, cursor, ..Filter::default() });
            joined.extend(page.items.iter().map(|item| item.id));
            cursor = page.next.map(|next| Cursor::parse(&next.to_string()).expect("its own text"));
            if cursor.is_none() {
                break;
            }
        }
        assert!(joined.iter().eq(whole.items.iter().map(|item| &item.id)), "limit {limit}");
    }
}

#[test]
fn each_filter_alone_and_together() {
    let one = finding("a.test", 1, 100);
    let shadow = Finding { key: Key { action: Action::WouldDeny, ..one.key.clone() }, ..one.clone() };
    let other = Finding {
        key: Key { listener: "Inner".into(), rule: "host_missing".into(), ..one.key.clone() },
        ..one.clone()
    };
    let banned = Finding {
        key: Key { source: Some([10, 0, 0, 1].into()), host: "b.test".into(), ..one.key.clone() },
        ..finding("b.test", 1, 200)
    };
    let store = filled([one, shadow, other, banned]);
    let count = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        store.page(&filter).items.len()
    };
    assert_eq!(count(|_| ()), 4);
    assert_eq!(count(|f| f.action = vec![Action::WouldDeny]), 1);
    assert_eq!(count(|f| f.action = vec![Action::WouldDeny, Action::Enforced]), 4);
    assert_eq!(count(|f| f.source_group = vec!["inner".into()]), 1);
    assert_eq!(count(|f| f.rule = vec!["host_missing".into(), "nothing".into()]), 1);
    assert_eq!(count(|f| f.rule = vec!["Host_missing".into()]), 0);
    assert_eq!(count(|f| f.finding_type = vec!["bad_request"]), 4);
    assert_eq!(count(|f| f.finding_type = vec!["l4_deny"]), 0);
    assert_eq!(count(|f| f.policy_id = vec![crate::policy::RuleId::of("http", "obs_fold").uuid()]), 3);
    assert_eq!(count(|f| f.src_ip = vec!["10.0.0.0/8".parse().expect("a CIDR")]), 1);
    assert_eq!(count(|f| f.src_ip = vec!["192.0.2.1/32".parse().expect("a CIDR")]), 4);
    assert_eq!(count(|f| f.q = vec!["b.te".into(), "inn".into()]), 2);
    assert_eq!(count(|f| f.since = 101), 1);
    assert_eq!(count(|f| f.until = 199), 3);
    assert_eq!(count(|f| (f.since, f.until) = (101, 199)), 0);
    assert_eq!(count(|f| (f.since, f.rule) = (100, vec!["host_missing".into()])), 1);
}

#[test]
fn a_finding_overlaps_every_time_between_its_first_and_last_denial() {
    let store = filled([finding("a.test", 1, 100), finding("a.test", 1, 300)]);
    let asked = |since, until| hosts(&store, &Filter { since, until, ..Filter::default() }).len();
    assert_eq!([asked(150, 160), asked(300, 400), asked(0, 100), asked(301, 400), asked(0, 99)], [1, 1, 1, 0, 0]);
}

#[test]
fn the_oldest_go_by_age_and_by_number() {
    let mut store = filled((0..10).map(|n| finding(&format!("h{n}.test"), 1, 100 + n)));
    store.expire(103);
    assert_eq!(store.len(), 7);
    assert_eq!(store.shrink(4), 3);
    assert_eq!(hosts(&store, &Filter::default()), ["h9.test", "h8.test", "h7.test", "h6.test"]);
    assert_eq!(store.shrink(4), 0);
    let next = finding("h6.test", 1, 1);
    assert!(store.drop_oldest().is_some_and(|id| id == Item::of(next).id.as_u128() && !store.holds(id)));
}

#[test]
fn what_has_changed_is_written_once_and_again_when_it_could_not_be() {
    let mut store = filled([finding("a.test", 1, 1), finding("b.test", 1, 1)]);
    let changed = store.take_changed();
    assert_eq!((changed.len(), store.take_changed().len()), (2, 0));
    store.mark(changed.into_iter().chain([7]));
    assert_eq!(store.take_changed().len(), 2);
    store.merge(Item::of(finding("a.test", 1, 2)));
    store.shrink(0);
    assert!(store.take_changed().is_empty(), "what has gone is not written");
}

#[test]
fn a_model_of_merges_and_bounds_agrees() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut store, mut model) = (Store::default(), BTreeMap::<String, (u64, u64)>::new());
        for _ in 0..400 {
            let (host, times, at) = (format!("h{}.test", random.u8(0..30)), random.u64(1..9), random.u64(0..100));
            store.merge(Item::of(finding(&host, times, at)));
            let (count, last) = model.entry(host).or_default();
            (*count, *last) = (*count + times, at.max(*last));
            if random.u8(0..20) == 0 {
                let since = random.u64(0..40);
                store.expire(since);
                model.retain(|_, (_, last)| *last >= since);
            }
        }
        let shown: BTreeMap<_, _> =
            store.items.values().map(|item| (item.host.to_string(), (item.count, item.last_seen))).collect();
        assert_eq!(shown, model, "seed {seed}");
        assert_eq!(store.by_age.len(), store.items.len());
    }
}
