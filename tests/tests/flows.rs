//! Flows, the wiretap and performance mode on the real binary. Nothing here needs a capability: where the flow programs
//! are not attached, TCP_INFO tells the same.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::{Value, json};
use weir_tests::dir::Dir;
use weir_tests::exchange::{bytes, get, request};
use weir_tests::origin::ok;
use weir_tests::wait::{self, SOON};
use weir_tests::{Client, Config, Origin, Weir};

const FLOWS: &str = "/api/v1/flows";
const STREAM: &str = "/api/v1/wiretap/stream";
const MODE: &str = "/api/v1/settings/performance-mode";

/// A reader of the wiretap.
struct Tap(BufReader<TcpStream>);

/// One event: its kind, its id, its data.
#[derive(Debug)]
struct Event {
    kind: String,
    id: Option<String>,
    data: Value,
}

impl Tap {
    /// Asks for the stream. Without chunks, which HTTP/1.0 does not know, its lines are the events'.
    #[track_caller]
    fn open(weir: &Weir, query: &str, fields: &str) -> Self {
        let mut stream = TcpStream::connect(weir.management()).expect("a connection");
        stream.set_read_timeout(Some(SOON * 2)).expect("a timeout");
        write!(stream, "GET {STREAM}?{query} HTTP/1.0\r\nHost: localhost\r\n{fields}\r\n").expect("sent");
        let mut tap = Self(BufReader::new(stream));
        let head: Vec<String> = std::iter::from_fn(|| tap.line().filter(|line| !line.is_empty())).collect();
        assert!(head[0].contains(" 200 "), "{head:?}");
        assert!(head.iter().any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream")), "{head:?}");
        let status = tap.next().expect("the node's status");
        assert_eq!((status.kind.as_str(), &status.data["node_id"]), ("node_status", &weir.api("/health")["node_id"]));
        tap
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("a line in time");
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event; none at the end of the stream.
    fn next(&mut self) -> Option<Event> {
        let mut event = Event { kind: String::new(), id: None, data: Value::Null };
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("event", kind)) => event.kind = kind.to_owned(),
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("data", data)) => event.data = serde_json::from_str(data).expect("JSON"),
                _ if line.is_empty() => return Some(event),
                _ => panic!("not an event's line: {line:?}"),
            }
        }
    }

    /// The next event of this kind whose data are as said.
    #[track_caller]
    fn wait(&mut self, kind: &str, holds: impl Fn(&Value) -> bool) -> Event {
        let deadline = Instant::now() + SOON;
        loop {
            assert!(Instant::now() < deadline, "no such {kind} in time");
            let event = self.next().unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if event.kind == kind && holds(&event.data) {
                return event;
            }
        }
    }
}

/// Flows that a query lists.
#[track_caller]
fn flows(weir: &Weir, query: &str) -> Vec<Value> {
    weir.api(&format!("{FLOWS}?{query}"))["flows"].as_array().expect("a list").clone()
}

/// Waits for exactly one flow that a query lists.
#[track_caller]
fn one(weir: &Weir, query: &str) -> Value {
    wait::value(&format!("one flow of {query}"), || <[Value; 1]>::try_from(flows(weir, query)).ok().map(|[flow]| flow))
}

fn port(client: &Client) -> u16 {
    client.stream().local_addr().expect("an address").port()
}

/// Waits until a flow of a query is closed as said.
#[track_caller]
fn closes(weir: &Weir, query: &str, by: &str, how: &str) -> Value {
    let closed = one(weir, &format!("state=closed&{query}"));
    assert_eq!(closed["close"], json!({ "by": by, "how": how }), "{closed}");
    closed
}

fn put_mode(management: SocketAddr, body: &str) -> (u16, Value) {
    let response = request(management, "PUT", MODE, &[("Host", "localhost")], body.as_bytes());
    (response.status, response.json())
}

#[test]
fn both_connections_of_a_request_are_listed_with_who_dialled_whom() {
    let origin = Origin::ok("hello");
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    assert_eq!(client.exchange(bytes("GET", "/", &[], b"")).status, 200);
    let accepted = one(&weir, &format!("state=open&src_port={}", port(&client)));
    for (key, value) in [
        ("side", json!("client")),
        ("dst_ip", json!("127.0.0.1")),
        ("dst_port", json!(weir.web().port())),
        ("listener", json!("web")),
        ("verdict", json!("allow")),
        ("proto_number", json!(6)),
        ("close", Value::Null),
    ] {
        assert_eq!(accepted[key], value, "{key}");
    }
    let dialled = one(&weir, &format!("state=open&dst_port={}", origin.address().port()));
    assert_eq!((&dialled["side"], &dialled["hostname"]), (&json!("upstream"), &json!("127.0.0.1")));
    assert_ne!(dialled["flow_id"], accepted["flow_id"]);
    assert_eq!(flows(&weir, &format!("hostname=%5E127&not_dst_port={}", origin.address().port())).len(), 0);
    let metrics = weir.metrics();
    wait::until("both in the metrics", || weir.metrics().sum("weir_flows", &["state=\"open\""]) == 2.0);
    assert_eq!(metrics.sum("weir_lost_total", &["queue=\"flow\""]), 0.0);
}

