//! The walk over rules: its order, what it counts, what it says.

use super::*;
use crate::policy::expr::tests::Sample;

const REQUEST: &str = "GET /a HTTP/1.1\nHost: a.test\n\n";

/// The rules of a document, each doing nothing but having its place in the document.
fn rules(tables: &[&str]) -> Rules<usize> {
    let each = tables.iter().enumerate();
    let text: String = each.map(|(at, keys)| format!("[[rate_limit]]\nname = \"r{at}\"\n{keys}\n")).collect();
    let document = crate::config::parse(&text, "weir.toml").unwrap_or_else(|problems| panic!("{problems}"));
    let context = Context::of(&document);
    let mut problems = Problems::new();
    let mut builder = RulesBuilder::new("rate_limit", &context);
    for (at, raw) in document.rate_limits.iter().enumerate() {
        builder.push(&raw.rule(), Some(at), &mut problems);
    }
    assert!(problems.is_empty(), "{problems}");
    builder.build()
}

fn cells(rules: &Rules<usize>) -> RuleCells {
    RuleTable::new(1).generation("rate_limit", rules.iter().map(|rule| &*rule.name)).remove(0)
}

fn counts(cells: &RuleCells, slot: usize) -> [u64; 3] {
    let counters = cells.slot(slot);
    [&counters.evaluated, &counters.matched, &counters.errors].map(crate::base::metric::Counter::value)
}

#[test]
fn rules_are_asked_by_priority_then_in_the_documents_order() {
    let rules =
        rules(&["", "priority = 5", "enabled = false", "priority = 5", "priority = -1", "match = { path = \"/b\" }"]);
    let order: Vec<usize> = rules.iter().map(|rule| rule.action).collect();
    assert_eq!(order, [4, 1, 3, 0, 5]);
    assert!(rules.iter().enumerate().all(|(slot, rule)| rule.slot == slot));
    let cells = cells(&rules);
    let matching: Vec<usize> =
        Sample::new(REQUEST).with(|facts| rules.matching(facts, &cells).map(|rule| rule.action).collect());
    assert_eq!(matching, [4, 1, 3, 0]);
}

#[test]
fn a_walk_that_stops_asks_no_more() {
    let rules = rules(&["match = { path = \"/b\" }", "", ""]);
    let cells = cells(&rules);
    let first = Sample::new(REQUEST).with(|facts| rules.matching(facts, &cells).next().map(|rule| rule.slot));
    assert_eq!(first, Some(1));
    assert_eq!([0, 1, 2].map(|slot| counts(&cells, slot)), [[1, 0, 0], [1, 1, 0], [0, 0, 0]]);
}

#[test]
fn a_rule_that_fails_is_skipped_or_matches_as_it_says() {
    let fails = "when = 'headers[\"x-none\"][0] == \"a\"'";
    let rules = rules(&[fails, &format!("{fails}\non_error = \"match\"")]);
    let cells = cells(&rules);
    Sample::new(REQUEST).with(|facts| {
        let matching: Vec<usize> = rules.matching(facts, &cells).map(|rule| rule.slot).collect();
        assert_eq!(matching, [1]);
        let message = "an index lies outside its list".to_owned();
        let said: Vec<Verdict> = rules.explain(facts).into_iter().map(|judged| judged.verdict).collect();
        let error = |matches| Verdict::Error { message: message.clone(), matches };
        assert_eq!(said, [error(false), error(true)]);
        assert_eq!(rules.iter().map(|rule| rule.matches(facts)).collect::<Vec<_>>(), [false, true]);
    });
    assert_eq!([0, 1].map(|slot| counts(&cells, slot)), [[1, 0, 1], [1, 1, 1]]);
}

#[test]
fn explaining_counts_nothing_and_shows_no_more_than_fits() {
    let tables: Vec<String> = (0..70).map(|at| format!("match = {{ port = {at} }}\nmode = \"shadow\"")).collect();
    let rules = rules(&tables.iter().map(String::as_str).collect::<Vec<_>>());
    let cells = cells(&rules);
    Sample::new(REQUEST).with(|facts| {
        let judged = rules.explain(facts);
        assert_eq!(judged.len(), SHOWN_MAX);
        let Verdict::Failed(failed) = &judged[7].verdict else { panic!("{judged:?}") };
        assert_eq!((judged[7].rule, judged[7].mode, judged[7].verdict.token()), ("r7", RuleMode::Shadow, "failed"));
        assert_eq!((&*failed.predicate, &*failed.expected, &*failed.actual), ("port", "equals 7", "8080"));
    });
    assert_eq!(counts(&cells, 7), [0, 0, 0]);
}

#[test]
fn ids_are_those_of_kind_and_name() {
    let id = |kind, name| RuleId::of(kind, name).to_string();
    assert_eq!(id("rate_limit", "login"), id("rate_limit", "login"));
    assert_ne!(id("rate_limit", "login"), id("waf.rule", "login"));
    assert_eq!(RuleId::of("rate_limit", "login").uuid().get_version_num(), 5);
}

#[test]
fn counts_stay_with_the_name_and_go_with_its_last_generation() {
    let table = RuleTable::new(2);
    let total = |rule: &str| table.totals().into_iter().find(|totals| totals.rule == rule).map(|totals| totals.denied);
    let first = table.generation("rate_limit", ["a", "b"].into_iter());
    first[0].slot(1).denied.add(2);
    let other = table.generation("shaper", ["b"].into_iter());
    let second = table.generation("rate_limit", ["b"].into_iter());
    second[1].slot(0).denied.add(1);
    assert_eq!(
        table.totals().iter().map(|totals| (totals.kind, &*totals.rule)).collect::<Vec<_>>(),
        [("rate_limit", "a"), ("rate_limit", "b"), ("shaper", "b")]
    );
    assert_eq!((total("a"), total("b")), (Some(0), Some(3)));
    drop(first);
    let third = table.generation("rate_limit", ["b", "c"].into_iter());
    assert_eq!((total("a"), total("b"), total("c")), (None, Some(3), Some(0)));
    drop((other, third));
}
