//! PROXY headers to upstreams: one connection for each client's, which begins with who that is and ends with it.

use std::io::{Read, Write};
use std::net::SocketAddrV4;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weir_tests::dir::Dir;
use weir_tests::exchange::bytes;
use weir_tests::h2::{self, Peer};
use weir_tests::origin::ok;
use weir_tests::proxied::{read_v2, v1};
use weir_tests::script::Conn;
use weir_tests::weir::command;
use weir_tests::{Client, Config, Origin, Weir, wait};

/// The header that a connection begins with, whole.
fn header(conn: &mut Conn) -> Option<Vec<u8>> {
    let mut header = conn.take(1)?;
    if header == b"P" {
        while !header.ends_with(b"\r\n") {
            header.extend(conn.take(1)?);
        }
        return Some(header);
    }
    header.extend(conn.take(15)?);
    let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
    header.extend(if rest > 0 { conn.take(rest)? } else { Vec::new() });
    Some(header)
}

/// Headers that an origin has read, by connection.
#[derive(Clone, Default)]
struct Headers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Headers {
    fn all(&self) -> Vec<Vec<u8>> {
        self.0.lock().expect("headers").clone()
    }

    #[track_caller]
    fn last(&self) -> Vec<u8> {
        self.all().pop().expect("a header")
    }
}

/// An origin that wants a header before requests.
fn origin() -> (Origin, Headers) {
    let headers = Headers::default();
    let seen = headers.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        let Some(header) = header(&mut conn) else { return };
        seen.0.lock().expect("headers").push(header);
        while conn.request().is_some() && conn.send(ok("hello")) {}
    });
    (origin, headers)
}

fn announcing(origin: &Origin, version: &str) -> Config {
    Config::forwarding(origin.url()).with(&format!("proxy_protocol = \"{version}\""))
}

fn get(path: &str) -> Vec<u8> {
    bytes("GET", path, &[], b"")
}

fn own(client: &Client) -> SocketAddrV4 {
    client.stream().local_addr().expect("an address").to_string().parse().expect("an IPv4 address")
}

fn web(weir: &Weir) -> SocketAddrV4 {
    weir.web().to_string().parse().expect("an IPv4 address")
}

#[test]
fn a_connection_begins_with_its_clients_ends_and_serves_that_client_alone() {
    for version in ["v1", "v2"] {
        let (origin, headers) = origin();
        let weir = announcing(&origin, version).start();
        let (mut one, mut two) = (weir.client(), weir.client());
        for _ in 0..3 {
            assert_eq!(one.exchange(get("/one")).text(), "hello");
            assert_eq!(two.exchange(get("/two")).text(), "hello");
        }
        let all = headers.all();
        assert_eq!((origin.accepted(), all.len(), origin.requests().len()), (2, 2, 6), "{version}");
        for (header, client) in all.iter().zip([&one, &two]) {
            let (from, to) = (own(client), web(&weir));
            match version {
                "v1" => assert_eq!(*header, v1(&from.to_string(), &to.to_string())),
                _ => assert_eq!(read_v2(header), (0x21, Some((from, to)))),
            }
        }
        assert!(origin.malformed().is_empty(), "{:?}", origin.malformed());
    }
}

#[test]
fn it_ends_with_its_client() {
    let (origin, _headers) = origin();
    let weir = announcing(&origin, "v2").start();
    let mut kept = weir.client();
    assert_eq!(kept.exchange(get("/")).status, 200);
    for number in 1..4 {
        let mut client = weir.client();
        assert_eq!(client.exchange(get("/")).status, 200);
        assert_eq!(origin.accepted(), 1 + number);
        drop(client);
        wait::until("its connection to end", || origin.open() == 1);
    }
    assert_eq!(kept.exchange(get("/")).status, 200);
    assert_eq!(origin.accepted(), 4, "another client's is untouched");
    // A single exchange leaves nothing behind either.
    assert_eq!(weir.get("/").status, 200);
    wait::until("its connection to end", || origin.open() == 1);
    wait::until("one idle connection", || weir.metrics().sum("weir_upstream_idle", &[]) <= 1.0);
}

