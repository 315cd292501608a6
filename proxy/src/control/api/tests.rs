//! The management API over real sockets.

mod denials;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::base::Reason;
use crate::base::metric::{self, Counters, Phase, RouteTable};
use crate::config::Document;
use crate::control::testing::{Remembering, clock, document, forwarding, until};
use crate::control::{Control, Facts, Process, Reports, Settings, Signal, StartError, Wiring};
use crate::kernel::Feeds;
use crate::policy::finding::Outlet;

use super::*;

/// A control plane on its own threads, with one worker that says it is well.
struct Bench {
    control: Option<Control>,
    facts: Arc<Facts>,
    counters: Arc<Counters>,
    routes: Arc<RouteTable>,
    address: SocketAddr,
    metrics: SocketAddr,
    findings: Arc<Outlet>,
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn settings() -> Settings {
    Settings {
        management: vec![loopback()],
        hosts: vec!["weir.example".to_owned()],
        metrics: Some(loopback()),
        node_id: "n1".to_owned(),
        upgrade_socket: None,
        command: crate::control::upgrade::Command { binary: "weir".into(), arguments: Vec::new() },
    }
}

fn start(settings: &Settings, document: Document) -> Result<Bench, StartError> {
    let facts = Arc::new(Facts::new(1));
    let counters = Arc::<Counters>::default();
    let routes = Arc::new(RouteTable::new(1, 20_000));
    facts.workers()[0].beat(clock() + Duration::from_secs(3_600));
    facts.publish(1, clock());
    facts.workers()[0].adopted(1);
    let findings = Arc::<Outlet>::default();
    let wiring = Wiring {
        facts: Arc::clone(&facts),
        clock,
        counters: [Arc::clone(&counters)].into(),
        routes: Arc::clone(&routes),
        rules: Arc::new(RuleTable::new(1)),
        reports: Reports::channel().1,
        state: Arc::new(crate::control::state::StateDir::none("a test")),
        findings: Arc::clone(&findings),
        flows: Arc::default(),
        home: None,
        fed: Feeds::channel().1,
        tls: Arc::default(),
        process: Arc::<Remembering>::default() as Arc<dyn Process>,
        taking: None,
    };
    let control = Control::start(settings, wiring, document)?;
    let (address, metrics) = (control.management()[0], control.metrics().unwrap_or_else(loopback));
    Ok(Bench { control: Some(control), facts, counters, routes, address, metrics, findings })
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            // A runtime cannot be ended from within another.
            let _ = std::thread::spawn(move || control.stop()).join();
        }
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends octets and reads to the end.
async fn send(address: SocketAddr, octets: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // A refusal may come before all was taken.
    let _ = stream.write_all(octets.as_bytes()).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    read.expect("an answer in time").ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

async fn get(address: SocketAddr, target: &str) -> Answer {
    send(address, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
}

async fn post(address: SocketAddr, target: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}");
    send(address, &format!("{head}\r\n\r\n{body}")).await
}

fn bench() -> Bench {
    start(&settings(), forwarding("http://192.0.2.1:8080", "")).expect("control starts")
}

#[tokio::test]
async fn health_is_the_process_alone() {
    let bench = bench();
    let answer = get(bench.address, "/health").await;
    let json = answer.json();
    assert_eq!((answer.status, &json["status"], &json["node_id"]), (200, &"ok".into(), &"n1".into()));
    assert!(json["uptime_s"].is_u64() && json["version"].is_string());
    assert!(answer.head.contains("cache-control: no-store") && answer.head.contains("x-content-type-options: nosniff"));
}

#[tokio::test]
async fn readiness_follows_the_facts_and_clears_itself() {
    let bench = bench();
    let ready = get(bench.address, "/ready").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()), "{}", ready.body);
    bench.facts.set_listeners(vec![crate::control::facts::ListenerFact {
        name: "web".into(),
        address: "127.0.0.1:80".into(),
        error: Some("in use".into()),
    }]);
    let mut answer = get(bench.address, "/ready").await;
    while answer.status == 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = get(bench.address, "/ready").await;
    }
    let json = answer.json();
    assert_eq!((answer.status, &json["root"]), (503, &"dataplane_config".into()));
    let check = &json["checks"][1];
    assert_eq!((&check["code"], &check["ok"]), (&"LISTENER_BIND_FAILED".into(), &false.into()));
    assert_eq!(get(bench.address, "/ready?gate=traffic").await.status, 503);
    assert_eq!(get(bench.address, "/ready?exclude=dataplane_config").await.status, 200);
    assert_eq!(get(bench.address, "/ready?exclude=draining&exclude=dataplane_config").await.status, 200);
    bench.facts.set_listeners(Vec::new());
    while get(bench.address, "/ready").await.status != 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn unknown_keys_checks_and_gates_are_refused_by_name() {
    let bench = bench();
    for (target, code, field) in [
        ("/health?x=1", "unknown_key", "x"),
        ("/ready?exclud=1", "unknown_key", "exclud"),
        ("/ready?exclude=nothing", "unknown_check", "exclude"),
        ("/ready?gate=all", "unknown_gate", "gate"),
        ("/ready?gate=traffic&gate=traffic", "repeated_key", "gate"),
        ("/api/v1/dns-cache?ip=nine", "bad_address", "ip"),
        ("/api/v1/routes?limit=-1", "bad_number", "limit"),
    ] {
        let answer = get(bench.address, target).await;
        let json = answer.json();
        assert_eq!((answer.status, answer.code().as_str(), &json["field"]), (400, code, &field.into()), "{target}");
        assert_eq!(json["request_id"].as_str().map(str::len), Some(36));
        assert!(json["error"].is_string());
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_in_json_too() {
    let bench = bench();
    let missing = get(bench.address, "/api/v1/nothing").await;
    assert_eq!((missing.status, missing.code().as_str()), (404, "not_found"));
    let method = post(bench.address, "/health", "").await;
    assert_eq!((method.status, method.code().as_str()), (405, "method_not_allowed"));
    assert!(method.head.contains("allow: get"), "{}", method.head);
}

#[tokio::test]
async fn a_host_of_another_site_is_not_answered() {
    let bench = bench();
    let ask = async |host: &str| {
        send(bench.address, &format!("GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await
    };
    for host in ["127.0.0.1:9900", "[::1]", "localhost:1", "weir.example"] {
        assert_eq!(ask(host).await.status, 200, "{host}");
    }
    for host in ["evil.example", "weir.example.evil.example"] {
        let answer = ask(host).await;
        assert_eq!((answer.status, answer.code().as_str()), (421, "host_not_served"), "{host}");
    }
    let none = send(bench.address, "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert_eq!(none.status, 421);
    let absolute = "GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(send(bench.address, absolute).await.status, 421);
}

#[tokio::test]
async fn heads_and_bodies_are_bounded() {
    let bench = bench();
    let long = format!("GET /health HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert_eq!(send(bench.address, &long).await.status, 431);
    let large = post(bench.address, "/api/v1/explain", &" ".repeat(2 * 1024 * 1024 + 1)).await;
    assert_eq!((large.status, large.code().as_str()), (413, "body_too_large"));
}

#[tokio::test]
async fn explain_passes_the_question_on_and_refuses_by_field() {
    let bench = bench();
    let question = r#"{"method":"GET","url":"http://a.test/","headers":{"X-A":"1","X-B":["2","3"]},"client":"::1"}"#;
    let answer = post(bench.address, "/api/v1/explain", question).await;
    assert_eq!((answer.status, &answer.json()["values"]), (200, &3.into()), "{}", answer.body);
    let unknown = post(bench.address, "/api/v1/explain", r#"{"method":"GET","url":"/","hots":1}"#).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (400, "bad_question"));
    let listener = post(bench.address, "/api/v1/explain", r#"{"method":"GET","url":"/","listener":"x"}"#).await;
    assert_eq!((listener.status, &listener.json()["field"]), (400, &"listener".into()));
    assert_eq!(post(bench.address, "/api/v1/explain", "nonsense").await.status, 400);
}

#[tokio::test]
async fn routes_come_in_the_order_they_are_asked_with_all_fields() {
    let more = "[[route]]\nid = 5\nname = \"late\"\nlistener = \"web\"\npath_prefix = \"/late\"\npriority = 200\n\
                action = \"redirect\"\nredirect = { mode = \"same_host_path\", target = \"/new\" }\n";
    let text = format!(
        "[[route]]\nid = 10\nname = \"app\"\nlistener = \"web\"\nhost = \"app.test\"\nslow_start = \"90s\"\n\
         [[route.target]]\nname = \"a\"\nurl = \"http://192.0.2.1:8080\"\n[[route.target]]\nname = \"s\"\n\
         priority_group = 1\nstatic = {{ status = 503, body = \"later\" }}\n{more}"
    );
    let bench = start(&settings(), document(&text)).expect("control starts");
    let list = get(bench.address, "/api/v1/routes").await.json();
    let names: Vec<_> =
        list["routes"].as_array().expect("a list").iter().filter_map(|route| route["name"].as_str()).collect();
    assert_eq!((names, &list["total"]), (vec!["app", "late"], &2.into()));
    let endpoint = &list["routes"][0]["target"][0]["status"]["endpoints"][0];
    assert_eq!((&endpoint["address"], &endpoint["state"]), (&"192.0.2.1:8080".into(), &"unknown".into()));
    let second = get(bench.address, "/api/v1/routes?offset=1&limit=1").await.json();
    assert_eq!(second["routes"][0]["name"], "late");

    let route = get(bench.address, "/api/v1/routes/app").await.json();
    let keys: HashSet<&str> = route.as_object().expect("an object").keys().map(String::as_str).collect();
    let info = <crate::config::raw::Route as crate::config::Table>::INFO;
    let missing: Vec<_> = info.keys.iter().map(|key| key.name).filter(|key| !keys.contains(key)).collect();
    assert!(missing.is_empty(), "keys that are not shown: {missing:?}");
    assert_eq!((&route["slow_start"], &route["priority"]), (&"90s".into(), &100.into()));
    assert_eq!(route["target"][1]["static"]["body"], "later");
    assert_eq!(get(bench.address, "/api/v1/routes/none").await.status, 404);
}

#[tokio::test]
async fn the_dns_cache_shows_names_and_who_uses_them() {
    let bench = start(&settings(), forwarding("http://app.invalid", "")).expect("control starts");
    let mut json = get(bench.address, "/api/v1/dns-cache").await.json();
    while json["entries"].as_array().is_none_or(Vec::is_empty) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        json = get(bench.address, "/api/v1/dns-cache").await.json();
    }
    assert_eq!(json["entries"][0]["hostname"], "app.invalid");
    assert_eq!(json["entries"][0]["used_by"][0], "app/a");
    let other = get(bench.address, "/api/v1/dns-cache?hostname=other.test").await.json();
    assert_eq!(
        (&other["entries"][0]["granted"], &other["entries"][0]["reason"]),
        (&false.into(), &"not_allowed".into())
    );
}

fn some_traffic(bench: &Bench) {
    let cells = bench.routes.generation(["app", "odd\"name"].into_iter());
    cells[0].slot(Some(0)).finished(200, Duration::from_micros(700));
    cells[0].slot(Some(1)).finished(502, Duration::from_millis(3));
    cells[0].slot(None).finished(404, Duration::from_micros(20));
    bench.counters.reason(Reason::Ok);
    bench.counters.reason(Reason::NoRoute);
    bench.counters.limit(metric::Limit::Body);
    bench.counters.stage(Phase::Wait, Duration::from_micros(100));
    bench.counters.connections.add(5);
    bench.counters.connections_active.add(2);
}

#[tokio::test]
async fn stats_are_small_and_hold_what_was_counted() {
    let bench = bench();
    some_traffic(&bench);
    let json = get(bench.address, "/api/v1/stats").await.json();
    assert_eq!(json["node_id"], "n1");
    assert_eq!((&json["http"]["requests"], &json["http"]["status"]["2xx"]), (&3.into(), &1.into()));
    assert_eq!(json["http"]["reasons"], serde_json::json!({ "ok": 1, "no_route": 1 }));
    assert_eq!((&json["dataplane"]["active_flows"], &json["dataplane"]["flows_closed"]), (&2.into(), &3.into()));
    assert!(json["lost"]["outlier"].is_u64() && json["dns"]["queries_deny"].is_u64());
}

#[test]
fn latency_looks_a_minute_back() {
    let (window, routes) = (Window::default(), RouteTable::new(1, 20_000));
    let cells = routes.generation(["a"].into_iter());
    let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
    cells[0].slot(Some(0)).finished(200, Duration::from_secs(9));
    (0..=12).for_each(|step| window.remember(at(step * 5), routes.latency()));
    cells[0].slot(Some(0)).finished(200, Duration::from_millis(1));
    window.remember(at(65), routes.latency());
    let p50 = window.since(&routes.latency()).quantile_us(0.5).expect("one request");
    assert!((875..1_125).contains(&p50), "{p50}");
}

#[tokio::test]
async fn metrics_are_the_table_in_valid_text_format() {
    let bench = bench();
    some_traffic(&bench);
    let answer = get(bench.metrics, "/metrics").await;
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"));
    let names: Vec<&str> =
        answer.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(names, metric::ALL.iter().map(|metric| metric.name).collect::<Vec<_>>());
    for sample in [
        "weir_requests_total{route=\"app\",class=\"2xx\"} 1",
        "weir_requests_total{route=\"odd\\\"name\",class=\"5xx\"} 1",
        "weir_requests_total{route=\"_none\",class=\"4xx\"} 1",
        "weir_reasons_total{reason=\"no_route\"} 1",
        "weir_limit_hits_total{limit=\"body_max\"} 1",
        "weir_request_seconds_bucket{route=\"app\",le=\"0.000512\"} 0",
        "weir_request_seconds_bucket{route=\"app\",le=\"0.001024\"} 1",
        "weir_request_seconds_bucket{route=\"app\",le=\"+Inf\"} 1",
        "weir_request_seconds_sum{route=\"app\"} 0.000700",
        "weir_stage_seconds_count{stage=\"wait\"} 1",
        "weir_connections_active 2",
        "weir_config_revision{kind=\"desired\"} 1",
        "weir_endpoints{state=\"unknown\"} 1",
    ] {
        assert!(answer.body.lines().any(|line| line == sample), "no {sample} in\n{}", answer.body);
    }
    assert_valid(&answer.body);
}

/// What promtool checks of the format: heads before samples, samples together, no sample twice, numbers.
fn assert_valid(text: &str) {
    let (mut current, mut seen, mut heads) = (String::new(), HashSet::new(), HashSet::new());
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# HELP ") {
            current = head.split(' ').next().unwrap_or_default().to_owned();
            assert!(heads.insert(current.clone()), "{current} has two heads");
        } else if !line.starts_with('#') {
            let (sample, value) = line.rsplit_once(' ').expect("a sample and a value");
            let name = sample.split('{').next().unwrap_or_default();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            assert!(name == current || family == Some(current.as_str()), "{name} under {current}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(sample.to_owned()), "{sample} twice");
        }
    }
}

#[tokio::test]
async fn the_metrics_listener_answers_nothing_else() {
    let bench = bench();
    for (target, status) in [("/health", 200), ("/ready", 200), ("/metrics", 200), ("/api/v1/stats", 404)] {
        assert_eq!(get(bench.metrics, target).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn beyond_most_connections_only_the_reserved_resources_answer() {
    let bench = bench();
    let mut held = Vec::new();
    for _ in 0..112 {
        held.push(TcpStream::connect(bench.address).await.expect("a connection"));
    }
    // The connections are counted as they are accepted, which is soon after they are made.
    let mut routes = get(bench.address, "/api/v1/routes").await;
    while routes.status == 200 {
        routes = get(bench.address, "/api/v1/routes").await;
    }
    assert_eq!((routes.status, routes.code().as_str()), (503, "too_many_connections"));
    for target in ["/health", "/ready", "/metrics", "/api/v1/stats"] {
        assert_eq!(get(bench.address, target).await.status, 200, "{target}");
    }
}

#[test]
fn an_address_off_loopback_is_refused() {
    let open = Settings { management: vec![SocketAddr::from(([0, 0, 0, 0], 0))], ..settings() };
    assert!(matches!(start(&open, document("")), Err(StartError::NotLoopback(_))));
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("bound");
    let occupied = Settings { management: vec![taken], ..settings() };
    assert!(matches!(start(&occupied, document("")), Err(StartError::Bind(address, _)) if address == taken));
}

#[tokio::test]
async fn a_stop_makes_it_not_ready() {
    let bench = bench();
    bench.control.as_ref().expect("running").signal(Signal::Stop);
    until(|| bench.facts.draining()).await;
    while get(bench.address, "/ready").await.status == 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(get(bench.address, "/ready").await.json()["root"], "draining");
}
