//! Every pair of protocols: clients over HTTP/1 and HTTP/2, with and without TLS, before origins over HTTP/1 and
//! HTTP/2, with and without TLS. Each exchange must come through each of the sixteen cells the same.

#[path = "matrix/cell.rs"]
mod cell;
#[path = "matrix/client.rs"]
mod client;
#[path = "matrix/origin.rs"]
mod origin;

use std::time::Duration;

use cell::each;
use client::Ask;
use weir_tests::{Ended, wait};

const BODIES: [usize; 5] = [0, 1, 16_384, 65_537, 300_000];

fn octets(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

#[test]
fn bodies_come_through_whole_with_and_without_a_length() {
    each(|cell| {
        let mut client = cell.client();
        for size in BODIES {
            for known in [true, false] {
                let answer = client.ask(Ask::post("/echo").body(octets(size), known));
                assert_eq!(answer.status, 200, "{cell:?}, {size} octets: {answer:?}");
                assert!(answer.body == octets(size), "{cell:?}: {size} octets came back changed");
                let seen = cell.origin.last();
                let length = seen.fields.first("content-length").map(str::to_owned);
                let expected = (known && size > 0).then(|| size.to_string());
                assert!(length == expected || size == 0, "{cell:?}: {length:?} instead of {expected:?}");
            }
        }
    });
}

#[test]
fn what_the_origin_is_told_of_the_client_is_the_same() {
    each(|cell| {
        let answer = cell.client().ask(Ask::get("/seen?a=b%20c").field("x-own", "Value").field("cookie", "a=1; b=2"));
        assert_eq!(answer.status, 200, "{cell:?}");
        let seen = cell.origin.last();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/seen?a=b%20c"), "{cell:?}");
        let field = |name| seen.fields.first(name).unwrap_or_default();
        let scheme = if cell.front.is_secured() { "https" } else { "http" };
        assert_eq!((field("x-forwarded-proto"), field("x-forwarded-for")), (scheme, "127.0.0.1"), "{cell:?}");
        assert_eq!((field("x-forwarded-host"), field("x-own"), field("cookie")), ("test", "Value", "a=1; b=2"));
        assert!(field("via").ends_with("weir") && !field("x-request-id").is_empty(), "{cell:?}: {seen:?}");
        assert!(seen.fields.first("te").is_none_or(|te| te == "trailers"), "{cell:?}");
        let line = cell.weir.wait_log("the request", |line| line["path"] == "/seen");
        assert_eq!(line["http_version"], if cell.front.is_h2() { "2" } else { "1.1" }, "{cell:?}");
        assert_eq!(line["reason"], "ok");
    });
}

#[test]
fn statuses_without_a_body_have_none() {
    each(|cell| {
        let mut client = cell.client();
        for status in [204, 304, 200, 404, 500] {
            let answer = client.ask(Ask::get(&format!("/status/{status}")));
            assert_eq!((answer.status, answer.body.len()), (status, 0), "{cell:?}");
        }
        let head = client.ask(Ask::new("HEAD", "/large"));
        assert_eq!((head.status, head.body.len()), (200, 0), "{cell:?}");
        assert_eq!(head.fields.first("content-length"), Some("300000"), "{cell:?}");
        assert_eq!(client.ask(Ask::get("/large")).body.len(), 300_000, "{cell:?}");
    });
}

#[test]
fn trailers_come_through_both_ways() {
    each(|cell| {
        let ask = Ask::post("/trailers").body(b"body".to_vec(), false).trailer("x-up", "1").field("te", "trailers");
        let answer = cell.client().ask(ask);
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"body"[..]), "{cell:?}");
        assert_eq!(answer.trailers.first("x-down"), Some("2"), "{cell:?}: {answer:?}");
        assert_eq!(cell.origin.last().trailers.first("x-up"), Some("1"), "{cell:?}");
    });
}

#[test]
fn interim_responses_come_before_the_final_one() {
    each(|cell| {
        let answer = cell.client().ask(Ask::get("/early"));
        assert_eq!((answer.status, answer.interim.len()), (200, 1), "{cell:?}: {answer:?}");
        assert_eq!(answer.interim[0].first("link"), Some("</style.css>; rel=preload"), "{cell:?}");
    });
}

#[test]
fn a_cut_response_never_ends_well() {
    each(|cell| {
        let mut client = cell.client();
        let cut = client.try_ask(Ask::get("/cut"));
        assert!(cut.is_none(), "{cell:?}: a cut response came whole: {cut:?}");
        cell.weir.wait_reason("upstream_body_truncated", 1);
        assert_eq!(cell.client().ask(Ask::get("/")).status, 200, "{cell:?}");
    });
}

#[test]
fn a_client_that_goes_is_told_upstream() {
    each(|cell| {
        let mut client = cell.client();
        client.send(Ask::get("/held"));
        cell.origin.wait_requests(1);
        // A FIN alone is no cancellation in HTTP/1.
        client.reset();
        cell.weir.wait_reason("client_cancelled", 1);
        wait::until("nothing is left upstream", || cell.cancelled() == 1);
    });
}

#[test]
fn many_at_once_are_all_answered() {
    each(|cell| {
        std::thread::scope(|scope| {
            for client in 0..4 {
                let mut asking = cell.client();
                scope.spawn(move || {
                    for n in 0..25 {
                        let body = octets(1000 * client + n);
                        let answer = asking.ask(Ask::post("/echo").body(body.clone(), true));
                        assert!(answer.status == 200 && answer.body == body);
                    }
                });
            }
        });
        wait::until("all are booked", || cell.weir.reason("ok") == 100);
        assert_eq!(cell.origin.malformed(), [""; 0], "{cell:?}");
    });
}

#[test]
fn websockets_talk_through_every_cell() {
    each(|cell| {
        let mut socket = cell.websocket();
        for word in ["hello", "again", "third"] {
            socket.say(word);
            assert_eq!(socket.hear(word.len()), word.to_uppercase(), "{cell:?}");
        }
        socket.end();
        cell.weir.wait_log("the tunnel", |line| line["path"] == "/chat" && line["reason"] == "ok");
        wait::until("the origin's side ends", || cell.talking() == 0);
    });
}

#[test]
fn websockets_survive_a_reload() {
    each(|cell| {
        let mut socket = cell.websocket();
        socket.say("before");
        assert_eq!(socket.hear(6), "BEFORE");
        cell.weir.reload(|config| config.tables("[limits]\nquery_pairs_max = 200"));
        socket.say("later");
        assert_eq!(socket.hear(5), "LATER", "{cell:?}");
    });
}

#[test]
fn a_drain_lets_every_exchange_finish() {
    each(|cell| {
        let mut client = cell.client();
        assert_eq!(client.ask(Ask::get("/")).status, 200);
        client.send(Ask::get("/held"));
        cell.origin.wait_requests(2);
        cell.weir.signal(rustix::process::Signal::TERM);
        wait::until("the drain begins", || !cell.weir.is_ready());
        cell.gate.open();
        assert_eq!(client.answer("GET").map(|answer| answer.status), Some(200), "{cell:?}");
        assert_eq!(client.ended(), Ended::Closed, "{cell:?}");
        let exit = cell.weir.wait_end(Duration::from_secs(20));
        assert_eq!(exit.code, Some(0), "{cell:?}: {}", exit.stderr);
    });
}
