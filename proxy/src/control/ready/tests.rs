//! Each check's failure and recovery.

use super::*;
use crate::control::facts::ListenerFact;

const MS: u64 = 1_000_000;
const NOW: crate::base::Instant = crate::base::Instant::from_nanos(3_600_000 * MS);

/// A process in which all is well.
fn well() -> Facts {
    let facts = Facts::new(2);
    facts.publish(1, NOW);
    for worker in facts.workers() {
        worker.beat(NOW);
        worker.adopted(1);
    }
    facts
}

fn at(ms: u64) -> crate::base::Instant {
    NOW + Duration::from_millis(ms)
}

fn readiness(facts: Facts, now: fn() -> crate::base::Instant) -> Readiness {
    Watch::new(Arc::new(facts), now, "n1".into()).look()
}

/// Code by check of what fails at `now`.
fn failing(facts: &Facts, now: crate::base::Instant) -> Vec<(&'static str, &'static str)> {
    let failures = assess(facts, now).into_iter().zip(CHECK_NAMES);
    failures.filter_map(|(failure, name)| Some((name, failure?.code))).collect()
}

#[test]
fn a_process_in_which_all_is_well_is_ready() {
    assert_eq!(failing(&well(), NOW), []);
    let readiness = readiness(well(), || NOW);
    assert!(readiness.ready && readiness.serving && readiness.root.is_none());
    assert_eq!(readiness.revision, Revision { desired: 1, applied: 1 });
}

#[test]
fn a_start_names_the_workers_first() {
    let facts = Facts::new(1);
    assert_eq!(failing(&facts, NOW), [("dataplane_running", "STARTING"), ("policy_ready", "NO_SNAPSHOT")]);
    let readiness = readiness(facts, || NOW);
    assert_eq!(readiness.root, Some("dataplane_running"));
    let policy = readiness.checks.iter().find(|check| check.name == "policy_ready").expect("a check");
    assert_eq!(policy.suppressed_by, Some("dataplane_running"));
}

#[test]
fn a_beat_two_seconds_old_is_a_stall_and_a_new_one_clears_it() {
    let facts = well();
    facts.workers()[0].beat(at(1_999));
    assert_eq!(failing(&facts, at(1_999)), []);
    assert_eq!(failing(&facts, at(2_000)), [("dataplane_running", "WORKER_STALLED")]);
    facts.workers()[1].beat(at(2_000));
    assert_eq!(failing(&facts, at(2_000)), []);
}

#[test]
fn an_ended_worker_fails_unless_a_drain_ended_it() {
    let facts = well();
    facts.workers()[1].ended();
    assert_eq!(failing(&facts, NOW), [("dataplane_running", "WORKER_EXITED")]);
    facts.drain();
    facts.workers()[0].beat(at(60_000));
    assert_eq!(failing(&facts, at(60_000)), [("draining", "DRAINING")]);
}

#[test]
fn an_unbound_listener_fails_until_it_is_bound() {
    let facts = well();
    let fact = |error: Option<&str>| ListenerFact {
        name: "web".into(),
        address: "0.0.0.0:80".into(),
        error: error.map(str::to_owned),
    };
    facts.set_listeners(vec![fact(None), fact(Some("address in use"))]);
    assert_eq!(failing(&facts, NOW), [("dataplane_config", "LISTENER_BIND_FAILED")]);
    facts.set_listeners(vec![fact(None)]);
    assert_eq!(failing(&facts, NOW), []);
}

#[test]
fn a_worker_may_take_a_second_to_a_new_generation() {
    let facts = well();
    facts.publish(2, NOW);
    facts.workers()[0].adopted(2);
    facts.workers().iter().for_each(|worker| worker.beat(at(1_000)));
    assert_eq!(failing(&facts, at(999)), []);
    assert_eq!(failing(&facts, at(1_000)), [("policy_ready", "GENERATION_LAGS")]);
    facts.workers()[1].adopted(2);
    assert_eq!(failing(&facts, at(1_000)), []);
}

#[test]
fn names_need_an_answer_in_the_last_ten_seconds() {
    let facts = well();
    facts.resolver.begin(1, NOW, true);
    assert_eq!(failing(&facts, NOW), [("dns_allowlist", "RESOLVER_DOWN")]);
    facts.resolver.end_first_round();
    assert_eq!(failing(&facts, NOW), [("dns_allowlist", "RESOLVER_DOWN")]);
    facts.resolver.answered(NOW);
    assert_eq!(failing(&facts, NOW), []);
    facts.workers().iter().for_each(|worker| worker.beat(at(10_000)));
    assert_eq!(failing(&facts, at(10_000)), [("dns_allowlist", "RESOLVER_DOWN")]);
    facts.resolver.answered(at(10_000));
    assert_eq!(failing(&facts, at(10_000)), []);
    facts.resolver.begin(0, NOW, false);
    assert_eq!(failing(&facts, at(10_000)), []);
}

#[test]
fn since_moves_only_when_a_check_says_something_else() {
    let facts = Arc::new(well());
    let mut watch = Watch::new(Arc::clone(&facts), || NOW, "n1".into());
    let before = watch.look();
    facts.drain();
    let draining = watch.look();
    let again = watch.look();
    assert_eq!(draining, again);
    assert_eq!(before.checks[0].since, again.checks[0].since);
    assert!(draining.checks.last().is_some_and(|check| !check.ok && check.since >= before.checks[5].since));
    assert!(!draining.serving && draining.root == Some("draining"));
}

#[test]
fn excluded_checks_count_for_nothing() {
    let facts = well();
    facts.resolver.begin(1, NOW, true);
    let readiness = readiness(facts, || NOW);
    assert!(!readiness.ready && readiness.serving);
    let without = readiness.without(&["dns_allowlist".to_owned()]);
    assert!(without.ready && without.root.is_none() && without.checks.len() == CHECK_NAMES.len() - 1);
}

#[test]
fn a_refused_reload_is_a_warning_until_one_succeeds() {
    let facts = Arc::new(well());
    let mut watch = Watch::new(Arc::clone(&facts), || NOW, "n1".into());
    facts.set_reload_refused(Some("weir.toml:3: no".to_owned()));
    let readiness = watch.look();
    assert!(readiness.ready);
    assert_eq!(readiness.warnings[0].code, "RELOAD_REFUSED");
    assert!(readiness.warnings[0].hint.contains("weir.toml:3: no"));
    facts.set_reload_refused(None);
    assert!(watch.look().warnings.is_empty());
}
