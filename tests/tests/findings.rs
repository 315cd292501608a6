//! Findings: what is denied becomes an item, equal denials one, and a kill loses little.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use weir_tests::dir::Dir;
use weir_tests::{Client, Config, Ended, NameServer, Origin, Weir, wait};

fn items(weir: &Weir, query: &str) -> Vec<Value> {
    weir.api(&format!("/api/v1/audit/findings{query}"))["items"].as_array().cloned().unwrap_or_default()
}

/// Waits until what a query finds is one item of so many denials, and gives it.
fn wait_count(weir: &Weir, query: &str, count: u64) -> Value {
    let mut last = Vec::new();
    let found = wait::holds_within(wait::SOON, || {
        last = items(weir, query);
        last.len() == 1 && last[0]["count"] == count
    });
    assert!(found, "{count} denials of {query}: {last:#?}");
    last.remove(0)
}

/// All denials.
fn all(weir: &Weir) -> u64 {
    items(weir, "").iter().filter_map(|item| item["count"].as_u64()).sum()
}

fn kept_in(state: &Path) -> Config {
    Config::new().tables(&format!("[node]\nid = \"n1\"\nstate_dir = \"{}\"\n[audit]\nflush = \"1s\"", state.display()))
}

/// Sends a head that is refused.
fn break_a_rule(weir: &Weir) {
    let mut client = weir.client();
    assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: bad.test\r\nX: a\r\n folded\r\n\r\n").status, 400);
    assert_eq!(client.drain().1, Ended::Closed);
}

#[test]
fn a_refused_head_is_an_item_with_every_field() {
    let weir = Config::new().start();
    break_a_rule(&weir);
    break_a_rule(&weir);
    let item = wait_count(&weir, "?finding_type=bad_request", 2);
    for (key, value) in [
        ("action", Value::from("enforced")),
        ("rule", "obs_fold".into()),
        ("reason", "obs_fold".into()),
        ("status", 400.into()),
        ("source_group", "web".into()),
        ("proto", 6.into()),
        ("icmp_type", Value::Null),
        ("src_ip", Value::Null),
        ("top_clients", serde_json::json!([{ "ip": "127.0.0.1", "count": 2 }])),
    ] {
        assert_eq!(item[key], value, "{key}");
    }
    let line = weir.wait_log("the refusal", |line| line["reason"] == "obs_fold");
    let ids = item["request_ids"].as_array().expect("a list");
    assert!(ids.len() == 2 && ids.iter().any(|id| *id == line["id"]), "{ids:?} {line}");
    assert_eq!(item["node_ids"][0], weir.api("/health")["node_id"]);
}

/// Requests of one connection, sent ahead of their answers.
const AHEAD: usize = 500;
const CONNECTIONS: usize = 4;
const DENIALS: usize = 1_000_000;

/// Has `count` requests denied on kept connections.
fn be_denied(weir: &Weir, count: usize) {
    let heads = "GET /a HTTP/1.1\r\nHost: many.test\r\n\r\n".repeat(AHEAD);
    let client = weir.client();
    client.patience(Duration::from_secs(60));
    let mut stream = client.stream();
    let mut buffer = vec![0; 1 << 16];
    for _ in 0..count / AHEAD {
        stream.write_all(heads.as_bytes()).expect("written");
        let (mut answered, mut line) = (0, Vec::new());
        while answered < AHEAD {
            let n = stream.read(&mut buffer).expect("an answer");
            assert_ne!(n, 0, "closed after {answered} answers");
            line.extend_from_slice(&buffer[..n]);
            let whole = line.windows(STATUS.len()).filter(|window| *window == STATUS).count();
            answered += whole;
            // What may begin a status line that is not whole yet.
            let keep = line.len().min(STATUS.len() - 1);
            line.drain(..line.len() - keep);
        }
    }
}

const STATUS: &[u8] = b"HTTP/1.1 429";

#[test]
fn a_million_denials_are_one_item() {
    let deny = "[[rate_limit]]\nname = \"none\"\nlimit = 1\nwindow = \"24h\"\n\
                [limits]\nrequests_per_connection = 0";
    let weir = Config::new().workers(2).tables(deny).start();
    assert_ne!(weir.get("/a").status, 429);
    let before = weir.process().resident_bytes();
    std::thread::scope(|scope| {
        (0..CONNECTIONS).for_each(|_| drop(scope.spawn(|| be_denied(&weir, DENIALS / CONNECTIONS))));
    });
    let item = wait_count(&weir, "?finding_type=rate_limited", DENIALS as u64);
    assert_eq!((&item["rule"], &item["hostname"]), (&"none".into(), &"many.test".into()));
    assert_eq!(weir.api("/api/v1/audit/findings")["lost"], 0);
    assert!(weir.process().resident_bytes() < before + (64 << 20));
}

fn segments(state: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(state.join("findings")).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Whether so many denials are on disk.
fn is_written(state: &Path, count: u64) -> bool {
    let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    segments(state).iter().any(|path| text(path).contains(&format!("\"count\":{count},")))
}

#[test]
fn a_kill_loses_one_flush_at_most_and_a_torn_line_no_other() {
    let state = Dir::new();
    let weir = kept_in(state.path()).start();
    (0..30).for_each(|_| break_a_rule(&weir));
    wait_count(&weir, "", 30);
    wait::until("a flush", || is_written(state.path(), 30));
    (0..5).for_each(|_| break_a_rule(&weir));
    // Dropped is killed.
    drop(weir);
    let last = segments(state.path()).pop().expect("a segment");
    let torn = std::fs::OpenOptions::new().append(true).open(last).expect("a segment");
    (&torn).write_all(b"0123abcd {\"id\":\"torn").expect("written");

    let weir = kept_in(state.path()).start();
    let count = all(&weir);
    assert!((30..=35).contains(&count), "{count}");
    break_a_rule(&weir);
    // It has another port, and so an item of its own.
    wait::until("one more", || all(&weir) == count + 1);
    // An end in order loses nothing.
    weir.stop();
    let weir = kept_in(state.path()).start();
    assert_eq!(all(&weir), count + 1);
}

#[test]
fn an_address_that_a_name_must_not_have_is_a_finding_of_dns() {
    let names = NameServer::start();
    names.point("app.test", [169, 254, 169, 254]);
    let resolver = format!("[resolver]\nservers = [\"{}\"]", names.address());
    let weir = Config::forwarding("http://app.test").tables(&resolver).start();
    let found = || items(&weir, "?finding_type=dns_deny").into_iter().next();
    let item = wait::value("a finding", found);
    assert_eq!((&item["fqdn"], &item["dst_ip"]), (&"app.test".into(), &"169.254.169.254".into()));
    assert_eq!((&item["query_type"], &item["rule"]), (&1.into(), &"deny_ips".into()));
    assert_eq!(weir.get("/").status, 503);
}

#[test]
fn refused_connections_are_findings_too() {
    let origin = Origin::ok("hello");
    let weir = Config::forwarding(origin.url()).tables("[limits]\nconnections_max = 2").start();
    let _held = [weir.client(), weir.client()];
    wait::until("a refusal", || {
        // However it ends: the finding is what says why.
        drop(Client::try_connect_from("127.0.0.5".parse().expect("an address"), weir.web()));
        !items(&weir, "?finding_type=connection_limit&src_ip=127.0.0.5&rule=connections_max").is_empty()
    });
}
