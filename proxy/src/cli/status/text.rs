//! A status as people read it.

use serde_json::Value;

use super::Answer;

/// Readiness first; then what fails and what to do; then what weir is at.
pub(super) fn show(answer: &Answer) -> String {
    let verdict = match (&answer.ready["ready"], &answer.ready["serving"]) {
        (Value::Bool(true), _) => "ready",
        (_, Value::Bool(true)) => "not ready, but serving",
        _ => "not ready",
    };
    let (version, node) = (word(&answer.health["version"]), word(&answer.health["node_id"]));
    let uptime = word(&answer.health["uptime_s"]);
    let mut text = format!("{verdict}: weir {version} on {node}, up {uptime} s\n");
    for check in failing(answer) {
        text += &fault(check);
    }
    for warning in answer.ready["warnings"].as_array().into_iter().flatten() {
        text += &format!("warning   {}: {}\n", word(&warning["code"]), word(&warning["hint"]));
    }
    text + &figures(&answer.stats) + &kernel(&answer.kernel) + &format!("next      {}\n", next(answer))
}

/// Checks that fail by themselves, the root first.
fn failing(answer: &Answer) -> impl Iterator<Item = &Value> {
    let checks = answer.ready["checks"].as_array().into_iter().flatten();
    checks.filter(|check| check["ok"] == false && check["suppressed_by"].is_null())
}

fn fault(check: &Value) -> String {
    let [name, code, detail] = ["name", "code", "detail"].map(|key| word(&check[key]));
    let mut text = format!("failing   {name} ({code}): {detail}\n");
    for (label, key) in [("seen", "evidence"), ("hint", "hint")] {
        let value = word(&check[key]);
        if !value.is_empty() {
            text += &format!("{label:10}{value}\n");
        }
    }
    text
}

fn figures(stats: &Value) -> String {
    let (http, dataplane) = (&stats["http"], &stats["dataplane"]);
    format!(
        "serving   generation {} on {} workers; {} connections; {} requests so far, {} now\n",
        word(&stats["generation"]),
        word(&dataplane["workers"]),
        word(&dataplane["active_flows"]),
        word(&http["requests"]),
        word(&http["active"]),
    )
}

/// Each part of the kernel half: how it runs or why it does not, what it has counted and lost.
fn kernel(kernel: &Value) -> String {
    let groups = kernel["groups"].as_array().into_iter().flatten();
    let mut text: String = groups.map(group).collect();
    let sum = |action: &str| -> u64 {
        let rows = kernel["packets"].as_array().into_iter().flatten().filter(|row| row["action"] == action);
        rows.filter_map(|row| row["packets"].as_u64()).sum()
    };
    text += &format!(
        "kernel    mode {}; {} packets dropped, {} would have been; {} clients promoted; {} events lost\n",
        word(&kernel["mode"]),
        sum("drop"),
        sum("would_drop"),
        word(&kernel["promotions"]["made"]),
        word(&kernel["lost"]),
    );
    text
}

fn group(group: &Value) -> String {
    let [name, state, mode, why] = ["name", "state", "mode", "why"].map(|key| word(&group[key]));
    let how = if mode.is_empty() { state.as_str() } else { mode.as_str() };
    let places = group["links"].as_array().into_iter().flatten().filter(|link| !link["mode"].is_null());
    let places: Vec<String> = places.map(|link| word(&link["place"])).collect();
    let at = if places.is_empty() { String::new() } else { format!(" at {}", places.join(", ")) };
    let why = if why.is_empty() { why } else { format!(": {why}") };
    format!("kernel    {name} {how}{at}{why}\n")
}

/// The call that shows more of what matters now.
pub(super) fn next(answer: &Answer) -> String {
    let resource = match answer.ready["root"].as_str() {
        None => "/api/v1/routes",
        Some("dns_allowlist") => "/api/v1/dns-cache",
        Some(_) => "/ready",
    };
    format!("curl -s http://{}{resource}", answer.address)
}

/// A value without quotes; nothing for null.
fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.escape_debug().to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(ready: Value) -> Answer {
        Answer {
            address: ([127, 0, 0, 1], 9900).into(),
            health: json!({ "version": "0.1.0", "node_id": "n", "uptime_s": 3 }),
            ready,
            stats: json!({
                "generation": 2, "dataplane": { "workers": 1, "active_flows": 4 }, "http": { "requests": 5, "active": 0 },
            }),
            kernel: json!({
                "mode": "enforce",
                "groups": [
                    { "name": "drop", "state": "attached", "mode": "generic", "why": null,
                        "links": [{ "place": "eth0", "mode": "generic" }, { "place": "eth1", "mode": null }] },
                    { "name": "steer", "state": "off", "mode": null, "why": "there is one worker", "links": [] },
                ],
                "packets": [{ "action": "drop", "packets": 7 }, { "action": "would_drop", "packets": 1 }],
                "promotions": { "made": 2 },
                "lost": 3,
            }),
        }
    }

    #[test]
    fn what_fails_by_itself_is_shown_with_its_hint_and_the_next_call() {
        let check = |name: &str, by: Value| json!({ "name": name, "ok": false, "code": "C", "detail": "d", "hint": "h", "evidence": "e", "suppressed_by": by });
        let checks = json!([check("dns_allowlist", Value::Null), check("policy_ready", json!("dns_allowlist"))]);
        let text = show(&answer(json!({ "ready": false, "serving": true, "root": "dns_allowlist", "checks": checks })));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "not ready, but serving: weir 0.1.0 on n, up 3 s",
                "failing   dns_allowlist (C): d",
                "seen      e",
                "hint      h",
                "serving   generation 2 on 1 workers; 4 connections; 5 requests so far, 0 now",
                "kernel    drop generic at eth0",
                "kernel    steer off: there is one worker",
                "kernel    mode enforce; 7 packets dropped, 1 would have been; 2 clients promoted; 3 events lost",
                "next      curl -s http://127.0.0.1:9900/api/v1/dns-cache",
            ]
        );
    }

    #[test]
    fn ready_is_one_word() {
        let text = show(&answer(json!({ "ready": true, "serving": true, "root": null, "checks": [] })));
        assert!(text.starts_with("ready: ") && text.ends_with("/api/v1/routes\n"), "{text}");
    }
}
