//! RFC 9113 3: how a connection begins.

use weir_tests::h2::{Frame, PREFACE, Peer, get, hpack, kind, setting};
use weir_tests::{Client, Config, Origin};

use super::stand::{PROTOCOL, Stand};

#[test]
fn section_3_4_settings_are_the_first_frame_of_the_server() {
    let stand = Stand::new();
    let mut peer = Peer::connect(stand.weir.web());
    peer.write(PREFACE);
    peer.send(Frame::settings(&[]));
    let first = peer.read().expect("a frame");
    assert_eq!((first.kind, first.flags, first.stream), (kind::SETTINGS, 0, 0));
}

#[test]
fn section_3_4_a_request_may_follow_the_preface_at_once() {
    let stand = Stand::new();
    let mut peer = Peer::connect(stand.weir.web());
    let request = Frame::headers(1, hpack::block(&get("/early")), true);
    peer.note(&Frame::settings(&[]));
    peer.write([PREFACE, &Frame::settings(&[]).octets(), &request.octets()].concat());
    assert_eq!(peer.until("a response", |peer, _| peer.message(1).is_over()).stream, 1);
    assert_eq!(peer.message(1).status(), 200);
}

#[test]
fn section_3_4_the_preface_may_come_in_pieces() {
    let stand = Stand::new();
    let greeting = [PREFACE, &Frame::settings(&[]).octets(), &Frame::ping(*b"12345678").octets()].concat();
    for at in 1..greeting.len() {
        let mut peer = Peer::connect(stand.weir.web());
        peer.note(&Frame::settings(&[]));
        peer.write_split(&greeting, at);
        peer.until("a PING's answer", |_, frame| frame.kind == kind::PING && frame.payload == b"12345678");
    }
}

#[test]
fn section_3_4_a_preface_that_breaks_off_is_no_http_2() {
    let stand = Stand::new();
    for broken in [
        "PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nS",
        "PRI * HTTP/2.0\r\n\rX",
        "PRI * HTTP/2.1\r\n\r\n",
    ] {
        let mut client = stand.weir.client();
        client.write(broken);
        client.half_close();
        // HTTP/1 may have been answered in its words, HTTP/2 ended with a frame; nothing is served.
        let (rest, _) = client.drain();
        let text = String::from_utf8_lossy(&rest);
        assert!(!text.contains(" 200 "), "{broken:?}: {text:?}");
        stand.serves(broken);
    }
    assert!(stand.origin.requests().iter().all(|request| request.target == "/other"));
}

#[test]
fn section_3_4_the_first_frame_of_a_client_is_settings() {
    let stand = Stand::new();
    for first in [Frame::ping([0; 8]), Frame::headers(1, hpack::block(&get("/")), true), Frame::window_update(0, 1)] {
        let mut peer = Peer::connect(stand.weir.web());
        peer.write(PREFACE);
        peer.send(first);
        peer.expect_goaway(PROTOCOL);
    }
    assert_eq!(stand.origin.accepted(), 0);
}

#[test]
fn section_3_4_settings_that_acknowledge_do_not_begin() {
    let stand = Stand::new();
    let mut peer = Peer::connect(stand.weir.web());
    peer.write([PREFACE, &Frame::settings_ack().octets()].concat());
    peer.expect_goaway(PROTOCOL);
}

#[test]
fn section_3_3_prior_knowledge_is_spoken_only_where_it_is_switched_on() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    client.write([PREFACE, &Frame::settings(&[]).octets()].concat());
    assert_eq!(client.response().status, 505);
    weir.wait_reason("version_unsupported", 1);
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn section_3_1_http_1_is_spoken_beside_prior_knowledge() {
    let stand = Stand::new();
    assert_eq!(stand.weir.get("/one").status, 200);
    // A method that begins as the preface does.
    for method in ["P", "PR", "PRI", "PRIX", "PUT", "POST"] {
        let mut client: Client = stand.weir.client();
        client.write(format!("{method} /two HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(client.response().status, 200, "{method}");
    }
}

#[test]
fn section_6_5_2_the_servers_settings_are_those_of_the_config() {
    let keys = "[http2]\nstreams_max = 7\nstream_window = \"128KiB\"\nconnection_window = \"2MiB\"\n\
                [limits]\nhead_max = \"16KiB\"";
    let stand = Stand::with(|config| config.tables(keys));
    let mut peer = stand.weir.h2();
    assert_eq!(peer.setting(setting::MAX_CONCURRENT_STREAMS), Some(7));
    assert_eq!(peer.setting(setting::INITIAL_WINDOW_SIZE), Some(128 << 10));
    assert_eq!(peer.setting(setting::MAX_HEADER_LIST_SIZE), Some(16 << 10));
    assert_eq!(peer.setting(setting::ENABLE_CONNECT_PROTOCOL), Some(1));
    assert!(peer.setting(setting::HEADER_TABLE_SIZE).is_none_or(|size| size == 4096));
    assert!(peer.setting(setting::ENABLE_PUSH).is_none_or(|push| push == 0));
    assert!(peer.setting(setting::MAX_FRAME_SIZE).is_none_or(|size| (16_384..1 << 24).contains(&size)));
    // The connection's window is widened by a frame of its own.
    peer.ping();
    let widened = format!("+{}", (2 << 20) - 65_535);
    assert!(peer.seen().iter().any(|frame| frame.contains(&widened)), "{widened} not in {:#?}", peer.seen());
}
