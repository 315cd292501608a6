//! CONNECT: tunnels to what a listener lists, and to nothing else.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use weir_tests::dir::Dir;
use weir_tests::h2::Peer;
use weir_tests::script::Conn;
use weir_tests::weir::command;
use weir_tests::{Client, Config, Ended, NameServer, Origin, Says, Weir, wait};

/// Answers each five octets with the same in capitals, until the client has no more; then says `bye`.
fn shout(mut conn: Conn) {
    while let Some(heard) = conn.take(5) {
        if !conn.send(heard.to_ascii_uppercase()) {
            return;
        }
    }
    conn.send("bye");
}

fn shouting() -> Origin {
    Origin::scripted(|conn, _| shout(conn))
}

fn allowing(destinations: &[&str]) -> Config {
    let list: Vec<_> = destinations.iter().map(|one| format!("\"{one}\"")).collect();
    Config::new().listener(&format!("connect_allow = [{}]", list.join(", ")))
}

fn ask(destination: &str) -> Vec<u8> {
    format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\n\r\n").into_bytes()
}

/// A tunnel, if it is opened.
fn try_tunnel(weir: &Weir, destination: &str) -> Option<Client> {
    let mut client = weir.client();
    client.write(ask(destination));
    (client.head().status == 200).then_some(client)
}

/// A tunnel that has been opened.
#[track_caller]
fn tunnel(weir: &Weir, destination: &str) -> Client {
    try_tunnel(weir, destination).expect("a tunnel")
}

fn says(client: &mut Client, word: &str) {
    client.write(word);
    assert_eq!(String::from_utf8_lossy(&client.take(word.len())), word.to_uppercase());
}

/// The answer to a CONNECT that is refused, after which the connection ends.
#[track_caller]
fn refused(weir: &Weir, request: impl AsRef<[u8]>, status: u16, reason: &str) {
    let mut client = weir.client();
    client.write(request);
    let response = client.response();
    assert_eq!(response.status, status, "{}", response.text());
    assert!(response.text().contains(reason), "{}", response.text());
    assert_eq!(client.ended(), Ended::Closed);
}

#[test]
fn a_listed_destination_gets_a_tunnel_both_ways() {
    let origin = shouting();
    let destination = origin.address().to_string();
    let weir = allowing(&[&destination]).start();
    let mut client = weir.client();
    client.write(ask(&destination));
    let head = client.head();
    assert_eq!((head.status, head.version.as_str()), (200, "HTTP/1.1"));
    // RFC 9110 section 9.3.6.
    assert!(head.fields.first("content-length").is_none() && head.fields.first("transfer-encoding").is_none());
    assert!(head.fields.first("connection").is_none() && head.fields.first("x-request-id").is_some());
    says(&mut client, "hello");
    says(&mut client, "again");
    client.half_close();
    assert_eq!(client.take(3), b"bye");
    assert_eq!(client.ended(), Ended::Closed);
    assert_eq!(origin.octets(), 10, "nothing but the tunnel's octets");
    let line = weir.wait_log("the tunnel", |line| line["method"] == "CONNECT");
    assert_eq!(
        (&line["status"], &line["reason"], &line["body_out"]),
        (&200.into(), &"ok".into(), &13.into()),
        "{line}"
    );
    assert_eq!((&line["path"], &line["endpoint"]), (&destination.as_str().into(), &destination.as_str().into()));
    assert_eq!((&line["host"], &line["route"]), (&"127.0.0.1".into(), &serde_json::Value::Null));
}

#[test]
fn octets_behind_the_head_are_the_tunnels_first() {
    let origin = shouting();
    let destination = origin.address().to_string();
    let weir = allowing(&[&destination]).start();
    let all = [ask(&destination), b"hello".to_vec()].concat();
    for cut in [all.len(), all.len() - 5, all.len() - 3, 1] {
        let mut client = weir.client();
        client.write_split(&all, cut);
        assert_eq!(client.head().status, 200);
        assert_eq!(client.take(5), b"HELLO", "cut at {cut}");
    }
}

