//! WebSockets over HTTP/2 upstreams: an upgrade becomes an extended CONNECT (RFC 8441), and its 200 the 101.

use h2::server::Builder;
use weir_tests::exchange::bytes;
use weir_tests::h2c::{Call, H2Origin, gone};
use weir_tests::{Client, Ended, Weir, wait};

use crate::to;

/// The handshake of RFC 6455 section 1.3, and its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn offer(path: &str) -> Vec<u8> {
    let fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Protocol", "chat"),
    ];
    bytes("GET", path, &fields, b"")
}

/// Takes the offer, and answers all with the same in capitals until the other side ends.
async fn shout(mut call: Call) {
    if call.head.uri.path() == "/refuse" {
        return call.answer(403, &[], "no");
    }
    let mut stream = call.begin(200, &[("sec-websocket-protocol", "chat")], false);
    while let Some(Ok(octets)) = call.body.data().await {
        let _ = call.body.flow_control().release_capacity(octets.len());
        let _ = stream.send_data(octets.to_ascii_uppercase().into(), false);
    }
    let _ = stream.send_data("bye".into(), true);
    call.note("ended");
}

fn willing() -> H2Origin {
    H2Origin::with(Builder::new().enable_connect_protocol(), shout)
}

fn says(client: &mut Client, word: &str) {
    client.write(word);
    assert_eq!(String::from_utf8_lossy(&client.take(word.len())), word.to_uppercase());
}

fn opened(weir: &Weir) -> Client {
    let mut client = weir.client();
    client.write(offer("/chat?room=1"));
    let head = client.head();
    assert_eq!(head.status, 101);
    assert!(head.fields.names("connection", "upgrade") && head.fields.names("upgrade", "websocket"));
    assert_eq!(head.fields.first("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(head.fields.first("sec-websocket-protocol"), Some("chat"));
    client
}

#[test]
fn an_upgrade_becomes_a_tunnel_on_a_stream() {
    let origin = willing();
    let weir = to(origin.url()).start();
    let mut client = opened(&weir);
    says(&mut client, "hello");
    says(&mut client, &"a".repeat(200_000));
    let seen = origin.last();
    assert_eq!((seen.method.as_str(), seen.uri.path()), ("CONNECT", "/chat"));
    assert_eq!(seen.extensions.get::<h2::ext::Protocol>().map(h2::ext::Protocol::as_str), Some("websocket"));
    assert_eq!(seen.headers["sec-websocket-version"], "13");
    for gone in ["sec-websocket-key", "upgrade", "connection"] {
        assert!(!seen.headers.contains_key(gone), "{gone}");
    }
    client.half_close();
    assert_eq!(client.take(3), b"bye");
    assert_eq!(client.ended(), Ended::Closed);
    origin.wait_note("ended");
    let line = weir.wait_log("the tunnel", |line| line["status"] == 101);
    assert_eq!(line["reason"], "ok", "{line}");
}

#[test]
fn tunnels_share_a_connection_with_requests_and_live_across_a_reload() {
    let origin = willing();
    let mut weir = to(origin.url()).start();
    let (mut one, mut other) = (opened(&weir), opened(&weir));
    says(&mut one, "before");
    weir.reload(|config| config.tables("[timeouts]\nexpect = \"2s\""));
    says(&mut one, "after");
    says(&mut other, "too");
    assert_eq!(weir.get("/refuse").status, 403);
    assert_eq!(origin.accepted(), 1);
    drop((one, other));
    wait::until("the tunnels to end", || weir.metrics().sum("weir_requests_active", &[]) == 0.0);
}

#[test]
fn octets_behind_the_offer_are_the_tunnels_first() {
    let origin = willing();
    let weir = to(origin.url()).start();
    let mut client = weir.client();
    client.write([offer("/chat"), b"early".to_vec()].concat());
    assert_eq!(client.head().status, 101);
    assert_eq!(client.take(5), b"EARLY");
}

#[test]
fn another_status_is_a_plain_response() {
    let origin = willing();
    let weir = to(origin.url()).start();
    let mut client = weir.client();
    client.write(offer("/refuse"));
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
}

#[test]
fn an_upstream_that_takes_no_extended_connect_cannot_be_upgraded_to() {
    let origin = H2Origin::new(shout);
    let weir = to(origin.url()).start();
    let mut client = weir.client();
    client.write(offer("/chat"));
    assert_eq!(client.response().status, 502);
    weir.wait_reason("upstream_bad_upgrade", 1);
    assert_eq!(origin.calls().len(), 0, "it was not asked");
    assert_eq!(weir.get("/refuse").status, 403);
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_silent_tunnel_is_ended_on_both_sides() {
    let origin = H2Origin::with(Builder::new().enable_connect_protocol(), |mut call| async move {
        let mut stream = call.begin(200, &[], false);
        gone(&mut stream).await;
        call.note("given up");
    });
    let weir = to(origin.url()).tables("[timeouts]\ntunnel = \"500ms\"").start();
    let mut client = weir.client();
    client.write(offer("/chat"));
    assert_eq!(client.head().status, 101);
    client.drain();
    origin.wait_note("given up");
    weir.wait_reason("tunnel_idle", 1);
    assert_eq!(origin.open(), 1);
}
