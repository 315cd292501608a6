//! HTTP/2 on both sides, and from one side only: what a client's stream becomes.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use weir_tests::h2c::{H2Origin, gone};
use weir_tests::{Config, Origin};

use crate::to;

/// weir before an origin of HTTP/2, its clients without TLS too.
fn h2_to_h2(origin: &H2Origin) -> Config {
    to(origin.url()).listener("h2c = true")
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, test).await.expect("the test ends in time");
    });
}

async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let (sender, connection) = h2::client::handshake(stream).await.expect("a handshake");
    tokio::spawn(connection);
    sender.ready().await.expect("a stream")
}

fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://shop.test{path}"))
}

async fn content(response: Response<RecvStream>) -> (Vec<u8>, Option<HeaderMap>) {
    let (mut body, mut content) = (response.into_body(), Vec::new());
    while let Some(octets) = body.data().await {
        let octets = octets.expect("content");
        body.flow_control().release_capacity(octets.len()).expect("a window");
        content.extend_from_slice(&octets);
    }
    (content, body.trailers().await.expect("an end"))
}

/// Reads exactly so many octets.
async fn take(body: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let octets = body.data().await.expect("more").expect("content");
        body.flow_control().release_capacity(octets.len()).expect("a window");
        taken.extend_from_slice(&octets);
    }
    taken
}

#[test]
fn a_stream_becomes_a_stream() {
    let origin = H2Origin::echo();
    let weir = h2_to_h2(&origin).start();
    run(async {
        let mut client = connect(weir.web()).await;
        let (answer, mut body) = client.send_request(request("POST", "/a?b").body(()).unwrap(), false).unwrap();
        body.send_data(vec![b'x'; 300_000].into(), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "42".parse().unwrap());
        body.send_trailers(trailers).unwrap();
        let response = answer.await.expect("an answer");
        assert_eq!(response.status(), 200);
        let (octets, trailers) = content(response).await;
        assert_eq!(octets.len(), 300_000);
        assert_eq!(trailers.expect("trailers")["x-sum"], "42");
    });
    let seen = origin.last();
    assert_eq!((seen.method.as_str(), seen.uri.path_and_query().map(|path| path.as_str())), ("POST", Some("/a?b")));
    assert_eq!(seen.headers["via"], "2.0 weir");
}

#[test]
fn an_answer_of_trailers_alone_ends_its_stream_with_its_head() {
    let origin = H2Origin::new(|mut call| async move {
        drop(call.begin(200, &[("content-type", "application/grpc"), ("grpc-status", "5")], true));
    });
    let weir = h2_to_h2(&origin).start();
    run(async {
        let mut client = connect(weir.web()).await;
        let head = request("POST", "/a.B/C").header("content-type", "application/grpc").header("te", "trailers");
        let (answer, mut body) = client.send_request(head.body(()).unwrap(), false).unwrap();
        let _ = body.send_data(vec![0, 0, 0, 0, 0].into(), true);
        let response = answer.await.expect("an answer");
        assert_eq!(response.headers()["grpc-status"], "5");
        assert!(response.body().is_end_stream(), "END_STREAM came with the head");
    });
}