#[test]
fn what_is_not_listed_is_refused_and_not_dialled() {
    let origin = shouting();
    let address = origin.address();
    let other = format!("127.0.0.2:{}", address.port());
    let weir = allowing(&[&other, "db.test:5432"]).start();
    for destination in [address.to_string(), "db.test:5433".into(), "x.db.test:5432".into(), "127.0.0.2:1".into()] {
        refused(&weir, ask(&destination), 405, "method_not_allowed");
    }
    // What follows is not read as a request of its own.
    let smuggled = [ask(&address.to_string()), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()].concat();
    refused(&weir, smuggled, 405, "method_not_allowed");
    refused(&weir, "CONNECT db.test HTTP/1.1\r\nHost: db.test\r\n\r\n", 400, "invalid_request_target");
    refused(&weir, "CONNECT db.test:5432 HTTP/1.1\r\nHost: other.test\r\n\r\n", 400, "host_mismatch");
    let body = "CONNECT db.test:5432 HTTP/1.1\r\nHost: db.test\r\nContent-Length: 1\r\n\r\nx";
    refused(&weir, body, 400, "connect_with_body");
    assert_eq!(origin.accepted(), 0);
    // A listener without a list takes no CONNECT at all.
    let plain = Config::new().start();
    refused(&plain, ask(&address.to_string()), 405, "method_not_allowed");
}

#[test]
fn a_listeners_hostnames_and_routes_do_not_concern_it() {
    let (origin, routed) = (shouting(), Origin::ok("routed"));
    let destination = origin.address().to_string();
    let weir = allowing(&[&destination])
        .listener("hostnames = [\"a.test\"]")
        .route(1, "path_prefix = \"/\"", &[&routed.url()])
        .start();
    says(&mut tunnel(&weir, &destination), "hello");
    assert_eq!(weir.get("/").status, 421);
    assert_eq!(routed.requests().len(), 0);
}

fn resolving(names: &NameServer, destinations: &[&str]) -> Config {
    let resolver = format!("[resolver]\nservers = [\"{}\"]\ntimeout = \"500ms\"", names.address());
    allowing(destinations).tables(&resolver)
}

#[test]
fn names_are_resolved_and_followed() {
    let (origin, names) = (shouting(), NameServer::start());
    let port = origin.address().port();
    names.point("db.test", [127, 0, 0, 1]);
    names.point("gone.test", [169, 254, 169, 254]);
    let (db, gone, none) = (format!("db.test:{port}"), format!("gone.test:{port}"), format!("none.test:{port}"));
    let weir = resolving(&names, &[&db, &gone, &none]).start();
    wait::until("the first answer", || try_tunnel(&weir, &db).is_some());
    says(&mut tunnel(&weir, &db), "hello");
    let mut spelled = weir.client();
    spelled.write(format!("CONNECT DB.Test.:{port} HTTP/1.1\r\nHost: DB.Test.\r\n\r\n"));
    assert_eq!(spelled.head().status, 200);
    refused(&weir, ask(&none), 502, "upstream_dns_failed");
    refused(&weir, ask(&gone), 502, "upstream_dns_failed");
    let entry = &weir.api("/api/v1/dns-cache?hostname=gone.test")["entries"][0];
    assert_eq!(entry["granted"], false, "{entry}");
    // The name moves, and so do tunnels that begin then.
    let moved = wait::value("a listener at the other address", || TcpListener::bind(("127.0.0.2", port)).ok());
    let moved = Origin::listening(moved, |conn, _| shout(conn));
    names.point("db.test", [127, 0, 0, 2]);
    wait::until("the tunnel to move", || {
        says(&mut tunnel(&weir, &db), "hello");
        moved.accepted() > 0
    });
}