#[test]
fn a_closed_flow_keeps_who_closed_it_and_what_tcp_counted() {
    let origin = Origin::scripted(|mut conn, _| {
        conn.request();
        conn.send(ok("x"));
    });
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    let by_client = format!("src_port={}", port(&client));
    assert_eq!(client.exchange(bytes("GET", "/", &[], b"")).status, 200);
    drop(client);
    let closed = closes(&weir, &by_client, "client", "fin");
    let kernel = &closed["kernel"];
    assert!(["tcp_info", "ebpf"].contains(&kernel["source"].as_str().expect("a source")), "{kernel}");
    assert!(kernel["wire_in"].as_u64() > Some(20) && kernel["wire_out"].as_u64() > Some(20), "{kernel}");
    assert!(kernel["srtt_us"].is_u64() && kernel["retrans_total"] == 0, "{kernel}");
    assert!(closed["packets_in"].as_u64() >= Some(3) && closed["packets_out"].as_u64() >= Some(2), "{closed}");
    closes(&weir, &format!("dst_port={}", origin.address().port()), "upstream", "fin");
    wait::until("packets in stats", || weir.api("/api/v1/stats")["dataplane"]["packets"]["allow"].as_u64() >= Some(8));
}

#[test]
fn resets_and_closes_of_weir_are_told_apart() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).start();
    let client = weir.client();
    let query = format!("src_port={}", port(&client));
    one(&weir, &format!("state=open&{query}"));
    client.reset();
    closes(&weir, &query, "client", "rst");
    let mut client = weir.client();
    let query = format!("src_port={}", port(&client));
    client.write(bytes("GET", "/", &[("Connection", "close")], b""));
    client.response();
    client.ended();
    drop(client);
    closes(&weir, &query, "weir", "fin");
}

#[test]
fn a_refused_connection_is_a_denied_flow_live_and_listed() {
    let weir = Config::forwarding(Origin::ok("x").url()).tables("[limits]\nconnections_max = 1").start();
    let mut tap = Tap::open(&weir, "src_cidr=127.0.0.1&proto=tcp", "");
    let first = weir.client();
    one(&weir, &format!("state=open&src_port={}", port(&first)));
    // The reset may come before the connect is told that it is done.
    let second = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    second.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("an address");
    let from = second.local_addr().ok().and_then(|own| own.as_socket()).map_or(0, |own| own.port());
    let _ = second.connect(&weir.web().into());
    let end = tap.wait("flow_end", |flow| flow["src_port"] == from);
    assert_eq!((&end.data["verdict"], &end.data["reason"]), (&json!("deny"), &json!("connection_limit")));
    let closed = closes(&weir, &format!("src_port={from}"), "weir", "rst");
    assert_eq!((&closed["verdict"], &closed["trace_id"]), (&json!("deny"), &Value::Null));
}

#[test]
fn the_wiretap_follows_a_flow_from_its_first_packet_to_its_last() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).tables("[node]\nid = \"n1\"").start();
    let mut client = weir.client();
    let from = port(&client);
    let mut tap = Tap::open(&weir, &format!("src_port={from}"), "");
    let mut other = weir.client();
    other.exchange(bytes("GET", "/other", &[], b""));
    client.exchange(bytes("GET", "/", &[("Host", "Shop.example")], b""));
    let flow = tap.wait("flow", |flow| flow["reason"] == "ok");
    assert_eq!((&flow.data["src_port"], &flow.data["hostname"]), (&json!(from), &json!("shop.example")));
    assert_eq!(flow.data["trace_id"].as_str().map(str::len), Some(32), "{:?}", flow.data);
    let id = flow.id.expect("an id");
    assert!(id.strip_prefix("n1:").is_some_and(|number| number.parse::<u64>().is_ok()), "{id}");
    client.exchange(bytes("GET", "/", &[("Host", "shop.example")], b""));
    // It is told again because packets moved; their number starts anew if they are counted from now on.
    let flow = tap.wait("flow", |_| true);
    assert!(flow.data["src_port"] == from && flow.data["packets_in"].as_u64() >= Some(1), "{:?}", flow.data);
    drop(client);
    let end = tap.wait("flow_end", |_| true);
    assert_eq!((&end.data["src_port"], &end.data["close"]), (&json!(from), &json!({ "by": "client", "how": "fin" })));
    assert!(end.data["srtt_us"].is_u64(), "{:?}", end.data);
    // What a reader missed while it was away is there when it comes back within ten seconds.
    drop(tap);
    let mut again = Tap::open(&weir, &format!("src_port={from}"), &format!("Last-Event-ID: {id}\r\n"));
    again.wait("flow_end", |flow| flow["src_port"] == from);
    let mut lost = Tap::open(&weir, "", "Last-Event-ID: n1:1\r\n");
    assert_eq!(lost.next().map(|event| event.kind).as_deref(), Some("resync"));
}

