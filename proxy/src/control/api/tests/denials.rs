//! Bans and findings over the API.

use serde_json::json;

use super::*;
use crate::policy::finding::{Denial, Finding, Kind};

fn send_findings(bench: &Bench, hosts: &[(&str, u64, u64)]) {
    let one = Denial::new(Kind::BadRequest, "http", "obs_fold", Reason::ObsFold);
    let found = |(host, times, unix_s): &(&str, u64, u64)| {
        let client = Some([192, 0, 2, 1].into());
        Finding::of(&Denial { host, listener: "web", times: *times, client, ..one }, *unix_s)
    };
    bench.findings.send(hosts.iter().map(found).collect()).expect("room");
}

/// Asks until there are so many items.
async fn findings(bench: &Bench, query: &str, items: usize) -> Value {
    loop {
        let answer = get(bench.address, &format!("/api/v1/audit/findings{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let json = answer.json();
        if json["items"].as_array().expect("a list").len() == items {
            return json;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn now() -> u64 {
    crate::control::bans::unix_s()
}

#[tokio::test]
async fn queries_as_neuwerk_documents_them_are_answered_as_there() {
    let bench = bench();
    let now = now();
    send_findings(&bench, &[("a.test", 7, now - 50), ("b.test", 1, now)]);
    let all = findings(&bench, "", 2).await;
    let shape: Vec<&str> = all.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(shape, ["items", "lost", "next", "node_errors", "nodes_queried", "nodes_responded", "partial"]);
    let rest = json!({ "partial": false, "node_errors": [], "nodes_queried": 1, "nodes_responded": 1 });
    assert!(rest.as_object().expect("an object").iter().all(|(key, value)| all[key] == *value), "{all}");
    assert_eq!((&all["items"][0]["hostname"], &all["items"][1]["count"]), (&"b.test".into(), &7.into()));
    assert_eq!(all["items"][0]["node_ids"], json!(["n1"]));
    let policy = all["items"][0]["policy_id"].as_str().expect("a UUID").to_owned();
    for (query, items) in [
        ("/local".to_owned(), 2),
        ("?finding_type=dns_deny&finding_type=l4_deny&finding_type=tls_deny&finding_type=icmp_deny".to_owned(), 0),
        ("?finding_type=dns_deny&finding_type=bad_request&source_group=WEB&source_group=apps&limit=100".to_owned(), 2),
        ("?source_group=apps".to_owned(), 0),
        (format!("?policy_id={policy}&policy_id=00000000-0000-0000-0000-000000000000"), 2),
        (format!("?since={}&until={}", now - 60, now - 40), 1),
        (format!("?since={}", now - 40), 1),
        ("?limit=1".to_owned(), 1),
        ("?policy_id=&finding_type=&source_group=&since=&until=&limit=".to_owned(), 2),
        ("/local?finding_type=BAD_REQUEST&limit=10000".to_owned(), 2),
    ] {
        findings(&bench, &query, items).await;
    }
}

#[tokio::test]
async fn further_filters_repeat_and_pages_follow_one_another() {
    let bench = bench();
    let now = now();
    send_findings(&bench, &[("a.test", 7, now), ("b.test", 9, now), ("c.test", 1, now - 5)]);
    let first = findings(&bench, "?limit=2", 2).await;
    assert_eq!(first["items"][0]["hostname"], "b.test", "the larger of the equally new");
    let next = first["next"].as_str().expect("more");
    let second = findings(&bench, &format!("?limit=2&cursor={next}"), 1).await;
    assert_eq!((&second["items"][0]["hostname"], &second["next"]), (&"c.test".into(), &Value::Null));
    for (query, items) in [
        ("?src_ip=192.0.2.1", 3),
        ("?src_ip=10.0.0.0/8", 0),
        ("?src_ip=10.0.0.0/8&src_ip=192.0.2.0/24", 3),
        ("?action=would_deny", 0),
        ("?action=would_deny&action=enforced", 3),
        ("?rule=obs_fold&rule=other", 3),
        ("?q=A.TE", 1),
        ("?q=a.te&q=b.te", 2),
        ("?scope=cluster", 3),
        ("?scope=local", 3),
        ("?scope=node:n1", 3),
    ] {
        findings(&bench, query, items).await;
    }
}

#[tokio::test]
async fn a_bad_parameter_of_findings_is_refused_by_name() {
    let bench = bench();
    for (query, code, field) in [
        ("policy_id=login", "bad_parameter", "policy_id"),
        ("finding_type=bad", "bad_parameter", "finding_type"),
        ("finding_type=bad_request&finding_type=bad", "bad_parameter", "finding_type"),
        ("src_ip=nine", "bad_parameter", "src_ip"),
        ("action=deny", "bad_parameter", "action"),
        ("since=yesterday", "bad_parameter", "since"),
        ("until=-1", "bad_parameter", "until"),
        ("limit=0", "bad_parameter", "limit"),
        ("limit=10001", "bad_parameter", "limit"),
        ("cursor=1.2", "bad_parameter", "cursor"),
        ("limit=1&limit=2", "repeated_key", "limit"),
        ("filter=1", "unknown_key", "filter"),
        ("scope=all", "bad_scope", "scope"),
    ] {
        let answer = get(bench.address, &format!("/api/v1/audit/findings?{query}")).await;
        let json = answer.json();
        assert_eq!((answer.status, answer.code().as_str(), &json["field"]), (400, code, &field.into()), "{query}");
        assert!(json["error"].is_string());
    }
    assert_eq!(get(bench.address, "/api/v1/audit/findings?scope=node:n2").await.status, 404);
    assert_eq!(get(bench.address, "/api/v1/audit/findings/local?scope=local").await.status, 400);
}

#[tokio::test]
async fn in_performance_mode_findings_are_neither_shown_nor_collected() {
    let bench = bench();
    let mode = async |enabled: bool| {
        let body = format!("{{\"enabled\":{enabled}}}");
        let length = body.len();
        let head = "PUT /api/v1/settings/performance-mode HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        send(bench.address, &format!("{head}Content-Length: {length}\r\n\r\n{body}")).await
    };
    assert_eq!(mode(false).await.status, 200);
    until(|| !bench.findings.is_wanted()).await;
    for target in ["/api/v1/audit/findings", "/api/v1/audit/findings/local"] {
        let answer = get(bench.address, target).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "PERFORMANCE_MODE_DISABLED"));
    }
    assert_eq!(mode(true).await.status, 200);
    until(|| bench.findings.is_wanted()).await;
    findings(&bench, "", 0).await;
}

async fn delete(address: SocketAddr, target: &str) -> Answer {
    send(address, &format!("DELETE {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn bans_are_made_changed_shown_and_ended() {
    let text = "[[ban]]\ncidr = \"198.51.100.0/24\"\nreason = \"ours\"\nexpires = 2100-01-01T00:00:00Z\n";
    let bench = start(&settings(), document(text)).expect("control starts");
    let made = post(bench.address, "/api/v1/bans", r#"{"cidr":"192.0.2.0/24","ttl":"1h","reason":"scans"}"#).await;
    let json = made.json();
    assert_eq!((made.status, &json["cidr"], &json["kept"]), (201, &"192.0.2.0/24".into(), &false.into()), "{json}");
    let again = post(bench.address, "/api/v1/bans", r#"{"cidr":"192.0.2.0/24"}"#).await;
    assert_eq!((again.status, &again.json()["expires"]), (200, &Value::Null));
    assert_eq!(post(bench.address, "/api/v1/bans", r#"{"cidr":"2001:db8::1","ttl":60}"#).await.status, 201);

    let all = get(bench.address, "/api/v1/bans").await.json();
    let rows: Vec<_> =
        all["bans"].as_array().expect("a list").iter().map(|ban| (&ban["cidr"], &ban["origin"])).collect();
    let expected = [("198.51.100.0/24", "document"), ("192.0.2.0/24", "api"), ("2001:db8::1/128", "api")];
    assert_eq!(
        rows,
        expected.map(|(cidr, origin)| (cidr.into(), origin.into())).each_ref().map(|(a, b): &(Value, Value)| (a, b))
    );
    assert_eq!(
        (&all["total"], &all["api"], &all["bans"][0]["expires"]),
        (&3.into(), &json!({ "cidrs": 2, "max": 65_536 }), &"2100-01-01T00:00:00Z".into())
    );
    let total = async |query: &str| get(bench.address, &format!("/api/v1/bans?{query}")).await.json()["total"].clone();
    for (query, count) in
        [("ip=192.0.2.77", 1), ("ip=198.51.100.1", 1), ("ip=8.8.8.8", 0), ("origin=api", 2), ("origin=document", 1)]
    {
        assert_eq!(total(query).await, count, "{query}");
    }
    let page = get(bench.address, "/api/v1/bans?offset=1&limit=1").await.json();
    assert_eq!((page["bans"].as_array().map(Vec::len), &page["bans"][0]["cidr"]), (Some(1), &"192.0.2.0/24".into()));

    assert_eq!(delete(bench.address, "/api/v1/bans?cidr=192.0.2.0/24").await.status, 200);
    let gone = delete(bench.address, "/api/v1/bans?cidr=192.0.2.0/24").await;
    assert_eq!((gone.status, gone.code().as_str()), (404, "not_found"));
    let document = delete(bench.address, "/api/v1/bans?cidr=198.51.100.0/24").await;
    assert_eq!((document.status, document.code().as_str()), (409, "in_document"));
    let metrics = get(bench.metrics, "/metrics").await.body;
    assert!(metrics.contains("weir_bans{origin=\"document\"} 1") && metrics.contains("weir_bans{origin=\"api\"} 1"));
}

#[tokio::test]
async fn a_bad_ban_is_refused_by_field() {
    let bench = bench();
    let long = format!(r#"{{"cidr":"192.0.2.1","reason":"{}"}}"#, "x".repeat(257));
    for (body, code, field) in [
        ("{}", "missing_key", "cidr"),
        (r#"{"cidr":7}"#, "bad_value", "cidr"),
        (r#"{"cidr":"nowhere"}"#, "bad_value", "cidr"),
        (r#"{"cidr":"192.0.2.5/24"}"#, "bad_value", "cidr"),
        (r#"{"cidr":"0.0.0.0/0"}"#, "bad_value", "cidr"),
        (r#"{"cidr":"::ffff:0:0/96"}"#, "bad_value", "cidr"),
        (r#"{"cidr":"192.0.2.1","ttl":"soon"}"#, "bad_value", "ttl"),
        (r#"{"cidr":"192.0.2.1","ttl":0}"#, "bad_value", "ttl"),
        (r#"{"cidr":"192.0.2.1","ttl":"366d"}"#, "bad_value", "ttl"),
        (r#"{"cidr":"192.0.2.1","reason":["x"]}"#, "bad_value", "reason"),
        (&long, "bad_value", "reason"),
        (r#"{"cidr":"192.0.2.1","until":1}"#, "unknown_key", "until"),
    ] {
        let answer = post(bench.address, "/api/v1/bans", body).await;
        let json = answer.json();
        assert_eq!((answer.status, answer.code().as_str(), &json["field"]), (400, code, &field.into()), "{body}");
    }
    assert_eq!(post(bench.address, "/api/v1/bans", "nonsense").await.code(), "bad_body");
    for (query, field) in [("ip=x", "ip"), ("origin=x", "origin"), ("limit=0", "limit"), ("offset=x", "offset")] {
        let answer = get(bench.address, &format!("/api/v1/bans?{query}")).await;
        assert_eq!((answer.status, &answer.json()["field"]), (400, &field.into()), "{query}");
    }
    assert_eq!(delete(bench.address, "/api/v1/bans").await.code(), "missing_key");
}

#[tokio::test]
async fn a_node_without_a_state_directory_says_what_it_does_not_keep() {
    let bench = bench();
    let ready = get(bench.address, "/ready").await.json();
    let warning = ready["warnings"].as_array().expect("a list").iter().find(|warning| warning["code"] == "STATE_DIR");
    assert!(
        warning.is_some_and(|warning| warning["hint"].as_str().is_some_and(|hint| hint.contains("a test"))),
        "{ready}"
    );
    assert_eq!(
        (&ready["ready"], &get(bench.address, "/api/v1/bans").await.json()["kept"]),
        (&true.into(), &false.into())
    );
}
