//! The harness's TLS and HTTP/2 against itself.

use super::*;
use crate::client::{Client, Ended};
use crate::h2::{self, Peer};
use crate::origin::{Origin, ok};

fn pair() -> (Authority, Acceptor) {
    let authority = Authority::new();
    let acceptor = Acceptor::new(&authority.certify(&["a.test", "127.0.0.1"]), &["h2", "http/1.1"]);
    (authority, acceptor)
}

#[test]
fn a_client_reads_an_origin_through_tls() {
    let (authority, acceptor) = pair();
    let origin = Origin::secured(acceptor, |mut conn, _| {
        conn.request();
        conn.send(ok("within"));
        conn.close();
    });
    let connector = Connector::to("a.test").trusting(&authority).offering(&["http/1.1"]);
    let mut client = Client::connect_tls(origin.address(), &connector);
    assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "within");
    assert_eq!(client.ended(), Ended::Closed);
    assert_eq!(client.pipe().session().and_then(|session| session.alpn).as_deref(), Some("http/1.1"));
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn an_end_without_close_notify_is_a_cut() {
    let (_, acceptor) = pair();
    let origin = Origin::secured(acceptor, |conn, _| conn.cut());
    assert_eq!(Client::connect_tls(origin.address(), &Connector::to("a.test")).ended(), Ended::Cut);
}

#[test]
fn sessions_are_resumed_and_wrong_names_refused() {
    let (authority, acceptor) = pair();
    let origin = Origin::secured(acceptor, |mut conn, _| while conn.request().is_some() && conn.send(ok("x")) {});
    let connector = Connector::to("a.test").trusting(&authority);
    for resumed in [false, true] {
        let mut client = Client::connect_tls(origin.address(), &connector);
        // The ticket comes with the answer.
        client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.pipe().session().map(|session| session.resumed), Some(resumed));
    }
    assert!(connector.named("b.test").connect(origin.address()).is_err());
}

#[test]
fn an_origin_may_demand_a_certificate() {
    let authority = Authority::new();
    let acceptor = Acceptor::demanding(&authority.certify(&["a.test"]), &[], &authority);
    let origin = Origin::secured(acceptor, |mut conn, _| {
        conn.request();
        conn.send(ok("known"));
    });
    let connector = Connector::to("a.test").showing(authority.certify_client("me"));
    let ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(Client::connect_tls(origin.address(), &connector).exchange(ask).text(), "known");
    let mut unknown = Client::connect_tls(origin.address(), &Connector::to("a.test"));
    let _ = unknown.try_write(ask.as_bytes());
    assert!(unknown.try_response("GET").is_err());
}

#[test]
fn peers_speak_http_2_with_and_without_tls() {
    let script = |conn, _| {
        let Some(mut conn) = h2::Conn::greet(conn, &[(h2::setting::MAX_CONCURRENT_STREAMS, 7)]) else { return };
        while let Some((stream, request)) = conn.request() {
            conn.answer(stream, 200, &[("x-path", &request.target)], &request.body);
        }
    };
    let (authority, acceptor) = pair();
    let connector = Connector::to("127.0.0.1").trusting(&authority).offering(&["h2"]);
    for origin in [Origin::scripted(script), Origin::secured(acceptor, script)] {
        let mut peer = match origin.is_secured() {
            true => Peer::connect_tls(origin.address(), &connector),
            false => Peer::connect(origin.address()),
        };
        peer.greet(&[]);
        assert_eq!(peer.setting(h2::setting::MAX_CONCURRENT_STREAMS), Some(7));
        let body = vec![b'x'; 200_000];
        let stream = peer.open(&h2::post("/up?q"), false);
        // Wider than the window: it goes on as the origin gives back.
        assert!(peer.send_body(stream, &body, true));
        let response = peer.response(stream);
        assert_eq!((response.status(), response.body.len()), (200, body.len()));
        assert_eq!(response.fields.first("x-path"), Some("/up?q"));
        assert_eq!(peer.get("/").status(), 200);
        peer.ping();
        assert_eq!(origin.malformed(), [""; 0]);
        assert_eq!(origin.last().fields.first("host"), Some("test"));
    }
}
