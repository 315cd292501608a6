//! Each way for an upstream to fail over HTTP/2: its reason, and who may try again.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use h2::Reason;
use weir_tests::h2c::H2Origin;
use weir_tests::{Config, Weir, wait};

use crate::to;

/// weir with one route over several origins in turn.
fn over(origins: &[&H2Origin], tables: &str) -> Weir {
    let mut config = Config::new().route(1, "path_prefix = \"/\"", &[]);
    for origin in origins {
        config = config.with(&format!("[[route.target]]\nurl = \"{}\"\nprotocol = \"h2c\"", origin.url()));
    }
    config.tables(tables).start()
}

/// An origin that resets every stream.
fn resetting(reason: Reason) -> H2Origin {
    H2Origin::new(move |mut call| async move { call.reset(reason) })
}

fn statuses(weir: &Weir, method: &str, times: usize) -> Vec<u16> {
    let mut statuses: Vec<u16> = (0..times).map(|_| weir.request(method, "/", &[], b"").status).collect();
    statuses.sort_unstable();
    statuses
}

const ONCE: &str = "[retry]\nattempts = 0";
const FREELY: &str = "[retry]\nbudget = 100";

#[test]
fn a_refused_stream_is_tried_elsewhere_whatever_the_method() {
    let (bad, good) = (resetting(Reason::REFUSED_STREAM), H2Origin::ok("good"));
    let weir = over(&[&bad, &good], FREELY);
    for method in ["GET", "POST", "PATCH"] {
        assert_eq!(statuses(&weir, method, 2), [200, 200], "{method}");
    }
    assert_eq!(bad.accepted(), 1, "the connection is as good as before");
    drop(weir);
    let weir = to(bad.url()).tables(ONCE).start();
    assert_eq!(statuses(&weir, "POST", 1), [502]);
    weir.wait_reason("upstream_refused", 1);
}

#[test]
fn another_reset_is_tried_elsewhere_where_the_method_allows() {
    let (bad, good) = (resetting(Reason::INTERNAL_ERROR), H2Origin::ok("good"));
    let weir = over(&[&bad, &good], FREELY);
    assert_eq!(statuses(&weir, "GET", 2), [200, 200]);
    assert_eq!(statuses(&weir, "POST", 2), [200, 502]);
    weir.wait_reason("upstream_reset", 1);
    assert_eq!(bad.accepted(), 1);
}

#[test]
fn a_reset_of_a_stream_is_no_sign_of_a_stale_connection() {
    let bad = resetting(Reason::INTERNAL_ERROR);
    let weir = to(bad.url()).tables(ONCE).start();
    assert_eq!(statuses(&weir, "GET", 3), [502, 502, 502]);
    assert_eq!(bad.calls().len(), 3, "none was repeated");
}

#[test]
fn a_lost_connection_is_repeated_once_on_a_fresh_one_beyond_the_attempts() {
    let origin = H2Origin::new(|mut call| async move {
        match call.connection {
            0 if call.number > 0 => call.abort(),
            _ => call.answer(200, &[], "good"),
        }
    });
    let weir = to(origin.url()).tables(ONCE).start();
    assert_eq!(statuses(&weir, "GET", 1), [200]);
    assert_eq!(statuses(&weir, "GET", 1), [200], "on the second connection");
    assert_eq!((origin.accepted(), origin.calls().len()), (2, 3));
    assert_eq!(weir.metrics().sum("weir_retries_total", &[]), 0.0);
}

