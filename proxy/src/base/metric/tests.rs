//! The table of metrics: conventions, and its page.

use std::collections::HashSet;

use super::*;

/// The table of docs/reference/metrics.md.
fn reference() -> String {
    let mut text = String::from("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for metric in ALL {
        let labels = metric.labels.join(", ");
        text += &format!("| `{}` | {} | {labels} | {} |\n", metric.name, metric.kind.token(), metric.help);
    }
    text
}

fn values(label: &str, rows: impl Iterator<Item = (&'static str, &'static str)>) -> String {
    let mut text = format!("\n## Values of `{label}`\n\n| value | meaning |\n| --- | --- |\n");
    rows.for_each(|(token, help)| text += &format!("| `{token}` | {help} |\n"));
    text
}

fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n`GET /metrics` on the management listener, in the Prometheus text format. Beyond 20,000\n\
         series, further routes are counted under the label `_other`; a request without a route is counted under `_none`.\n\n",
    );
    page += &reference();
    page += &values("class", Class::ALL.iter().map(|c| (c.token(), c.text())));
    page += &values("stage", Phase::ALL.iter().map(|p| (p.token(), p.text())));
    page += &values("limit", Limit::ALL.iter().map(|l| (l.token(), l.text())));
    page += &values("coding", Coding::ALL.iter().map(|c| (c.token(), c.text())));
    page += &values("queue", Queue::ALL.iter().map(|q| (q.token(), q.text())));
    page + "\nThe values of `reason` are those of [reasons](reasons.md).\n"
}

#[test]
fn the_reference_page_is_the_table() {
    crate::base::tests::check_reference("metrics.md", &page());
}

#[test]
fn names_follow_prometheus_conventions() {
    let mut seen = HashSet::new();
    for metric in ALL {
        assert!(seen.insert(metric.name), "{} stands twice", metric.name);
        assert!(metric.name.starts_with("weir_") && metric.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        assert!(!metric.help.is_empty() && !metric.help.contains(['\n', '\\']));
    }
}