#[test]
fn both_directions_of_grpc_go_on_as_they_are_said() {
    let origin = H2Origin::new(|mut call| async move {
        let mut stream = call.begin(200, &[("content-type", "application/grpc")], false);
        while let Some(Ok(octets)) = call.body.data().await {
            let _ = call.body.flow_control().release_capacity(octets.len());
            let _ = stream.send_data(octets, false);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let _ = stream.send_trailers(trailers);
    });
    let weir = h2_to_h2(&origin).start();
    run(async {
        let mut client = connect(weir.web()).await;
        let head = request("POST", "/a.B/Chat").header("content-type", "application/grpc").header("te", "trailers");
        let (answer, mut body) = client.send_request(head.body(()).unwrap(), false).unwrap();
        let response = answer.await.expect("a head before anything was said");
        let mut replies = response.into_body();
        for n in 0..20_u8 {
            let message = vec![0, 0, 0, 0, 1, n];
            body.send_data(message.clone().into(), false).unwrap();
            assert_eq!(take(&mut replies, 6).await, message);
        }
        body.send_data(Bytes::new(), true).unwrap();
        assert!(replies.data().await.is_none());
        assert_eq!(replies.trailers().await.unwrap().expect("trailers")["grpc-status"], "0");
    });
}

#[test]
fn a_reset_of_either_side_ends_the_other() {
    let origin = H2Origin::new(|mut call| async move {
        let mut stream = call.begin(200, &[], false);
        let _ = stream.send_data("first".into(), false);
        if call.head.uri.path() == "/theirs" {
            let _ = call.body.data().await;
            return stream.send_reset(h2::Reason::INTERNAL_ERROR);
        }
        gone(&mut stream).await;
        call.note("gone");
    });
    let weir = h2_to_h2(&origin).start();
    run(async {
        let mut client = connect(weir.web()).await;
        let (answer, mut body) = client.send_request(request("POST", "/ours").body(()).unwrap(), false).unwrap();
        let response = answer.await.expect("an answer");
        body.send_reset(h2::Reason::CANCEL);
        drop(response);
        let (answer, mut body) = client.send_request(request("POST", "/theirs").body(()).unwrap(), false).unwrap();
        let mut replies = answer.await.expect("an answer").into_body();
        assert_eq!(take(&mut replies, 5).await, b"first");
        body.send_data("go".into(), false).unwrap();
        let end = replies.data().await.expect("no clean end").expect_err("a reset");
        assert_eq!(end.reason(), Some(h2::Reason::INTERNAL_ERROR));
    });
    origin.wait_note("gone");
    assert_eq!(origin.accepted(), 1);
}

/// Opens a WebSocket in HTTP/2, and hears each word in capitals.
async fn shout_through(address: SocketAddr) {
    let mut client = connect(address).await;
    // Its SETTINGS say whether it takes this.
    while !client.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let head = request("CONNECT", "/chat").header("sec-websocket-version", "13");
    let mut head = head.body(()).unwrap();
    head.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (answer, mut body): (_, SendStream<Bytes>) = client.send_request(head, false).unwrap();
    let response = answer.await.expect("an answer");
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("sec-websocket-accept"));
    let mut replies = response.into_body();
    for word in ["hello", "again"] {
        body.send_data(word.into(), false).unwrap();
        assert_eq!(take(&mut replies, 5).await, word.to_uppercase().as_bytes());
    }
    body.send_data(Bytes::new(), true).unwrap();
    while replies.data().await.is_some_and(|octets| octets.is_ok()) {}
}

/// RFC 6455 section 4.2.2.
fn accept(key: &str) -> String {
    use base64::Engine;
    use sha1::Digest;
    let digest = sha1::Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    base64::engine::general_purpose::STANDARD.encode(digest)
}

#[test]
fn a_websocket_of_http2_becomes_one_of_http2() {
    let origin = H2Origin::with(h2::server::Builder::new().enable_connect_protocol(), |mut call| async move {
        let mut stream = call.begin(200, &[], false);
        while let Some(Ok(octets)) = call.body.data().await {
            let _ = call.body.flow_control().release_capacity(octets.len());
            let _ = stream.send_data(octets.to_ascii_uppercase().into(), false);
        }
        let _ = stream.send_data(Bytes::new(), true);
    });
    let weir = h2_to_h2(&origin).start();
    run(shout_through(weir.web()));
    assert_eq!(origin.last().method, "CONNECT");
}

#[test]
fn a_websocket_of_http2_becomes_an_upgrade_with_a_key_of_its_own() {
    let origin = Origin::scripted(|mut conn, _| {
        let Some(request) = conn.request_head() else { return };
        let key = request.fields.first("sec-websocket-key").expect("a key").to_owned();
        let accept = accept(&key);
        conn.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        ));
        while let Some(heard) = conn.take(5) {
            if !conn.send(heard.to_ascii_uppercase()) {
                return;
            }
        }
    });
    let weir = Config::forwarding(origin.url()).listener("h2c = true").start();
    run(shout_through(weir.web()));
    let seen = origin.last();
    assert!(seen.fields.names("connection", "upgrade") && seen.fields.names("upgrade", "websocket"));
}
