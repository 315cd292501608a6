//! WebSockets over HTTP/2 (RFC 8441): an extended CONNECT is a GET with an upgrade to everything behind it.

use std::time::Duration;

use weir_tests::h2::{Frame, Peer, code, hpack};
use weir_tests::script::Conn;
use weir_tests::websocket::accept;
use weir_tests::{Config, Origin, Weir};

const OFFER: &[(&str, &str)] = &[
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat"),
    (":authority", "test"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "chat"),
];

/// Takes the upgrade, then answers each five octets with the same in capitals, and the end with the end.
fn shout(mut conn: Conn) {
    let Some(head) = conn.request_head() else { return };
    let key = head.fields.first("sec-websocket-key").unwrap_or_default().to_owned();
    let switching = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
        accept(&key)
    );
    if conn.send(switching) {
        while let Some(heard) = conn.take(5) {
            if !conn.send(heard.to_ascii_uppercase()) {
                return;
            }
        }
        conn.close();
    }
}

fn stand() -> (Origin, Weir) {
    let origin = Origin::scripted(|conn, _| shout(conn));
    let weir = Config::forwarding(origin.url()).h2c().start();
    (origin, weir)
}

fn says(peer: &mut Peer, stream: u32, word: &str) {
    let before = peer.message(stream).body.len();
    peer.send(Frame::data(stream, word, false));
    peer.until("what it shouts", |peer, _| peer.message(stream).body.len() == before + word.len());
    assert!(peer.message(stream).text().ends_with(&word.to_uppercase()));
}

#[test]
fn an_extended_connect_becomes_a_tunnel() {
    let (origin, mut weir) = stand();
    let mut peer = weir.h2();
    let stream = peer.open(OFFER, false);
    let head = peer.head(stream);
    assert_eq!((head.status(), head.fields.first("sec-websocket-protocol")), (200, Some("chat")));
    assert!(head.fields.first("sec-websocket-accept").is_none() && !head.ended);
    let seen = origin.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/chat"));
    assert!(seen.fields.names("upgrade", "websocket") && seen.fields.names("connection", "upgrade"));
    says(&mut peer, stream, "hello");
    weir.reload(|config| config.replace("path_prefix = \"/\"", "path_prefix = \"/only\""));
    says(&mut peer, stream, "again");
    peer.send(Frame::data(stream, [], true));
    let whole = peer.response(stream);
    assert!(whole.ended && whole.reset.is_none(), "{whole:?}");
    weir.wait_log("the tunnel", |line| line["status"] == 101 && line["method"] == "GET");
}

#[test]
fn octets_that_come_early_wait_for_the_tunnel() {
    let (_origin, weir) = stand();
    let mut peer = weir.h2();
    let stream = peer.next_stream();
    peer.send_all([Frame::headers(stream, hpack::block(OFFER), false), Frame::data(stream, b"early", false)]);
    peer.until("what it shouts", |peer, _| peer.message(stream).text() == "EARLY");
}

#[test]
fn each_offer_has_a_key_of_its_own() {
    let (origin, weir) = stand();
    let mut peer = weir.h2();
    let theirs = [OFFER, &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]].concat();
    for _ in 0..2 {
        let stream = peer.open(&theirs, false);
        assert_eq!(peer.head(stream).status(), 200);
        peer.send(Frame::reset(stream, code::CANCEL));
    }
    let keys: Vec<_> = origin
        .requests()
        .iter()
        .map(|seen| seen.fields.all("sec-websocket-key").collect::<Vec<_>>().join(" "))
        .collect();
    assert!(keys.len() == 2 && keys[0] != keys[1] && keys.iter().all(|key| key.len() == 24), "{keys:?}");
    assert!(!keys.iter().any(|key| key.starts_with("dGhl")), "{keys:?}");
}

#[test]
fn an_answer_that_is_no_tunnel_is_not_taken_for_one() {
    let success = Origin::answering(weir_tests::origin::ok("a page"));
    let weir = Config::forwarding(success.url()).h2c().start();
    let mut peer = weir.h2();
    let stream = peer.open(OFFER, false);
    assert_eq!(peer.response(stream).status(), 502);
    weir.wait_reason("upstream_bad_upgrade", 1);
    let refusal = Origin::answering(weir_tests::origin::answer(403, &[], "no"));
    let weir = Config::forwarding(refusal.url()).h2c().start();
    let mut peer = weir.h2();
    let stream = peer.open(OFFER, false);
    let answer = peer.head(stream);
    assert_eq!(answer.status(), 403);
}

#[test]
fn where_upgrades_are_off_it_is_501() {
    let (origin, weir) = {
        let origin = Origin::scripted(|conn, _| shout(conn));
        let weir = Config::forwarding(origin.url()).h2c().listener("websocket = false").start();
        (origin, weir)
    };
    let mut peer = weir.h2();
    let stream = peer.open(OFFER, false);
    assert_eq!(peer.response(stream).status(), 501);
    weir.wait_reason("protocol_unsupported", 1);
    assert!(origin.requests().is_empty());
    let bare = [&OFFER[..5]].concat();
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let stream = peer.open(&bare, false);
    assert_eq!(peer.response(stream).status(), 501, "no version of WebSocket is named");
}

#[test]
fn connect_is_a_tunnel_to_what_is_listed_and_405_where_nothing_is() {
    let origin = Origin::scripted(|mut conn, _| {
        while let Some(heard) = conn.take(5) {
            if !conn.send(heard.to_ascii_uppercase()) {
                return;
            }
        }
    });
    let to = origin.address().to_string();
    let connect = [(":method", "CONNECT"), (":authority", to.as_str())];
    let weir = Config::new().h2c().listener(&format!("connect_allow = [\"{to}\"]")).start();
    let mut peer = weir.h2();
    let stream = peer.open(&connect, false);
    assert_eq!(peer.head(stream).status(), 200);
    says(&mut peer, stream, "hello");
    peer.send(Frame::data(stream, [], true));
    assert!(peer.response(stream).ended);
    let elsewhere = peer.open(&[(":method", "CONNECT"), (":authority", "127.0.0.1:9")], false);
    assert_ne!(peer.head(elsewhere).status(), 200);
    let weir = Config::forwarding(origin.url()).h2c().start();
    let mut peer = weir.h2();
    let stream = peer.open(&connect, false);
    assert_eq!(peer.response(stream).status(), 405);
}

#[test]
fn a_silent_tunnel_is_ended() {
    let origin = Origin::scripted(|conn, _| shout(conn));
    let weir = Config::forwarding(origin.url()).h2c().tables("[timeouts]\ntunnel = \"500ms\"").start();
    let mut peer = weir.h2();
    let stream = peer.open(OFFER, false);
    assert_eq!(peer.head(stream).status(), 200);
    says(&mut peer, stream, "hello");
    peer.patience(Duration::from_secs(5));
    peer.expect_reset(stream, &[code::CANCEL, code::INTERNAL_ERROR]);
    weir.wait_reason("tunnel_idle", 1);
}