#[test]
fn any_address_of_a_name_will_do() {
    let (origin, names) = (shouting(), NameServer::start());
    let port = origin.address().port();
    // Nobody listens at the other addresses.
    names
        .say("db.test", Says::Addresses(vec![[127, 0, 0, 3].into(), [127, 0, 0, 1].into(), [127, 0, 0, 4].into()], 60));
    let db = format!("db.test:{port}");
    let weir = resolving(&names, &[&db]).start();
    wait::until("the first answer", || try_tunnel(&weir, &db).is_some());
    for _ in 0..12 {
        says(&mut tunnel(&weir, &db), "hello");
    }
}

#[test]
fn a_destination_that_refuses_or_does_not_answer_is_told() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address").to_string();
    // A listener whose backlog is full drops SYNs.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    socket.listen(0).expect("listen");
    let full = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    let _fill: Vec<_> =
        (0..8).map_while(|_| TcpStream::connect_timeout(&full, Duration::from_millis(200)).ok()).collect();
    let weir = allowing(&[&closed, &full.to_string()]).tables("[timeouts]\nconnect = \"300ms\"").start();
    refused(&weir, ask(&closed), 502, "upstream_connect_refused");
    refused(&weir, ask(&full.to_string()), 504, "upstream_connect_timeout");
    let json = format!("CONNECT {closed} HTTP/1.1\r\nHost: {closed}\r\nAccept: application/json\r\n\r\n");
    let mut client = weir.client();
    assert_eq!(client.exchange(json).json()["reason"], "upstream_connect_refused");
}

#[test]
fn policies_come_first() {
    let origin = shouting();
    let destination = origin.address().to_string();
    let limit = "[[rate_limit]]\nname = \"few\"\nlimit = 1\nwindow = \"1h\"\nmatch = { method = \"CONNECT\" }\n\
                 [[ban]]\ncidr = \"203.0.113.0/24\"\nreason = \"test\"\n[[client.proxy]]\ncidrs = [\"127.0.0.9\"]";
    let weir = allowing(&[&destination]).tables(limit).start();
    let head = format!("CONNECT {destination} HTTP/1.1\r\nHost: {destination}\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n");
    let mut banned = Client::connect_from("127.0.0.9", weir.web());
    assert_eq!(banned.exchange(head).status, 403);
    let mut first = weir.client();
    first.write(ask(&destination));
    let head = first.head();
    assert!(head.status == 200 && head.fields.first("ratelimit").is_some(), "{head:?}");
    refused(&weir, ask(&destination), 429, "Rate limit exceeded");
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_silent_tunnel_ends() {
    let origin = shouting();
    let destination = origin.address().to_string();
    let weir = allowing(&[&destination]).listener("[listener.timeouts]\ntunnel = \"400ms\"").start();
    let mut client = tunnel(&weir, &destination);
    for _ in 0..4 {
        assert!(client.silent_for(Duration::from_millis(200)));
        says(&mut client, "hello");
    }
    let start = std::time::Instant::now();
    client.drain();
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(5));
    weir.wait_reason("tunnel_idle", 1);
    wait::until("the other end to end", || origin.open() == 0);
}

#[test]
fn either_end_may_go_first() {
    let origin = Origin::scripted(|mut conn, number| match number {
        0 => {
            conn.send("first");
            conn.half_close();
            assert_eq!(conn.take(4).as_deref(), Some(&b"late"[..]));
        }
        _ => conn.reset(),
    });
    let destination = origin.address().to_string();
    let weir = allowing(&[&destination]).start();
    let mut client = tunnel(&weir, &destination);
    assert_eq!(client.take(5), b"first");
    assert_eq!(client.ended(), Ended::Closed);
    client.write("late");
    client.half_close();
    wait::until("the whole end", || origin.open() == 0);
    let mut cut = weir.client();
    cut.write(ask(&destination));
    cut.drain();
    wait::until("no tunnel left", || weir.metrics().sum("weir_connections_active", &[]) == 0.0);
}

