//! Expect: 100-continue (RFC 9110 section 10.1.1): the origin's word is relayed, and weir's own comes if it has none.

use std::time::{Duration, Instant};

use weir_tests::origin::{answer, ok};
use weir_tests::{Client, Config, Ended, Origin, Weir};

const SIZE: usize = 5;

fn ask(weir: &Weir, expect: &str) -> Client {
    let client = weir.client();
    client.write(format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: {expect}\r\nContent-Length: {SIZE}\r\n\r\n"));
    client
}

/// An origin that says 100, or nothing, before it reads the body and echoes it.
fn origin(says_100: bool) -> Origin {
    Origin::scripted(move |mut conn, _| {
        while let Some(mut request) = conn.request_head() {
            if says_100 && !conn.send("HTTP/1.1 100 Continue\r\n\r\n") {
                return;
            }
            if !conn.body(&mut request) || !conn.send(ok(&String::from_utf8_lossy(&request.body))) {
                return;
            }
        }
    })
}

#[test]
fn the_origins_100_is_relayed_and_the_body_follows() {
    let origin = origin(true);
    let weir = Config::forwarding(origin.url()).tables("[timeouts]\nexpect = \"60s\"").start();
    let mut client = ask(&weir, "100-continue");
    let interim = client.head();
    assert_eq!(interim.status, 100, "long before weir would say it");
    client.write("hello");
    let response = client.response_to("POST");
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert!(response.interim.is_empty(), "one 100 is enough");
    assert!(origin.last().fields.names("expect", "100-continue"), "the expectation goes upstream");
    // The connection lives on.
    client.write(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\nagain"));
    assert_eq!(client.response_to("POST").text(), "again");
}

#[test]
fn weir_says_100_after_its_timeout() {
    let origin = origin(false);
    let weir = Config::forwarding(origin.url()).tables("[timeouts]\nexpect = \"300ms\"").start();
    let began = Instant::now();
    let mut client = ask(&weir, "100-continue");
    assert_eq!(client.head().status, 100);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(290), "after {took:?}");
    client.write("hello");
    assert_eq!(client.response_to("POST").text(), "hello");
}

#[test]
fn a_late_100_of_the_origin_is_not_a_second_one() {
    let origin = Origin::scripted(|mut conn, _| {
        if let Some(mut request) = conn.request_head()
            && conn.body(&mut request)
        {
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            conn.send(ok("done"));
        }
    });
    let weir = Config::forwarding(origin.url()).tables("[timeouts]\nexpect = \"100ms\"").start();
    let mut client = ask(&weir, "100-continue");
    assert_eq!(client.head().status, 100);
    client.write("hello");
    let response = client.response_to("POST");
    assert_eq!((response.text().as_str(), response.interim.len()), ("done", 0));
}

#[test]
fn a_100_that_the_client_did_not_ask_for_is_left_out() {
    let origin = origin(true);
    let weir = Config::forwarding(origin.url()).start();
    let response = weir.request("POST", "/", &[], b"hello");
    assert_eq!((response.text().as_str(), response.interim.len()), ("hello", 0));
}

#[test]
fn a_final_answer_comes_without_the_body_and_ends_the_connection() {
    let origin = Origin::scripted(|mut conn, _| {
        if conn.request_head().is_some() {
            conn.send(answer(403, &[], "not you"));
            conn.ended();
        }
    });
    let weir = Config::forwarding(origin.url()).tables("[timeouts]\nexpect = \"60s\"").start();
    let mut client = ask(&weir, "100-continue");
    let response = client.response_to("POST");
    assert_eq!((response.status, response.interim.len()), (403, 0));
    assert!(response.fields.names("connection", "close"), "what follows may be the body or a request");
    client.half_close();
    assert_eq!(client.ended(), Ended::Closed);
    assert_eq!(origin.last().body, b"", "no body went up");
}

#[test]
fn weirs_own_refusal_comes_before_the_body() {
    let origin = origin(true);
    let weir = Config::forwarding(origin.url()).tables("[limits]\nbody_max = \"1KiB\"").start();
    let mut client = weir.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n");
    let response = client.response_to("POST");
    assert_eq!((response.status, response.interim.len()), (413, 0), "{}", response.text());
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn a_client_that_does_not_wait_is_served_too() {
    let origin = origin(false);
    let weir = Config::forwarding(origin.url()).tables("[timeouts]\nexpect = \"60s\"").start();
    let mut client = ask(&weir, "100-continue");
    client.write("hello");
    let response = client.response_to("POST");
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
}

#[test]
fn another_expectation_is_417() {
    let origin = origin(true);
    let weir = Config::forwarding(origin.url()).start();
    for expect in ["tea", "100-continue, tea", "200-ok"] {
        let response = ask(&weir, expect).response_to("POST");
        assert_eq!(response.status, 417, "{expect}: {}", response.text());
        assert!(response.text().contains("expectation_failed"), "{}", response.text());
    }
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn http_1_0_has_no_100() {
    let origin = origin(true);
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    client.write("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello");
    let response = client.response_to("POST");
    assert_eq!((response.text().as_str(), response.interim.len()), ("hello", 0));
}