#[test]
fn a_quiet_stream_beats_and_ends_with_weir() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).start();
    let mut tap = Tap::open(&weir, "not_proto=tcp", "");
    weir.get("/");
    // The flow programs may be attached meanwhile.
    let beat = std::iter::from_fn(|| tap.next()).find(|event| event.kind != "node_status").expect("a heartbeat");
    assert_eq!(beat.kind, "heartbeat", "{beat:?}");
    weir.stop();
    while tap.next().is_some() {}
}

#[test]
fn an_unknown_key_or_a_bad_value_is_refused_by_name() {
    let weir = Config::forwarding(Origin::ok("x").url()).start();
    for path in [FLOWS, STREAM] {
        for (query, field) in [
            ("colour=red", "colour"),
            ("src_cidr=10.0.0.0/40", "src_cidr"),
            ("not_hostname=(", "not_hostname"),
            ("dst_port=1&dst_port=70000", "dst_port"),
            ("proto=quic", "proto"),
            ("scope=node:elsewhere", "scope"),
        ] {
            let refused = request(weir.management(), "GET", &format!("{path}?{query}"), &[("Host", "localhost")], b"");
            assert_eq!((refused.status, &refused.json()["field"]), (400, &json!(field)), "{path}?{query}");
        }
    }
    for (path, query) in
        [(FLOWS, "state=half"), (FLOWS, "limit=0"), (FLOWS, "cursor=x"), (STREAM, "sample=0"), (STREAM, "sample=2")]
    {
        let refused = request(weir.management(), "GET", &format!("{path}?{query}"), &[("Host", "localhost")], b"");
        let field = query.split_once('=').map(|(key, _)| key);
        assert_eq!((refused.status, refused.json()["field"].as_str()), (400, field), "{path}?{query}");
    }
}

#[test]
fn performance_mode_switches_observation_off_and_on_and_outlives_the_process() {
    let state = Dir::new();
    let origin = Origin::ok("x");
    let config = || {
        let node = format!("[node]\nid = \"n1\"\nstate_dir = \"{}\"", state.path().display());
        Config::forwarding(origin.url()).tables(&node)
    };
    let weir = config().start();
    assert_eq!(weir.api(MODE), json!({ "enabled": true, "source": null }));
    let mut tap = Tap::open(&weir, "", "");
    weir.get("/");
    tap.wait("flow", |_| true);
    assert_eq!(
        put_mode(weir.management(), r#"{"enabled":false}"#),
        (200, json!({ "enabled": false, "source": "local" }))
    );
    while tap.next().is_some() {}
    let refuses = |weir: &Weir| {
        [FLOWS, STREAM, "/api/v1/audit/findings"].map(|path| {
            let refused = request(weir.management(), "GET", path, &[("Host", "localhost")], b"");
            (refused.status, refused.json()["code"].clone())
        })
    };
    let off = || (503, json!("PERFORMANCE_MODE_DISABLED"));
    assert_eq!(refuses(&weir), [off(), off(), off()]);
    assert_eq!(weir.get("/").status, 200);
    weir.stop();
    let weir = config().start();
    assert_eq!(refuses(&weir), [off(), off(), off()]);
    for bad in ["", "{}", r#"{"enabled":1}"#, r#"{"enabled":true,"x":1}"#] {
        assert_eq!(put_mode(weir.management(), bad).0, 400, "{bad:?}");
    }
    assert_eq!(put_mode(weir.management(), r#"{"enabled":true}"#).0, 200);
    let mut tap = Tap::open(&weir, "", "");
    // Workers hear of it within a turn of control's; a connection before that is not shown.
    wait::until("a flow is shown", || {
        get(weir.web(), "/");
        !flows(&weir, "").is_empty()
    });
    tap.wait("flow", |_| true);
}