#[test]
fn whom_a_proxy_announced_is_announced_on() {
    let (origin, headers) = origin();
    let weir = announcing(&origin, "v2").listener("proxy_protocol_from = [\"127.0.0.9\"]").start();
    let mut client = Client::connect_from("127.0.0.9", weir.web());
    client.write([v1("192.0.2.1:1234", "198.51.100.7:443"), get("/")].concat());
    assert_eq!(client.response().status, 200);
    let ends = ("192.0.2.1:1234".parse().expect("an address"), "198.51.100.7:443".parse().expect("an address"));
    assert_eq!(read_v2(&headers.last()), (0x21, Some(ends)));
    // A proxy that speaks for itself is its own client.
    let mut client = Client::connect_from("127.0.0.9", weir.web());
    client.write([b"PROXY UNKNOWN\r\n".to_vec(), get("/")].concat());
    assert_eq!(client.response().status, 200);
    assert_eq!(read_v2(&headers.last()), (0x21, Some((own(&client), web(&weir)))));
}

#[test]
fn streams_of_one_connection_are_announced_as_that_connection() {
    let (origin, headers) = origin();
    let weir = announcing(&origin, "v2").listener("h2c = true").start();
    let mut peer = Peer::connect(weir.web());
    peer.greet(&[]);
    for _ in 0..3 {
        assert_eq!(peer.get("/").fields.first(":status"), Some("200"));
    }
    assert_eq!(headers.all().len(), 1, "one after the other they share a connection");
    let both = [peer.open(&h2::get("/"), true), peer.open(&h2::get("/"), true)];
    both.into_iter().for_each(|stream| assert_eq!(peer.response(stream).fields.first(":status"), Some("200")));
    let ends: Vec<_> = headers.all().iter().map(|header| read_v2(header)).collect();
    assert!(ends.iter().all(|one| *one == ends[0]) && ends[0].1.is_some_and(|ends| ends.1 == web(&weir)), "{ends:?}");
    drop(peer);
    wait::until("its connections to end", || origin.open() == 0);
}

#[test]
fn a_client_without_an_address_is_announced_as_unknown() {
    for (version, wanted) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00")] {
        let ((origin, headers), dir) = (origin(), Dir::new());
        let path = dir.join("s");
        let tables = format!(
            "[[listener]]\nname = \"sock\"\nbind = \"unix:{}\"\n[[route]]\nid = 1\nlistener = \"sock\"\n\
             path_prefix = \"/\"\n[[route.target]]\nurl = \"{}\"\nproxy_protocol = \"{version}\"",
            path.display(),
            origin.url()
        );
        let _weir = Config::new().tables(&tables).start();
        let mut stream = UnixStream::connect(&path).expect("connects");
        stream.set_read_timeout(Some(wait::SOON)).expect("a timeout");
        stream.write_all(&get("/")).expect("written");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
        assert_eq!(headers.last(), wanted);
    }
}

#[test]
fn probes_speak_for_weir_itself() {
    for (version, wanted) in [("v1", &b"PROXY UNKNOWN\r\n"[..]), ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00")] {
        for kind in ["http", "tcp"] {
            let (origin, headers) = origin();
            let health = format!("[route.target.health]\nkind = \"{kind}\"\ninterval = \"1s\"\ntimeout = \"1s\"");
            let _weir = announcing(&origin, version).with(&health).start();
            wait::until("a probe", || !headers.all().is_empty());
            assert_eq!(headers.last(), wanted, "{version} {kind}");
            if kind == "http" {
                origin.wait_requests(1);
                assert_eq!(origin.last().fields.first("user-agent"), Some("weir-health"));
            }
        }
    }
}

#[test]
fn a_stale_connection_is_followed_by_one_with_a_header_of_its_own() {
    let headers = Headers::default();
    let seen = headers.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        let Some(header) = header(&mut conn) else { return };
        seen.0.lock().expect("headers").push(header);
        if conn.request().is_some() {
            conn.send(ok("hello"));
        }
        // The next request finds it closed.
        conn.request_head();
    });
    let weir = announcing(&origin, "v2").start();
    let mut client = weir.client();
    for _ in 0..3 {
        assert_eq!(client.exchange(get("/")).status, 200);
    }
    assert_eq!(headers.all().len(), 3);
    assert!(headers.all().iter().all(|header| read_v2(header).1.is_some_and(|ends| ends.0 == own(&client))));
}

