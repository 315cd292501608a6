//! Failover between groups, panic, splits.

use super::*;
use crate::target::live::{Live, State};
use crate::target::testing::{Request, START, compiled, groups, id, live, route};

fn chosen(live: &Live) -> Option<(u16, Mode)> {
    choose(route(live), &Request::default(), 0, START).map(|choice| (choice.group, choice.mode))
}

fn ill(live: &Live, target: usize) -> Live {
    live.with_health(id(live, target, 0), State::Unhealthy, START)
}

/// a and b in group 0, c in group 1.
fn failover(keys: &str) -> Live {
    live(&groups(&format!(
        "{keys}\n[[route.target]]\nname = \"a\"\nurl = \"http://127.0.0.1\"\n\
         [[route.target]]\nname = \"b\"\nurl = \"http://127.0.0.2\"\n\
         [[route.target]]\nname = \"c\"\nurl = \"http://127.0.0.3\"\npriority_group = 1"
    )))
}

#[test]
fn the_lowest_usable_group_serves_alone() {
    let table = failover("");
    assert_eq!(chosen(&table), Some((0, Mode::LowestUsable)));
    let half = ill(&table, 0);
    assert_eq!(chosen(&half), Some((0, Mode::LowestUsable)));
    let down = ill(&half, 1);
    assert_eq!(chosen(&down), Some((1, Mode::LowestUsable)));
    let back = down.with_health(id(&down, 0, 0), State::Healthy, START);
    assert_eq!(chosen(&back), Some((0, Mode::LowestUsable)));
    assert_eq!(chosen(&ill(&down, 2)), None, "none usable is a value");
}

#[test]
fn use_all_takes_the_lowest_group_when_nothing_is_usable() {
    let table = failover("all_unhealthy = \"use_all\"");
    let down = (0..3).fold(table, |table, target| ill(&table, target));
    assert_eq!(chosen(&down), Some((0, Mode::UseAll)));
}

#[test]
fn panic_ignores_health_only_without_a_higher_group() {
    let table = failover("panic_percent = 60");
    let half = ill(&table, 0);
    assert_eq!(chosen(&half), Some((0, Mode::LowestUsable)), "c could take over");
    assert_eq!(chosen(&ill(&half, 2)), Some((0, Mode::Panic)), "half is below 60 %");
    let table = failover("panic_percent = 50");
    assert_eq!(chosen(&ill(&ill(&table, 0), 2)), Some((0, Mode::LowestUsable)), "half is not below 50 %");
}

#[test]
fn an_unresolved_name_is_not_usable() {
    let table = live(&groups("all_unhealthy = \"use_all\"\n[[route.target]]\nurl = \"http://name.test\""));
    assert_eq!(chosen(&table), None);
    let resolved = table.with_addresses(0, 0, &["10.0.0.1".parse().unwrap()], START);
    assert_eq!(chosen(&resolved), Some((0, Mode::LowestUsable)));
}

fn split(weights: &[u32], key: &str) -> Live {
    let names: Vec<String> = (0..weights.len()).map(|at| format!("s{at}")).collect();
    let shares: Vec<String> = names.iter().zip(weights).map(|(name, weight)| format!("{name} = {weight}")).collect();
    let targets: String = (0..weights.len())
        .map(|at| format!("[[route.target]]\nurl = \"http://127.0.0.{}\"\nsplit = \"{}\"\n", at + 1, names[at]))
        .collect();
    live(&groups(&format!("[route.split]\nkey = \"{key}\"\nweights = {{ {} }}\n{targets}", shares.join(", "))))
}

fn side_of(live: &Live, user: &str, random: u64) -> Option<u16> {
    let request = Request { headers: [("x-user", user.to_owned())].into(), ..Request::default() };
    choose(route(live), &request, random, START).map(|choice| choice.group)
}

#[test]
fn shares_follow_the_weights() {
    let mut rng = fastrand::Rng::with_seed(40);
    for key in ["random", "header:x-user"] {
        let table = split(&[95, 5], key);
        let canary =
            (0..20_000).filter(|user: &u32| side_of(&table, &user.to_string(), rng.u64(..)) == Some(1)).count();
        // Five standard deviations around 1000.
        assert!((845..1155).contains(&canary), "{key}: {canary}");
    }
}

#[test]
fn raising_a_weight_moves_keys_only_towards_it() {
    let mut rng = fastrand::Rng::with_seed(41);
    for _ in 0..20 {
        let before: Vec<u32> = (0..rng.usize(2..6)).map(|_| rng.u32(1..100)).collect();
        let (raised, mut after) = (rng.usize(..before.len()), before.clone());
        after[raised] += rng.u32(1..100);
        let (old, new) = (split(&before, "header:x-user"), split(&after, "header:x-user"));
        for user in 0..500u32 {
            let user = user.to_string();
            let (was, is) = (side_of(&old, &user, 0), side_of(&new, &user, 0));
            assert!(was == is || is == Some(raised as u16), "{before:?} {after:?}");
        }
    }
}

#[test]
fn an_unusable_side_leaves_its_keys_to_the_others() {
    let table = split(&[1, 1, 1], "header:x-user");
    let without = ill(&table, 1);
    for user in 0..500u32 {
        let user = user.to_string();
        let (was, is) = (side_of(&table, &user, 0), side_of(&without, &user, 0));
        assert!(is != Some(1) && (was == is || was == Some(1)));
    }
}

#[test]
fn a_side_of_weight_zero_gets_nothing() {
    let table = split(&[0, 1], "random");
    assert!((0..200).all(|user: u64| side_of(&table, "", user.wrapping_mul(0x9e37_79b9_7f4a_7c15)) == Some(1)));
    assert_eq!(side_of(&ill(&table, 1), "", 0), None);
}

#[test]
fn a_request_without_the_key_is_drawn_at_random() {
    let (table, mut rng) = (split(&[1, 1], "header:x-user"), fastrand::Rng::with_seed(42));
    let first = (0..1_000).filter(|_| side_of(&table, "", rng.u64(..)) == Some(0)).count();
    assert!((400..600).contains(&first), "{first}");
}

#[test]
fn each_side_has_its_own_failover() {
    let target = |split: &str, group: u8, host: u8| {
        format!("[[route.target]]\nsplit = \"{split}\"\npriority_group = {group}\nurl = \"http://127.0.0.{host}\"\n")
    };
    let text = [target("x", 0, 1), target("x", 3, 2), target("y", 0, 3)].concat();
    let table = live(&compiled(&format!("[route.split]\nweights = {{ x = 1, y = 0 }}\n{text}")).unwrap());
    assert_eq!(chosen(&table), Some((0, Mode::LowestUsable)));
    assert_eq!(chosen(&ill(&table, 0)), Some((1, Mode::LowestUsable)));
}
