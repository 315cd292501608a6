//! Probes of origins that answer well, badly and not at all.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;
use crate::control::testing::{clock, forwarding, snapshot};
use crate::target::Live;

const HEALTH: &str = "[route.health]\ninterval = \"1s\"\ntimeout = \"500ms\"";

/// An origin that reads a head and answers each connection with these octets; the heads it read.
async fn origin(answer: &'static [u8]) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (heads, read) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heads = heads.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
                let _ = heads.send(String::from_utf8_lossy(&head).into_owned());
                let _ = stream.write_all(answer).await;
                // What is not answered is left open, until the prober gives up.
                let _ = stream.read_buf(&mut head).await;
            });
        }
    });
    (address, read)
}

fn subject(address: SocketAddr, health: &str) -> Subject {
    let snapshot = snapshot(forwarding(&format!("http://{address}"), health), 1);
    let live = Live::initial(&snapshot.groups, 1, None, clock());
    subjects(&live).into_values().next().expect("a probed endpoint")
}

async fn result(answer: &'static [u8], health: &str) -> Result<(), String> {
    probe(&subject(origin(answer).await.0, health)).await
}

#[tokio::test]
async fn a_status_in_range_passes_and_others_fail_by_name() {
    assert_eq!(result(b"HTTP/1.1 204 No Content\r\n\r\n", HEALTH).await, Ok(()));
    assert_eq!(result(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", HEALTH).await, Ok(()));
    assert_eq!(result(b"HTTP/1.1 503 Sorry\r\n\r\n", HEALTH).await, Err("status 503".to_owned()));
    let strict = format!("{HEALTH}\nstatus = [\"200\"]");
    assert_eq!(result(b"HTTP/1.1 204 No Content\r\n\r\n", &strict).await, Err("status 204".to_owned()));
}

#[tokio::test]
async fn interim_responses_are_passed_over() {
    let answer = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    assert_eq!(result(answer, HEALTH).await, Ok(()));
    let endless = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(20).leak();
    assert_eq!(result(endless, HEALTH).await, Err("bad response".to_owned()));
}

#[tokio::test]
async fn garbage_silence_and_refusal_fail_in_bounded_time_and_memory() {
    assert_eq!(result(b"SSH-2.0-OpenSSH_9.9\r\n", HEALTH).await, Err("bad response".to_owned()));
    let bomb = [b"HTTP/1.1 200 OK\r\nX: ", &*b"x".repeat(2 * HEAD_MAX)].concat().leak();
    assert_eq!(result(bomb, HEALTH).await, Err("bad response".to_owned()));
    assert_eq!(result(b"", HEALTH).await, Err("timeout".to_owned()));
    let closed = TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a port");
    assert_eq!(probe(&subject(closed, HEALTH)).await, Err("connection refused".to_owned()));
}

#[tokio::test]
async fn the_request_is_the_one_configured() {
    let (address, mut heads) = origin(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let health = format!("{HEALTH}\nmethod = \"HEAD\"\npath = \"/up?x=1\"\nhost = \"app.test\"");
    assert_eq!(probe(&subject(address, &health)).await, Ok(()));
    let head = heads.recv().await.expect("a head");
    assert!(head.starts_with("HEAD /up?x=1 HTTP/1.1\r\nHost: app.test\r\n"), "{head}");
    assert_eq!(probe(&subject(address, HEALTH)).await, Ok(()));
    let head = heads.recv().await.expect("a head");
    assert!(head.starts_with(&format!("GET / HTTP/1.1\r\nHost: {address}\r\n")), "{head}");
}

#[tokio::test]
async fn a_tcp_probe_needs_a_connection_alone() {
    let (address, _) = origin(b"").await;
    let tcp = format!("{HEALTH}\nkind = \"tcp\"");
    assert_eq!(probe(&subject(address, &tcp)).await, Ok(()));
    let elsewhere = format!("{tcp}\nport = {}", address.port());
    let wrong_port = TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a port");
    assert_eq!(probe(&subject(wrong_port, &elsewhere)).await, Ok(()));
}

#[tokio::test]
async fn probes_follow_the_table_and_end_with_it() {
    let (address, mut heads) = origin(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let snapshot = snapshot(forwarding(&format!("http://{address}"), HEALTH), 1);
    let live = Live::initial(&snapshot.groups, 1, None, clock());
    let (out, mut results) = mpsc::channel(16);
    let mut prober = Prober::new(out);
    prober.follow(&live);
    let result = tokio::time::timeout(Duration::from_secs(20), results.recv()).await;
    let result = result.expect("in time").expect("the prober lives");
    assert!(result.passed && live.find(result.endpoint).is_some());
    assert_eq!(prober.counts().passed.load(Ordering::Relaxed), 1);
    // The same table again starts nothing anew; an empty one ends all.
    prober.follow(&live);
    assert_eq!(prober.tasks.len(), 1);
    prober.follow(&Live::initial(&[], 1, None, clock()));
    assert!(prober.tasks.is_empty());
    while heads.try_recv().is_ok() {}
    drop(prober);
    assert!(results.recv().await.is_none(), "a task outlived its prober");
}
