//! Rows, times, leave to go, against the page and a plain oracle.

use super::*;
use crate::target::live::State;
use crate::target::testing::{SECOND, START, groups, id, live, weighted};

fn report(live: &Live, target: usize, observed: Observed) -> Report {
    Report { endpoint: id(live, target, 0), observed }
}

fn watched(keys: &str, targets: usize) -> Live {
    live(&weighted(&format!("[route.outlier]\nenabled = true\n{keys}"), &vec![1; targets]))
}

#[test]
fn outliers_are_watched_where_health_is_or_where_asked() {
    assert!(weighted("", &[1]).outlier.is_none());
    assert!(weighted("[route.health]", &[1]).outlier.is_some());
    assert!(weighted("[route.health]\n[route.outlier]\nenabled = false", &[1]).outlier.is_none());
    assert!(weighted("[route.outlier]\nenabled = true", &[1]).outlier.is_some());
}

#[test]
fn one_failed_connect_or_five_server_errors_in_a_row_eject() {
    let table = watched("", 4);
    let mut outliers = Outliers::default();
    let until = START + SECOND * 30;
    assert_eq!(outliers.note(&table, report(&table, 0, Observed::ConnectFailed), START), Verdict::Ejected(until));
    assert_eq!(outliers.note(&table, report(&table, 1, Observed::HeadTimedOut), START), Verdict::Ejected(until));
    for _ in 0..4 {
        assert_eq!(outliers.note(&table, report(&table, 2, Observed::ServerError), START), Verdict::Stays);
    }
    assert_eq!(outliers.note(&table, report(&table, 2, Observed::Answered), START), Verdict::Stays);
    for n in 0..5 {
        let verdict = outliers.note(&table, report(&table, 2, Observed::ServerError), START);
        assert_eq!(verdict, if n < 4 { Verdict::Stays } else { Verdict::Ejected(until) });
    }
    assert_eq!((outliers.ejected(), outliers.refused()), (3, 0));
}

#[test]
fn ejections_in_a_row_last_longer_up_to_the_maximum() {
    let mut table = watched("base = \"30s\"\nmax = \"100s\"", 2);
    let (mut outliers, mut now, a) = (Outliers::default(), START, id(&table, 0, 0));
    for seconds in [30, 60, 90, 100, 100] {
        let Verdict::Ejected(until) = outliers.note(&table, report(&table, 0, Observed::ConnectFailed), now) else {
            panic!()
        };
        assert_eq!(until, now + SECOND * seconds);
        table = table.with_ejection(a, until, now);
        assert_eq!(outliers.note(&table, report(&table, 0, Observed::ConnectFailed), now), Verdict::Stays, "late");
        assert_eq!(outliers.due(&table), Some(until));
        assert!(outliers.over(&table, now).is_empty());
        now = until;
        let over = outliers.over(&table, now);
        assert_eq!(over, [Change::Restore(a)]);
        table = table.apply(&over, now);
        assert_eq!(outliers.due(&table), None);
    }
    outliers.note(&table, report(&table, 0, Observed::Answered), now);
    let verdict = outliers.note(&table, report(&table, 0, Observed::ConnectFailed), now);
    assert_eq!(verdict, Verdict::Ejected(now + SECOND * 30), "a good answer ends the row");
}

#[test]
fn a_passed_probe_ends_an_ejection() {
    let table = watched("", 2);
    let (outliers, a) = (Outliers::default(), id(&table, 0, 0));
    assert_eq!(outliers.probe_passed(&table, a, START), None);
    let out = table.with_ejection(a, START + SECOND, START);
    assert_eq!(outliers.probe_passed(&out, a, START), Some(Change::Restore(a)));
}

#[test]
fn a_lone_origin_stays_and_half_of_a_group_may_go() {
    let table = watched("", 1);
    let mut outliers = Outliers::default();
    assert_eq!(outliers.note(&table, report(&table, 0, Observed::ConnectFailed), START), Verdict::Refused);
    let mut table = watched("", 4);
    for target in 0..4 {
        match outliers.note(&table, report(&table, target, Observed::ConnectFailed), START) {
            Verdict::Ejected(until) => table = table.with_ejection(id(&table, target, 0), until, START),
            verdict => assert!(target >= 2 && verdict == Verdict::Refused),
        }
    }
    assert_eq!((outliers.ejected(), outliers.refused()), (2, 3));
}

#[test]
fn beyond_max_percent_a_usable_higher_group_gives_leave() {
    let text = "[route.outlier]\nenabled = true\n[[route.target]]\nurl = \"http://127.0.0.1\"\n\
                [[route.target]]\nurl = \"http://127.0.0.2\"\npriority_group = 1";
    let table = live(&groups(text));
    let failed = |table: &Live| Outliers::default().note(table, report(table, 0, Observed::ConnectFailed), START);
    assert!(matches!(failed(&table), Verdict::Ejected(_)));
    let alone = table.with_health(id(&table, 1, 0), State::Unhealthy, START);
    assert_eq!(failed(&alone), Verdict::Refused);
}

#[test]
fn rows_agree_with_a_look_at_the_whole_history() {
    let mut rng = fastrand::Rng::with_seed(60);
    for _ in 0..100 {
        let (connect, gateway) = (rng.u32(0..4), rng.u32(0..4));
        let table = watched(&format!("connect = {connect}\ngateway = {gateway}"), 2);
        let (mut outliers, mut history) = (Outliers::default(), Vec::new());
        for _ in 0..100 {
            let observed = [Observed::Answered, Observed::ConnectFailed, Observed::HeadTimedOut, Observed::ServerError]
                [rng.usize(..4)];
            history.push(observed);
            let is_connect = |seen: &&Observed| matches!(seen, Observed::ConnectFailed | Observed::HeadTimedOut);
            let back = history.iter().rev();
            let connects = back.clone().take_while(is_connect).count() as u32;
            let since_good = back.take_while(|&&seen| seen != Observed::Answered);
            let errors = since_good.filter(|&&seen| seen == Observed::ServerError).count() as u32;
            let expected = match observed {
                Observed::Answered => false,
                Observed::ServerError => gateway > 0 && errors >= gateway,
                _ => connect > 0 && connects >= connect,
            };
            // Not published, so that it counts on; an ejection begins the rows anew.
            let verdict = outliers.note(&table, report(&table, 0, observed), START);
            assert_eq!(matches!(verdict, Verdict::Ejected(_)), expected, "{history:?}");
            if expected {
                history.clear();
            }
        }
    }
}

#[test]
fn counts_of_what_is_gone_are_dropped() {
    let table = watched("connect = 5", 1);
    let mut outliers = Outliers::default();
    outliers.note(&table, report(&table, 0, Observed::ConnectFailed), START);
    outliers.retain(&watched("", 1));
    assert!(outliers.counts.is_empty());
}