#[test]
fn clients_share_an_endpoints_places_though_not_its_connections() {
    let (origin, headers) = origin();
    let weir = announcing(&origin, "v2").with("[route.limits]\nconnections_max = 1\nqueue_timeout = \"5s\"").start();
    let mut clients: Vec<_> = (0..3).map(|_| weir.client()).collect();
    // The idle connection of one is closed for the next: nobody is told that the upstream is busy.
    for round in 0..4 {
        for client in &mut clients {
            assert_eq!(client.exchange(get("/")).status, 200, "round {round}");
        }
    }
    assert_eq!(headers.all().len(), 12);
    wait::until("one connection", || origin.open() == 1);
    // At once, they wait for each other.
    for client in &clients {
        client.write(get("/"));
    }
    assert!(clients.iter_mut().all(|client| client.response().status == 200));
    assert!(origin.malformed().is_empty(), "{:?}", origin.malformed());
}

#[test]
fn a_websocket_and_a_body_come_behind_the_header() {
    let (origin, headers) = origin();
    let weir = announcing(&origin, "v1").start();
    let mut client = weir.client();
    assert_eq!(client.exchange(bytes("POST", "/", &[], &[b'x'; 100_000])).status, 200);
    assert_eq!(origin.last().body.len(), 100_000);
    let fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    // Refused here: it is the way there that counts.
    assert_eq!(client.exchange(bytes("GET", "/chat", &fields, b"")).status, 200);
    assert!(origin.last().fields.names("upgrade", "websocket"));
    assert!(headers.all().iter().all(|header| *header == v1(&own(&client).to_string(), &web(&weir).to_string())));
}

#[test]
fn tls_comes_behind_the_header() {
    let (headers, first) = (Headers::default(), Headers::default());
    let (seen, hello) = (headers.clone(), first.clone());
    let origin = Origin::scripted(move |mut conn, _| {
        let Some(header) = header(&mut conn) else { return };
        seen.0.lock().expect("headers").push(header);
        hello.0.lock().expect("hello").extend(conn.take(3));
    });
    let url = origin.url().replace("http://", "https://");
    let weir = Config::forwarding(url).with("proxy_protocol = \"v2\"").start();
    let mut client = weir.client();
    assert_eq!(client.exchange(get("/")).status, 502);
    assert_eq!(read_v2(&headers.last()).1.map(|ends| ends.0), Some(own(&client)));
    let hello = first.last();
    assert_eq!(&hello[..2], [0x16, 3], "a handshake record");
}

#[test]
fn without_the_key_nothing_is_announced() {
    let origin = Origin::ok("hello");
    let weir = announcing(&origin, "off").start();
    let (mut one, mut two) = (weir.client(), weir.client());
    assert_eq!((one.exchange(get("/")).status, two.exchange(get("/")).status), (200, 200));
    assert_eq!(origin.accepted(), 1, "clients share connections");
    assert!(one.silent_for(Duration::from_millis(1)));
}

#[test]
fn a_reload_changes_what_the_next_connection_announces() {
    let (origin, headers) = origin();
    let mut weir = announcing(&origin, "v1").start();
    let mut client = weir.client();
    assert_eq!(client.exchange(get("/")).status, 200);
    weir.reload(|config| config.replaced("proxy_protocol = \"v1\"", "proxy_protocol = \"v2\""));
    wait::until("the other version", || {
        assert_eq!(weir.get("/").status, 200);
        headers.last()[0] == b'\r'
    });
    assert!(origin.malformed().is_empty(), "{:?}", origin.malformed());
}

#[test]
fn a_bad_value_is_a_problem_of_the_document() {
    let dir = Dir::new();
    for (lines, names) in [
        ("url = \"http://127.0.0.1:2\"\nproxy_protocol = \"v3\"", "v3"),
        ("url = \"http://127.0.0.1:2\"\nproxy_protocol = true", "boolean"),
        ("url = \"http://127.0.0.1:2\"\nprotocol = \"h2c\"\nproxy_protocol = \"v2\"", "http1"),
        ("static = { status = 200 }\nproxy_protocol = \"v2\"", "static answer"),
    ] {
        let text = format!(
            "version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n[[route]]\nid = 1\nlistener = \"web\"\n\
             path_prefix = \"/\"\n[[route.target]]\n{lines}\n"
        );
        let path = dir.write("weir.toml", text).to_string_lossy().into_owned();
        let exit = command(&["check", "--config", &path]);
        assert_eq!(exit.code, Some(1), "{lines}: {}", exit.stderr);
        let said = exit.stderr + &exit.stdout;
        assert!(said.contains("proxy_protocol") && said.contains(names), "{lines}: {said}");
    }
}
