//! WebSocket upgrades: a tunnel after the right 101 and after nothing else, both ways, across a reload, until silence.

use weir_tests::exchange::bytes;
use weir_tests::origin::ok;
use weir_tests::script::Conn;
use weir_tests::{Client, Config, Ended, Gate, Origin, Weir, wait};

/// The handshake of RFC 6455 section 1.3, and its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn offer() -> Vec<u8> {
    let fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
    ];
    bytes("GET", "/chat", &fields, b"")
}

fn switching(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// Takes the upgrade, then answers each five octets with the same in capitals.
fn shout(mut conn: Conn) {
    if conn.request_head().is_some() && conn.send(switching(ACCEPT)) {
        while let Some(heard) = conn.take(5) {
            if !conn.send(heard.to_ascii_uppercase()) {
                return;
            }
        }
    }
}

/// A client that has been let through.
fn tunnel(weir: &Weir) -> Client {
    let mut client = weir.client();
    client.write(offer());
    let head = client.head();
    assert_eq!(head.status, 101);
    assert!(head.fields.names("connection", "upgrade") && head.fields.names("upgrade", "websocket"));
    client
}

fn says(client: &mut Client, word: &str) {
    client.write(word);
    assert_eq!(String::from_utf8_lossy(&client.take(word.len())), word.to_uppercase());
}

#[test]
fn a_101_opens_a_tunnel_both_ways() {
    let origin = Origin::scripted(|conn, _| shout(conn));
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    client.write(offer());
    let head = client.head();
    assert_eq!(head.status, 101);
    assert_eq!(head.fields.first("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(head.fields.first("sec-websocket-protocol"), Some("chat"));
    says(&mut client, "hello");
    says(&mut client, "again");
    let seen = origin.last();
    assert!(seen.fields.names("connection", "upgrade") && seen.fields.names("upgrade", "websocket"));
    assert_eq!(seen.fields.first("sec-websocket-key"), Some(KEY));
    client.half_close();
    assert_eq!(client.ended(), Ended::Closed);
    let line = weir.wait_log("the tunnel", |line| line["status"] == 101);
    assert_eq!((&line["reason"], &line["body_out"]), (&"ok".into(), &10.into()), "{line}");
    assert_eq!(weir.reason("ok"), 1);
}

#[test]
fn octets_behind_either_head_are_the_tunnels_first() {
    let origin = Origin::scripted(|mut conn, _| {
        if conn.request_head().is_some() && conn.send(switching(ACCEPT) + "first") {
            let heard = conn.take(5).unwrap_or_default();
            conn.send(heard.to_ascii_uppercase());
            conn.close();
        }
    });
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    client.write([offer(), b"early".to_vec()].concat());
    assert_eq!(client.head().status, 101);
    assert_eq!(client.take(10), b"firstEARLY");
    client.half_close();
    assert_eq!(client.ended(), Ended::Closed);
}

#[test]
fn octets_behind_the_offer_wait_for_the_101() {
    let (gate, held) = (Gate::new(), Gate::new());
    let (pass, hold) = (gate.clone(), held.clone());
    let origin = Origin::scripted(move |mut conn, _| {
        conn.request_head();
        pass.pass();
        conn.send(ok("plain"));
        hold.pass();
        conn.close();
    });
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    client.write([offer(), b"early".to_vec()].concat());
    origin.wait_requests(1);
    let head = origin.octets();
    gate.open();
    assert_eq!(client.response().text(), "plain");
    assert_eq!(origin.octets(), head, "octets went up before the 101");
    held.open();
}

#[test]
fn a_200_is_a_plain_response_and_no_tunnel() {
    let origin = Origin::ok("plain");
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    // In a tunnel this would be the client's data; without one it is the next request.
    client.write([offer(), bytes("GET", "/second", &[("X-Second", "yes")], b"")].concat());
    assert_eq!(client.response().text(), "plain");
    assert_eq!(client.response().text(), "plain");
    let second = origin.last();
    assert_eq!((second.target.as_str(), second.fields.first("x-second")), ("/second", Some("yes")));
    assert!(second.fields.first("x-request-id").is_some(), "it went through as a request of its own");
}

#[test]
fn a_101_with_the_wrong_proof_is_502() {
    for answer in [
        switching("AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n".to_owned(),
        switching(ACCEPT).replace("Upgrade: websocket", "Upgrade: h2c"),
    ] {
        let said = answer.clone();
        let origin = Origin::scripted(move |mut conn, _| {
            conn.request_head();
            conn.send(said.as_bytes());
            conn.ended();
        });
        let weir = Config::forwarding(origin.url()).start();
        let mut client = weir.client();
        client.write(offer());
        let response = client.response();
        assert_eq!(response.status, 502, "{answer}");
        assert!(response.text().contains("upstream_bad_upgrade"), "{}", response.text());
        weir.wait_reason("upstream_bad_upgrade", 1);
        assert_eq!(origin.accepted(), 1, "an upgrade is not repeated");
        wait::until("the upstream connection ends", || origin.open() == 0);
    }
}

#[test]
fn a_101_that_nobody_asked_for_is_502() {
    let origin = Origin::scripted(|mut conn, _| {
        conn.request_head();
        conn.send(switching(ACCEPT));
        conn.ended();
    });
    let weir = Config::forwarding(origin.url()).start();
    let response = weir.get("/");
    assert_eq!(response.status, 502);
    assert!(response.text().contains("upstream_bad_upgrade"), "{}", response.text());
}

#[test]
fn switched_off_the_offer_is_left_out() {
    let origin = Origin::ok("plain");
    let weir = Config::new().route(1, "path_prefix = \"/\"\nwebsocket = false", &[&origin.url()]).start();
    let mut client = weir.client();
    client.write(offer());
    assert_eq!(client.response().text(), "plain");
    let seen = origin.last();
    assert!(seen.fields.first("upgrade").is_none() && !seen.fields.names("connection", "upgrade"), "{seen:?}");
}

#[test]
fn other_protocols_are_left_out() {
    let origin = Origin::ok("plain");
    let weir = Config::forwarding(origin.url()).start();
    let fields = [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "AAMAAABk")];
    assert_eq!(weir.request("GET", "/", &fields, b"").status, 200);
    let seen = origin.last();
    assert!(seen.fields.first("upgrade").is_none() && seen.fields.first("http2-settings").is_none(), "{seen:?}");
}

#[test]
fn an_upgrade_is_not_repeated() {
    let origin = Origin::scripted(|mut conn, _| {
        conn.request_head();
        conn.close();
    });
    let weir = Config::forwarding(origin.url()).tables("[retry]\nattempts = 3").start();
    let mut client = weir.client();
    client.write(offer());
    assert_eq!(client.response().status, 502);
    assert_eq!(origin.accepted(), 1);
    assert_eq!(weir.metrics().sum("weir_retries_total", &[]), 0.0);
}

#[test]
fn an_upgrade_takes_a_fresh_connection() {
    let origin = Origin::scripted(|mut conn, _| match conn.request() {
        // A pooled connection that would not survive another request: an upgrade is never repeated.
        Some(request) if request.target == "/" => {
            conn.send(ok("x"));
            conn.request_head();
            conn.reset();
        }
        Some(_) => {
            conn.send(switching(ACCEPT));
            conn.ended();
        }
        None => {}
    });
    let weir = Config::forwarding(origin.url()).start();
    assert_eq!(weir.get("/").status, 200);
    tunnel(&weir);
}

#[test]
fn a_silent_tunnel_is_closed_and_a_talking_one_is_not() {
    let origin = Origin::scripted(|conn, _| shout(conn));
    let weir = Config::forwarding(origin.url()).tables("[timeouts]\ntunnel = \"400ms\"").start();
    let (mut silent, mut talking) = (tunnel(&weir), tunnel(&weir));
    let closed = std::thread::spawn(move || silent.ended());
    while !closed.is_finished() {
        says(&mut talking, "still");
    }
    closed.join().expect("the silent one ended");
    says(&mut talking, "still");
    weir.wait_log("the silence", |line| line["reason"] == "tunnel_idle" && line["status"] == 101);
    assert_eq!(weir.reason("tunnel_idle"), 1);
    wait::until("the origin's side ends too", || origin.open() == 1);
}

#[test]
fn a_tunnel_survives_a_reload() {
    let (origin, other) = (Origin::scripted(|conn, _| shout(conn)), Origin::ok("new"));
    let mut weir = Config::forwarding(origin.url()).start();
    let mut client = tunnel(&weir);
    says(&mut client, "first");
    let url = other.url();
    weir.reload(|config| config.route(1000, "priority = -1\npath_prefix = \"/\"", &[&url]));
    assert_eq!(weir.get("/").text(), "new");
    says(&mut client, "later");
}

#[test]
fn the_end_of_the_origin_ends_the_tunnel() {
    for reset in [false, true] {
        let origin = Origin::scripted(move |mut conn, _| {
            conn.request_head();
            conn.send(switching(ACCEPT));
            conn.take(3);
            if reset { conn.reset() } else { conn.close() }
        });
        let weir = Config::forwarding(origin.url()).start();
        let mut client = tunnel(&weir);
        client.write("end");
        client.ended();
        drop(client);
        wait::until("the record", || weir.log().iter().any(|line| line["status"] == 101));
    }
}

#[test]
fn a_drain_cuts_tunnels_at_its_timeout() {
    let origin = Origin::scripted(|conn, _| shout(conn));
    let mut weir = Config::forwarding(origin.url()).tables("[drain]\ntimeout = \"500ms\"").start();
    let mut client = tunnel(&weir);
    says(&mut client, "hello");
    weir.signal(rustix::process::Signal::TERM);
    client.ended();
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
    let cut = weir.log().iter().any(|line| line["reason"] == "shutdown_cut");
    assert!(cut, "{:?}", weir.log());
}
