//! Findings over restarts, on full disks, within their bounds.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::item::tests::finding;
use super::*;
use crate::config::Table;

fn audit(settings: &str, state: &Arc<StateDir>) -> Arc<Audit> {
    let settings = raw::Audit::from_toml(settings).unwrap_or_else(|problems| panic!("{problems}"));
    Audit::new(settings, Arc::default(), Arc::clone(state), Arc::new(Facts::new(1)), "n1".into())
}

fn state(folder: &Path) -> Arc<StateDir> {
    Arc::new(StateDir::open(Some(folder), None, None).expect("usable"))
}

fn send(audit: &Audit, findings: impl IntoIterator<Item = Finding>) {
    audit.outlet.send(findings.into_iter().collect()).expect("room");
    audit.take();
}

fn shown(audit: &Audit, filter: &Filter) -> Value {
    serde_json::from_slice(&audit.find_now(filter, 0)).expect("JSON")
}

/// Hosts and counts, newest first.
fn hosts(audit: &Audit) -> Vec<(String, u64)> {
    let shown = shown(audit, &Filter::default());
    let items = shown["items"].as_array().expect("a list").iter();
    items
        .map(|item| (item["hostname"].as_str().unwrap_or_default().to_owned(), item["count"].as_u64().unwrap_or(0)))
        .collect()
}

#[test]
fn findings_go_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let now = unix_s();
    let kept = state(folder.path());
    let first = audit("", &kept);
    send(&first, [finding("a.test", 5, now - 10), finding("b.test", 1, now - 20)]);
    first.flush();
    send(&first, [finding("a.test", 2, now - 9)]);
    first.finish();
    let before = shown(&first, &Filter::default());
    drop((first, kept));

    let second = audit("", &state(folder.path()));
    // Denied before what was kept has been read.
    send(&second, [finding("b.test", 3, now)]);
    second.flush();
    assert_eq!(hosts(&second), [("b.test".to_owned(), 4), ("a.test".to_owned(), 7)]);
    assert_eq!(shown(&second, &Filter::default())["items"][1], before["items"][0]);
}

#[test]
fn old_findings_go_from_memory_and_do_not_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (state, now) = (state(folder.path()), unix_s());
    let first = audit("retention = \"1h\"", &state);
    send(&first, [finding("old.test", 1, now - 3_590), finding("new.test", 1, now)]);
    first.flush();
    assert_eq!(first.count(), 2);
    lock(&first.settings).retention = Duration::from_secs(60);
    first.flush();
    assert_eq!(hosts(&first), [("new.test".to_owned(), 1)]);
    drop(first);
    let second = audit("retention = \"1h\"", &state);
    second.flush();
    lock(&second.settings).retention = Duration::from_secs(60);
    second.flush();
    assert_eq!(hosts(&second), [("new.test".to_owned(), 1)]);
}

#[test]
fn no_more_findings_than_there_may_be() {
    let audit = audit("findings_max = 1000", &Arc::new(StateDir::none("a test")));
    send(&audit, (0..1_500).map(|n| finding(&format!("h{n}.test"), 1, 1_000 + n)));
    assert_eq!((audit.count(), audit.evicted.number.load(Ordering::Relaxed)), (1_000, 500));
    assert_eq!(hosts(&audit)[0].0, "h1499.test");
}

fn bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder.join(FOLDER)).expect("a folder").flatten();
    files.map(|file| file.metadata().map_or(0, |seen| seen.len())).sum()
}

#[test]
fn the_disk_is_bounded_and_quiet_findings_survive_busy_ones() {
    const DISK_MAX: u64 = 32 << 20;
    let folder = tempfile::tempdir().expect("a folder");
    let (state, now) = (state(folder.path()), unix_s());
    let first = audit("disk_max = \"32MiB\"", &state);
    send(&first, [finding("quiet.test", 1, now - 100)]);
    let mut written = 0;
    while written < 3 * DISK_MAX {
        send(&first, (0..5_000).map(|n| finding(&format!("h{n}.test"), 1, now)));
        first.flush();
        written += 5_000 * 500;
        assert!(bytes(folder.path()) <= DISK_MAX + (8 << 20));
    }
    assert_eq!(first.evicted.disk.load(Ordering::Relaxed), 0);
    let count = first.count();
    drop(first);
    let second = audit("", &state);
    second.flush();
    assert_eq!(second.count(), count);
    assert!(!shown(&second, &Filter { q: vec!["quiet".into()], ..Filter::default() })["items"][0].is_null());
}

#[test]
fn findings_that_fill_the_disk_drop_the_oldest() {
    let folder = tempfile::tempdir().expect("a folder");
    let (state, now) = (state(folder.path()), unix_s());
    let audit = audit("disk_max = \"32MiB\"", &state);
    for part in 0..9_u64 {
        let name = "x".repeat(200);
        send(&audit, (0..10_000).map(|n| finding(&format!("{name}{part}-{n}.test"), 1, now - 100 + part)));
        audit.flush();
        assert!(bytes(folder.path()) <= (32 + 8) << 20, "{}", bytes(folder.path()));
    }
    assert!(audit.evicted.disk.load(Ordering::Relaxed) > 0 && audit.count() > 10_000);
    let oldest = shown(&audit, &Filter { until: now - 100, ..Filter::default() });
    assert!(oldest["items"].as_array().is_some_and(Vec::is_empty), "the oldest have gone");
}

#[test]
fn without_a_place_findings_are_kept_in_memory() {
    let audit = audit("", &Arc::new(StateDir::none("a test")));
    send(&audit, [finding("a.test", 1, unix_s())]);
    audit.flush();
    assert_eq!(hosts(&audit), [("a.test".to_owned(), 1)]);
    assert!(audit.facts.warnings().is_empty(), "the state directory's own warning says it");
}

#[test]
fn a_place_that_fails_is_told_and_taken_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = state(folder.path());
    // What is no directory cannot be entered, by whatever user.
    std::fs::write(folder.path().join(FOLDER), "").expect("written");
    let first = audit("", &state);
    send(&first, [finding("a.test", 1, unix_s())]);
    first.flush();
    assert!(first.facts.warnings().get(UNWRITTEN).is_some_and(|hint| hint.contains("in memory only")));
    assert_eq!(hosts(&first), [("a.test".to_owned(), 1)]);
    std::fs::remove_file(folder.path().join(FOLDER)).expect("removed");
    first.flush();
    assert!(first.facts.warnings().is_empty());
    let mode = std::fs::metadata(folder.path().join(FOLDER)).expect("a folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    drop(first);
    let second = audit("", &state);
    second.flush();
    assert_eq!(hosts(&second), [("a.test".to_owned(), 1)]);
}

#[test]
fn what_control_denies_is_found_as_what_workers_deny() {
    use crate::base::Reason;
    use crate::policy::finding::{Denial, Kind};
    let audit = audit("", &Arc::new(StateDir::none("a test")));
    let denial = Denial::new(Kind::DnsDeny, "resolver", "deny_ips", Reason::UpstreamDnsFailed);
    let denial = Denial { fqdn: "a.test", host: "a.test", dst_ip: Some([169, 254, 1, 1].into()), ..denial };
    (0..3).for_each(|_| audit.found(&denial));
    let shown = shown(&audit, &Filter { finding_type: vec!["dns_deny"], ..Filter::default() });
    let item = &shown["items"][0];
    assert_eq!((&item["count"], &item["fqdn"], &item["dst_ip"]), (&3.into(), &"a.test".into(), &"169.254.1.1".into()));
}