#[test]
fn a_stream_of_http2_may_be_a_tunnel() {
    let origin = shouting();
    let destination = origin.address().to_string();
    let weir = allowing(&[&destination]).listener("h2c = true").start();
    let mut peer = Peer::connect(weir.web());
    peer.greet(&[]);
    let stream = peer.open(&[(":method", "CONNECT"), (":authority", &destination)], false);
    let head = peer.head(stream);
    assert_eq!(head.fields.first(":status"), Some("200"));
    assert!(!head.ended && head.fields.first("content-length").is_none(), "{head:?}");
    assert!(peer.send_body(stream, b"hello", false));
    peer.until("the answer", |peer, _| peer.message(stream).body == b"HELLO");
    // Beside it, one that is not listed is refused, and the connection lives on.
    let other = peer.open(&[(":method", "CONNECT"), (":authority", "127.0.0.1:1")], false);
    assert_eq!(peer.head(other).fields.first(":status"), Some("405"));
    assert!(peer.send_body(stream, b"again", true));
    let whole = peer.response(stream);
    assert_eq!((whole.body.as_slice(), whole.reset), (&b"HELLOAGAINbye"[..], None));
    peer.ping();
    let line = weir.wait_log("the tunnel", |line| line["method"] == "CONNECT" && line["status"] == 200);
    assert_eq!((&line["reason"], &line["path"]), (&"ok".into(), &destination.as_str().into()), "{line}");
    wait::until("the other end to end", || origin.open() == 0);
}

#[test]
fn a_reload_changes_the_list_and_cuts_no_tunnel() {
    let origin = shouting();
    let destination = origin.address().to_string();
    let mut weir = Config::new().tables(&format!("# {destination}")).start();
    refused(&weir, ask(&destination), 405, "method_not_allowed");
    weir.reload(|config| config.listener(&format!("connect_allow = [\"{destination}\"]")));
    let mut client = wait::value("a tunnel", || try_tunnel(&weir, &destination));
    let text = weir.text().replace(&format!("connect_allow = [\"{destination}\"]"), "");
    weir.reload_text(&text);
    wait::until("the third generation", || weir.generation() == 3);
    refused(&weir, ask(&destination), 405, "method_not_allowed");
    says(&mut client, "hello");
}

#[test]
fn a_drain_waits_for_tunnels_and_cuts_them_at_its_end() {
    let origin = shouting();
    let destination = origin.address().to_string();
    let mut weir = allowing(&[&destination]).tables("[drain]\ntimeout = \"1s\"").start();
    let mut client = tunnel(&weir, &destination);
    weir.signal(rustix::process::Signal::TERM);
    wait::until("the drain begins", || !weir.is_ready());
    says(&mut client, "hello");
    client.drain();
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
}

#[test]
fn explain_says_where_a_tunnel_would_lead() {
    let origin = shouting();
    let destination = origin.address().to_string();
    let weir = allowing(&[&destination]).start();
    let explain = |url: &str| {
        let question = format!("{{\"method\": \"CONNECT\", \"url\": \"{url}\"}}");
        let fields = [("Host", "localhost"), ("Content-Type", "application/json")];
        weir_tests::request(weir.management(), "POST", "/api/v1/explain", &fields, question.as_bytes()).json()
    };
    let answer = explain(&destination);
    assert_eq!(answer["connect"]["addresses"][0], "127.0.0.1", "{answer}");
    assert_eq!(answer["connect"]["port"], origin.address().port(), "{answer}");
    assert_eq!(explain("127.0.0.1:1")["fault"]["reason"], "method_not_allowed");
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn a_bad_destination_is_a_problem_of_the_document() {
    let dir = Dir::new();
    for bad in ["\"db.test\"", "\"db.test:0\"", "\"*.test:1\"", "\"http://db.test:1\"", "1"] {
        let text = format!(
            "version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\nconnect_allow = [\"a.test:1\", {bad}]\n"
        );
        let path = dir.write("weir.toml", text).to_string_lossy().into_owned();
        let exit = command(&["check", "--config", &path]);
        assert_eq!(exit.code, Some(1), "{bad}: {}", exit.stderr);
        let said = exit.stderr + &exit.stdout;
        assert!(said.contains("weir.toml:5") && said.contains("connect_allow"), "{bad}: {said}");
    }
}
