//! Retries: what may be repeated is, where it may, as often as it may, and nothing else.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use weir_tests::origin::{answer, ok};
use weir_tests::{Config, Origin, Weir};

/// An origin that reads each request and closes.
fn closing() -> Origin {
    Origin::scripted(|mut conn, _| {
        conn.request();
        conn.close();
    })
}

/// weir with one route to these URLs, in turn, and these tables.
fn over(urls: &[&str], tables: &str) -> Weir {
    Config::new().route(1, "path_prefix = \"/\"", urls).tables(tables).start()
}

fn retries(weir: &Weir) -> usize {
    weir.metrics().sum("weir_retries_total", &[]) as usize
}

/// No bound but `attempts`.
const FREELY: &str = "[retry]\nbudget = 100\n";

/// Sends requests; their statuses in order of size.
fn statuses(weir: &Weir, method: &str, body: &[u8], times: usize) -> Vec<u16> {
    let mut statuses: Vec<u16> = (0..times).map(|_| weir.request(method, "/", &[], body).status).collect();
    statuses.sort_unstable();
    statuses
}

#[test]
fn an_idempotent_request_is_repeated_elsewhere_and_a_post_is_not() {
    let (bad, good) = (closing(), Origin::ok("good"));
    let weir = over(&[&bad.url(), &good.url()], FREELY);
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        assert_eq!(statuses(&weir, method, b"", 2), [200, 200], "{method}");
    }
    let tried = bad.requests().len();
    assert!(tried >= 4, "the bad origin was met {tried} times");
    assert_eq!(retries(&weir), tried, "each failed try was repeated once");
    assert_eq!(statuses(&weir, "POST", b"once", 2), [200, 502]);
    assert_eq!((bad.requests().len(), retries(&weir)), (tried + 1, tried));
    assert_eq!(weir.reason("upstream_closed"), 1);
}

#[test]
fn a_post_is_repeated_where_the_document_says_so_with_its_body() {
    let (bad, good) = (closing(), Origin::echo());
    let weir = over(&[&bad.url(), &good.url()], "[retry]\nnon_idempotent = true");
    for _ in 0..2 {
        assert_eq!(weir.request("POST", "/", &[], b"the whole body").text(), "the whole body");
    }
    assert_eq!(bad.last().body, b"the whole body");
    assert_eq!(retries(&weir), bad.requests().len());
}