#[test]
fn a_lost_connection_fails_a_post_and_a_first_request() {
    let origin = H2Origin::new(|mut call| async move {
        match call.head.uri.path() {
            "/good" => call.answer(200, &[], "good"),
            _ => call.abort(),
        }
    });
    let weir = to(origin.url()).tables(ONCE).start();
    assert_eq!(weir.get("/").status, 502, "it was not used before");
    assert_eq!(weir.get("/good").status, 200);
    assert_eq!(weir.request("POST", "/", &[], b"").status, 502);
    wait::until("both reasons", || weir.reason("upstream_closed") + weir.reason("upstream_reset") == 2);
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn a_lost_connection_takes_all_its_streams_and_none_of_the_others() {
    let origin = H2Origin::new(|mut call| async move {
        match call.head.uri.path() {
            "/kill" => call.abort(),
            _ if call.connection == 0 => {
                call.cancelled().await;
            }
            _ => call.answer(200, &[], "good"),
        }
    });
    let weir = to(origin.url()).tables(FREELY).start();
    let mut waiting: Vec<_> = (0..20)
        .map(|_| {
            let client = weir.client();
            client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    origin.wait_calls(20);
    assert_eq!(weir.request("POST", "/kill", &[], b"").status, 502);
    for client in &mut waiting {
        assert_eq!(client.response().text(), "good", "repeated on one fresh connection");
    }
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn a_goaway_lets_streams_end_and_sends_new_ones_elsewhere() {
    let origin = H2Origin::new(|mut call| async move {
        match call.head.uri.path() {
            "/leave" => {
                call.leave();
                tokio::time::sleep(Duration::from_millis(500)).await;
                call.answer(200, &[], "last");
            }
            _ => call.answer(200, &[], if call.connection == 0 { "old" } else { "new" }),
        }
    });
    let weir = to(origin.url()).tables(ONCE).start();
    let mut client = weir.client();
    client.write("GET /leave HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_calls(1);
    wait::until("a new connection to be used", || weir.request("POST", "/", &[], b"").text() == "new");
    assert_eq!(client.response().text(), "last", "what was begun is ended");
    assert_eq!(origin.accepted(), 2);
    wait::until("the old connection to end", || origin.open() == 1);
}

#[test]
fn a_body_that_is_cut_is_never_whole() {
    let origin = H2Origin::new(|mut call| async move {
        let length: &[(&str, &str)] = &[("content-length", "10")];
        let fields = if call.head.uri.path() == "/length" { length } else { &[] };
        let mut stream = call.begin(200, fields, false);
        let _ = stream.send_data("first".into(), false);
        tokio::time::sleep(Duration::from_millis(200)).await;
        match call.head.uri.query() {
            Some("abort") => call.abort(),
            _ => stream.send_reset(Reason::INTERNAL_ERROR),
        }
    });
    let weir = to(origin.url()).start();
    for (at, path) in ["/length", "/", "/length?abort", "/?abort"].into_iter().enumerate() {
        let mut client = weir.client();
        client.write(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(client.try_response("GET").is_err(), "{path}");
        client.drain();
        weir.wait_reason("upstream_body_truncated", at as u64 + 1);
    }
}

#[test]
fn a_head_that_takes_too_long_ends_its_stream_alone() {
    let origin = H2Origin::new(|mut call| async move {
        match call.head.uri.path() {
            "/slow" => {
                call.cancelled().await;
                call.note("given up");
            }
            _ => call.answer(200, &[], "good"),
        }
    });
    let weir = to(origin.url()).tables("[timeouts]\nresponse_header = \"300ms\"\n[retry]\nattempts = 0").start();
    assert_eq!(weir.get("/slow").status, 504);
    origin.wait_note("given up");
    weir.wait_reason("upstream_response_header_timeout", 1);
    assert_eq!(weir.get("/").text(), "good");
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_try_that_takes_too_long_is_made_elsewhere() {
    let slow = H2Origin::new(|mut call| async move {
        call.cancelled().await;
    });
    let good = H2Origin::ok("good");
    let weir = over(&[&slow, &good], "[timeouts]\ntry = \"300ms\"\n[retry]\nbudget = 100");
    assert_eq!(statuses(&weir, "GET", 2), [200, 200]);
    assert_eq!(slow.accepted(), 1);
}

#[test]
fn a_status_that_counts_as_failed_is_tried_elsewhere() {
    let bad = H2Origin::new(|mut call| async move { call.answer(503, &[], "bad") });
    let good = H2Origin::ok("good");
    let weir = over(&[&bad, &good], "[retry]\nbudget = 100\nstatuses = [503]");
    assert_eq!(statuses(&weir, "GET", 2), [200, 200]);
    assert_eq!(statuses(&weir, "POST", 2), [200, 503]);
}

#[test]
fn a_body_goes_again_with_its_retry() {
    let origin = H2Origin::new(|mut call| async move {
        if call.number == 0 {
            let _ = call.content().await;
            return call.reset(Reason::REFUSED_STREAM);
        }
        let Ok((content, _)) = call.content().await else { return };
        let mut stream = call.begin(200, &[], false);
        let _ = stream.send_data(content.into(), true);
    });
    let weir = to(origin.url()).tables("[retry]\nnon_idempotent = true").start();
    assert_eq!(weir.request("POST", "/", &[], b"the whole body").text(), "the whole body");
    assert_eq!(origin.calls().len(), 2);
}

#[test]
fn connections_that_cannot_be_had_fail_all_who_wait_for_them() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address");
    let weir = to(format!("http://{closed}")).start();
    assert_eq!(weir.get("/").status, 502);
    weir.wait_reason("upstream_connect_refused", 1);

    // Its queue takes the connection, and nobody ever answers: neither SETTINGS nor the request.
    let silent = TcpListener::bind("127.0.0.1:0").expect("bind");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let weir =
        to(url).tables("[timeouts]\nconnect = \"500ms\"\nresponse_header = \"1s\"\n[retry]\nattempts = 0").start();
    let began = Instant::now();
    let mut clients: Vec<_> = (0..3)
        .map(|_| {
            let client = weir.client();
            client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    for client in &mut clients {
        assert_eq!(client.response().status, 504);
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    weir.wait_reason("upstream_connect_timeout", 2);
    weir.wait_reason("upstream_response_header_timeout", 1);
}
