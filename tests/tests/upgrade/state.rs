//! What outlives a process outlives an upgrade, whole, and is written by one process at a time.

use serde_json::{Value, json};
use weir_tests::exchange::request;
use weir_tests::{Config, Origin, Weir, wait};

fn api(weir: &Weir, method: &str, path: &str, body: &Value) -> u16 {
    let fields = [("Host", "localhost"), ("Content-Type", "application/json")];
    request(weir.management(), method, path, &fields, body.to_string().as_bytes()).status
}

/// How many denials findings of banned clients have.
fn banned(weir: &Weir) -> u64 {
    let findings = weir.api("/api/v1/audit/findings/local");
    let items = findings["items"].as_array().cloned().unwrap_or_default();
    let banned = items.iter().filter(|item| item["finding_type"].to_string().contains("ban"));
    banned.filter_map(|item| item["count"].as_u64()).sum()
}

/// Whether a client's connection is reset at once.
fn refuses(weir: &Weir, from: [u8; 4]) -> bool {
    let connected = weir_tests::Client::try_connect_from(from.into(), weir.web());
    connected.map_or(true, |mut client| {
        let _ = client.try_write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
        client.try_response("GET").is_err()
    })
}

#[test]
fn bans_findings_and_settings_are_those_of_before() {
    let origin = Origin::ok("x");
    let mut weir = Config::forwarding(origin.url()).without_kernel().start();
    let cidr = |ip: &str| json!({ "cidr": ip, "reason": "a test" });
    assert_eq!(api(&weir, "POST", "/api/v1/bans", &cidr("127.0.0.9/32")), 201);
    for _ in 0..3 {
        assert!(refuses(&weir, [127, 0, 0, 9]));
    }
    wait::until("three denials", || banned(&weir) == 3);
    weir.upgraded(&[]);
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
    let bans = weir.api("/api/v1/bans");
    assert!(bans.to_string().contains("127.0.0.9"), "{bans}");
    wait::until("the findings are there", || banned(&weir) == 3);
    assert!(refuses(&weir, [127, 0, 0, 9]));
    wait::until("and go on", || banned(&weir) == 4);
    assert_eq!(api(&weir, "POST", "/api/v1/bans", &cidr("127.0.0.8/32")), 201);
    let off = json!({ "enabled": false });
    assert_eq!(api(&weir, "PUT", "/api/v1/settings/performance-mode", &off), 200);
    let new = weir.upgraded(&[]);
    wait::until("the second has ended", || weir.processes().iter().all(|one| one.0 == new.0));
    assert_eq!(weir.api("/api/v1/settings/performance-mode")["enabled"], false);
    let bans = weir.api("/api/v1/bans").to_string();
    assert!(bans.contains("127.0.0.9") && bans.contains("127.0.0.8"), "{bans}");
    weir.stop_all();
}

#[test]
fn the_state_directory_stays_locked() {
    let origin = Origin::ok("x");
    let mut weir = Config::forwarding(origin.url()).without_kernel().start();
    let state = weir.path("state");
    weir.upgraded(&[]);
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
    let other = Config::forwarding(origin.url()).without_kernel();
    let other = other.tables(&format!("[node]\nstate_dir = \"{}\"\n", state.display()));
    let mut other = other.launch();
    let exit = other.wait_end(wait::SOON);
    assert_eq!(exit.code, Some(7), "{}", exit.stderr);
    assert!(exit.stderr.contains("another weir uses it"), "{}", exit.stderr);
    weir.stop_all();
}

#[test]
fn what_the_old_process_denies_while_it_finishes_is_told_to_the_new_one() {
    let origin = Origin::ok("x");
    let config = Config::forwarding(origin.url()).without_kernel();
    let config =
        config.tables("[[rate_limit]]\nname = \"one\"\nlimit = 1\nwindow = \"1h\"\nalgorithm = \"fixed_window\"\n");
    let mut weir = config.start();
    let mut kept = weir.client();
    let ask = weir_tests::exchange::bytes("GET", "/", &[], b"");
    assert_eq!(kept.exchange(&ask).status, 200);
    // The head is not whole yet: the old process has this request.
    let (head, rest) = ask.split_at(10);
    kept.write(head);
    let origin_seen = origin.requests().len();
    weir.upgraded(&[]);
    kept.write(rest);
    assert_eq!(kept.response().status, 429);
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
    assert_eq!(origin.requests().len(), origin_seen);
    wait::until("the denial is known", || {
        let findings = weir.api("/api/v1/audit/findings/local").to_string();
        findings.contains("\"rule\":\"one\"")
    });
    weir.stop_all();
}
