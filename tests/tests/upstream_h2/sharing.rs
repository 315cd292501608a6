//! One connection for many: how many it carries, how long it is kept, who waits for whom.

use std::time::Duration;

use h2::server::Builder;
use weir_tests::h2c::{H2Origin, gone};
use weir_tests::{Client, Weir, wait};

use crate::to;

/// Answers as long as the path says: `/1234` milliseconds.
async fn slow(mut call: weir_tests::h2c::Call) {
    let ms = call.head.uri.path().trim_start_matches('/').parse().unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    call.answer(200, &[], "done");
}

/// Sends requests on connections of their own, without waiting.
fn send(weir: &Weir, path: &str, count: usize) -> Vec<Client> {
    let one = |_| {
        let client = weir.client();
        client.write(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client
    };
    (0..count).map(one).collect()
}

fn all_good(clients: Vec<Client>) {
    for mut client in clients {
        assert_eq!(client.response().text(), "done");
    }
}

#[test]
fn many_requests_share_one_connection() {
    let origin = H2Origin::new(slow);
    let weir = to(origin.url()).start();
    all_good(send(&weir, "/300", 60));
    assert_eq!(origin.accepted(), 1, "also those that came before it was open");
    let metrics = weir.metrics();
    assert_eq!(metrics.sum("weir_upstream_connects_total", &[]), 1.0);
    assert_eq!(metrics.sum("weir_upstream_reuses_total", &[]), 59.0);
}

#[test]
fn a_peer_that_allows_few_streams_gets_more_connections() {
    let origin = H2Origin::with(Builder::new().max_concurrent_streams(1), slow);
    let weir = to(origin.url()).start();
    all_good(send(&weir, "/500", 4));
    assert_eq!(origin.accepted(), 4);
    all_good(send(&weir, "/0", 1));
    assert_eq!(origin.accepted(), 4, "they are used again");
    assert_eq!(weir.metrics().sum("weir_retries_total", &[]), 0.0, "none was refused");
}

#[test]
fn no_connection_carries_more_than_a_hundred() {
    let origin = H2Origin::with(Builder::new().max_concurrent_streams(1000), slow);
    let weir = to(origin.url()).without_client_bounds().start();
    all_good(send(&weir, "/0", 1));
    let clients = send(&weir, "/2000", 150);
    origin.wait_calls(151);
    all_good(clients);
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn requests_wait_in_line_where_no_more_connections_may_be_opened() {
    let origin = H2Origin::with(Builder::new().max_concurrent_streams(2), slow);
    let weir = to(origin.url())
        .replace(
            "path_prefix = \"/\"",
            "path_prefix = \"/\"\nlimits = { connections_max = 1, queue_timeout = \"10s\" }",
        )
        .start();
    all_good(send(&weir, "/0", 1));
    all_good(send(&weir, "/100", 8));
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_connection_ends_after_its_requests_its_age_or_its_idleness() {
    let origin = H2Origin::ok("done");
    let weir = to(origin.url()).tables("[pool]\nrequests_max = 2").start();
    (0..4).for_each(|_| assert_eq!(weir.get("/").status, 200));
    assert_eq!(origin.accepted(), 2);
    wait::until("used ones to end", || origin.open() <= 1);

    let origin = H2Origin::ok("done");
    let weir = to(origin.url()).tables("[pool]\nage_max = \"100ms\"").start();
    weir.get("/");
    wait::until("the age to pass", || {
        weir.get("/");
        origin.accepted() > 1
    });

    let origin = H2Origin::ok("done");
    let weir = to(origin.url()).tables("[pool]\nidle_timeout = \"1s\"").start();
    weir.get("/");
    assert_eq!(origin.open(), 1);
    wait::until("an idle one to end", || origin.open() == 0);
    assert_eq!(weir.get("/").status, 200);
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn idle_connections_beyond_the_bound_are_closed() {
    let origin = H2Origin::with(Builder::new().max_concurrent_streams(1), slow);
    let weir = to(origin.url()).tables("[pool]\nidle_max = 2").start();
    all_good(send(&weir, "/300", 5));
    wait::until("the bound to be kept", || origin.open() == 2);
    assert_eq!(weir.metrics().sum("weir_limit_hits_total", &["limit=\"pool_idle_max\""]), 3.0);
}

#[test]
fn a_slow_client_does_not_hold_up_its_neighbours() {
    let origin = H2Origin::new(|mut call| async move {
        if call.head.uri.path() != "/large" {
            return call.answer(200, &[], "done");
        }
        let mut stream = call.begin(200, &[], false);
        for _ in 0..64 {
            let _ = stream.send_data(vec![b'x'; 1 << 20].into(), false);
        }
        let _ = stream.send_data(Vec::new().into(), true);
        gone(&mut stream).await;
    });
    let weir = to(origin.url()).start();
    // They ask for much and take nothing.
    let slow: Vec<Client> = (0..12)
        .map(|_| {
            let client = weir.client();
            client.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    origin.wait_calls(12);
    for _ in 0..200 {
        assert_eq!(weir.get("/small").text(), "done");
    }
    assert_eq!(origin.accepted(), 1);
    let resident = weir.process().resident_bytes();
    assert!(resident < 300 << 20, "{resident} octets resident: what is not taken is not gathered");
    // And the large one is whole for who takes it.
    let mut first = slow.into_iter().next().expect("a client");
    let response = first.response();
    assert_eq!(response.body.len(), 64 << 20);
}

#[test]
fn an_upload_goes_no_faster_than_its_stream_allows() {
    let origin = H2Origin::new(|mut call| async move {
        if call.head.uri.path() == "/stalls" {
            call.note("stalls");
            call.cancelled().await;
            return call.note("reset");
        }
        call.answer(200, &[], "done");
    });
    let weir = to(origin.url()).tables("[timeouts]\nwrite = \"500ms\"").start();
    let mut client = weir.client();
    client.write(format!("POST /stalls HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 4 << 20));
    let upload = client.stream().try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut &upload, &vec![b'x'; 4 << 20]));
    origin.wait_note("stalls");
    assert_eq!(weir.get("/").text(), "done", "another stream goes on");
    let response = client.response_to("POST");
    assert_eq!(response.status, 504);
    origin.wait_note("reset");
    weir.wait_reason("upstream_write_timeout", 1);
    drop(client);
    let _ = sender.join();
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_client_that_goes_away_ends_its_stream_and_no_other() {
    let origin = H2Origin::new(|mut call| async move {
        match call.head.uri.path() {
            "/wait" => {
                call.cancelled().await;
                call.note("cancelled");
            }
            _ => call.answer(200, &[], "done"),
        }
    });
    let weir = to(origin.url()).start();
    let client = weir.client();
    client.write("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_calls(1);
    client.reset();
    origin.wait_note("cancelled");
    weir.wait_reason("client_cancelled", 1);
    assert_eq!(weir.get("/").text(), "done");
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_drain_lets_streams_end() {
    let origin = H2Origin::new(slow);
    let weir = to(origin.url()).start();
    let clients = send(&weir, "/1000", 5);
    origin.wait_calls(5);
    let stopping = std::thread::spawn(move || weir.stop());
    all_good(clients);
    assert_eq!(stopping.join().expect("weir ends").code, Some(0));
    wait::until("the connection to end", || origin.open() == 0);
}

#[test]
fn a_reload_keeps_what_is_shared() {
    let origin = H2Origin::new(slow);
    let mut weir = to(origin.url()).start();
    let clients = send(&weir, "/1000", 3);
    origin.wait_calls(3);
    weir.reload(|config| config.tables("[timeouts]\nexpect = \"2s\""));
    all_good(send(&weir, "/0", 3));
    all_good(clients);
    assert_eq!(origin.accepted(), 1);
}