#[test]
fn a_chunked_body_is_repeated_whole() {
    let (bad, good) = (closing(), Origin::echo());
    let weir = over(&[&bad.url(), &good.url()], "");
    for _ in 0..2 {
        let mut client = weir.client();
        client.write("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        assert_eq!(client.response_to("PUT").text(), "abcde");
    }
    assert_eq!(bad.last().body, b"abcde");
}

#[test]
fn a_body_larger_than_is_kept_is_not_repeated() {
    let (bad, good) = (closing(), Origin::echo());
    let weir = over(&[&bad.url(), &good.url()], "[retry]\nbody_max = \"1KiB\"");
    assert_eq!(statuses(&weir, "PUT", &[b'k'; 1024], 2), [200, 200]);
    let made = retries(&weir);
    assert!(made > 0 && made == bad.requests().len());
    assert_eq!(statuses(&weir, "PUT", &[b'l'; 1025], 2), [200, 502]);
    assert_eq!(retries(&weir), made);
}

#[test]
fn a_refused_connection_is_safe_to_repeat_for_any_method() {
    let refusing = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address");
    let good = Origin::echo();
    let weir = over(&[&format!("http://{refusing}"), &good.url()], "");
    for _ in 0..2 {
        assert_eq!(weir.request("POST", "/", &[], b"body").text(), "body");
    }
    assert!(retries(&weir) > 0);
    assert_eq!(good.requests().len(), 2);
}

#[test]
fn attempts_bound_the_further_tries() {
    for attempts in [0, 1, 2, 3] {
        let origin = closing();
        let weir = over(&[&origin.url()], &format!("[retry]\nattempts = {attempts}\nbackoff = \"1ms\""));
        assert_eq!(weir.get("/").status, 502);
        assert_eq!(origin.accepted(), attempts + 1);
        assert_eq!(retries(&weir), attempts);
        let line = weir.wait_log("the request", |line| line["status"] == 502);
        assert_eq!(line["attempts"], attempts + 1, "{line}");
    }
}

#[test]
fn each_target_is_tried_before_one_is_tried_again() {
    let (one, two, good) = (closing(), closing(), Origin::ok("good"));
    let weir = over(&[&one.url(), &two.url(), &good.url()], "[retry]\nattempts = 2");
    assert_eq!(weir.get("/").status, 200);
    assert_eq!((one.accepted(), two.accepted(), good.accepted()), (1, 1, 1));
}

#[test]
fn a_routes_own_rules_hold_for_it() {
    let (bad, good) = (closing(), Origin::ok("good"));
    let weir = Config::new()
        .route(1, "path_prefix = \"/none\"", &[&bad.url(), &good.url()])
        .with("[route.retry]\nattempts = 0")
        .route(2, "path_prefix = \"/\"", &[&bad.url(), &good.url()])
        .start();
    let mut without: Vec<u16> = (0..2).map(|_| weir.get("/none").status).collect();
    without.sort_unstable();
    assert_eq!(without, [200, 502]);
    assert_eq!(statuses(&weir, "GET", b"", 2), [200, 200]);
}

#[test]
fn a_status_counts_as_failed_where_it_is_listed() {
    let (bad, good) = (Origin::answering(answer(503, &[], "ill")), Origin::ok("good"));
    let weir = over(&[&bad.url(), &good.url()], "[retry]\nstatuses = [503]");
    assert_eq!(statuses(&weir, "GET", b"", 2), [200, 200]);
    assert_eq!(statuses(&weir, "POST", b"x", 2), [200, 503], "a POST may have been processed");
    let plain = over(&[&bad.url(), &good.url()], "");
    assert_eq!(statuses(&plain, "GET", b"", 2), [200, 503]);
}

#[test]
fn the_last_failure_is_the_answer() {
    let bad = Origin::answering(answer(503, &[("X-From", "origin")], "ill"));
    let weir = over(&[&bad.url()], "[retry]\nstatuses = [503]\nattempts = 2\nbackoff = \"1ms\"");
    let response = weir.get("/");
    assert_eq!((response.status, response.text().as_str()), (503, "ill"));
    assert_eq!(response.fields.first("x-from"), Some("origin"));
    assert_eq!(bad.requests().len(), 3);
}

#[test]
fn nothing_is_repeated_once_the_client_has_an_octet() {
    let origin = Origin::scripted(|mut conn, _| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            conn.close();
        }
    });
    let weir = over(&[&origin.url()], "[retry]\nattempts = 3");
    let mut client = weir.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.try_response("GET").is_err());
    weir.wait_reason("upstream_body_truncated", 1);
    assert_eq!(origin.accepted(), 1);
}

/// An origin of whose requests three in ten are answered 503, evenly strewn.
fn ill(seen: &Arc<AtomicUsize>) -> Origin {
    let seen = seen.clone();
    Origin::scripted(move |mut conn, _| {
        while conn.request().is_some() {
            let n = seen.fetch_add(1, Ordering::SeqCst);
            let sent = if n * 7 % 10 < 3 { conn.send(answer(503, &[], "ill")) } else { conn.send(ok("good")) };
            if !sent {
                return;
            }
        }
    })
}

/// Sends requests; the retries that they took, and how many failed all the same.
fn spend(budget: u32, requests: usize) -> (usize, usize, f64) {
    let seen = Arc::new(AtomicUsize::new(0));
    let origin = ill(&seen);
    let retry = format!("[retry]\nattempts = 1\nstatuses = [503]\nbackoff = \"1ms\"\nbudget = {budget}");
    let weir = over(&[&origin.url()], &retry);
    let began = Instant::now();
    let mut client = weir.client();
    let ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let failed = (0..requests).filter(|_| client.exchange(ask).status == 503).count();
    let tries = seen.load(Ordering::SeqCst);
    assert_eq!(tries - requests, retries(&weir), "what is counted is what the origin met");
    if budget < 20 {
        assert!(weir.metrics().sum("weir_limit_hits_total", &["limit=\"retry_budget\""]) > 0.0);
    }
    (tries - requests, failed, began.elapsed().as_secs_f64())
}

#[test]
fn with_three_in_ten_failing_retries_stay_within_the_budget() {
    const REQUESTS: usize = 1000;
    let (made, failed, seconds) = spend(5, REQUESTS);
    // Three a second are free; the first second may be a part of one.
    let most = REQUESTS * 5 / 100 + 3 * (seconds.ceil() as usize + 1);
    assert!(made <= most, "{made} retries in {seconds} s, with {most} allowed");
    assert!(made >= REQUESTS * 4 / 100, "{made} retries: the budget was not used");
    assert!(failed > REQUESTS / 10, "{failed} failed: the budget did not hold");
    let (made, failed, _) = spend(100, REQUESTS);
    assert!(made > REQUESTS / 4, "{made} retries without a budget");
    assert!(failed < REQUESTS * 15 / 100, "{failed} failed in spite of retries");
}
