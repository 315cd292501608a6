//! The edges of an exchange: second tries, slow bodies, responses that are cut, what follows the last request.

use std::time::{Duration, Instant};

use weir_tests::exchange::{bytes, get};
use weir_tests::origin::ok;
use weir_tests::ports::Port;
use weir_tests::{Client, Config, Ended, Origin, wait};

const CHUNKED_PUT: &[u8] = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";

#[test]
fn an_empty_chunked_body_ends_on_the_second_try_too() {
    let origin = Origin::scripted(|mut conn, number| {
        if conn.request().is_some() && number > 0 {
            conn.send(ok("second"));
            conn.ended();
        }
    });
    let weir = Config::forwarding(origin.url()).start();
    assert_eq!(weir.client().exchange(CHUNKED_PUT).text(), "second");
}

#[test]
fn no_try_follows_an_interim_response_that_the_client_has_seen() {
    let origin = Origin::scripted(|mut conn, _| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        }
    });
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    client.write(bytes("GET", "/", &[], b""));
    assert_eq!(client.head().status, 103);
    assert_eq!(client.response().status, 502);
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_timeout_on_a_reused_connection_is_no_stale_connection() {
    let origin = Origin::scripted(|mut conn, _| {
        if conn.request().is_some() {
            conn.send(ok("first"));
        }
        while conn.request().is_some() {}
    });
    let weir = Config::forwarding(origin.url())
        .tables("[retry]\nattempts = 0\n[timeouts]\nresponse_header = \"300ms\"")
        .start();
    assert_eq!(weir.get("/").status, 200);
    assert_eq!(weir.get("/").status, 504);
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn a_body_of_an_octet_now_and_then_is_stalled_after_ten_seconds() {
    let origin = Origin::scripted(|mut conn, _| {
        conn.request();
    });
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    let began = Instant::now();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    while client.silent_for(Duration::from_millis(500)) && client.try_write(b"x").is_ok() {
        assert!(began.elapsed() < Duration::from_secs(15), "the drip goes on");
    }
    assert_eq!(client.response().status, 408);
    weir.wait_reason("request_body_timeout", 1);
}

#[test]
fn the_end_of_an_upload_does_not_shorten_the_download() {
    let origin = Origin::scripted(|mut conn, _| {
        let Some(mut request) = conn.request_head() else { return };
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
        assert!(conn.body(&mut request));
        // Longer than the head may take, and not as long as the body may be silent.
        assert!(conn.silent_for(Duration::from_millis(900)));
        conn.send("cd");
        conn.ended();
    });
    let weir =
        Config::forwarding(origin.url()).tables("[timeouts]\nresponse_header = \"300ms\"\nread = \"30s\"").start();
    let mut client = weir.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabcde");
    assert_eq!(client.head().status, 200);
    client.write("fghij");
    assert_eq!(client.take(4), b"abcd");
}

#[test]
fn a_cut_response_without_a_length_ends_by_a_reset_beside_an_unread_body() {
    let origin = Origin::scripted(|mut conn, _| {
        conn.request_head();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    });
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    client.write("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 100000\r\n\r\nab");
    assert_eq!(client.drain().1, Ended::Reset);
}

#[test]
fn requests_behind_the_last_one_do_not_reset_its_response() {
    let body = "x".repeat(300_000);
    let origin = Origin::ok(&body);
    let weir = Config::forwarding(origin.url()).tables("[limits]\nrequests_per_connection = 1").start();
    let mut client = weir.client();
    client.write(bytes("GET", "/", &[], b"").repeat(3));
    assert_eq!(client.head().status, 200);
    let _ = client.try_write(&bytes("GET", "/", &[], b"").repeat(2_000));
    assert_eq!(client.take(body.len()), body.as_bytes());
    assert_eq!(client.ended(), Ended::Closed);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn trailers_go_only_to_who_takes_them() {
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-T: 1\r\n\r\n");
    let weir = Config::forwarding(origin.url()).start();
    let ends = |fields: &[(&str, &str)]| {
        let mut client = weir.client();
        client.write(bytes("GET", "/", fields, b""));
        client.drain().0
    };
    assert!(ends(&[("Connection", "close")]).ends_with(b"\r\n0\r\n\r\n"));
    assert!(ends(&[("Connection", "close, TE"), ("TE", "trailers")]).ends_with(b"\r\n0\r\nX-T: 1\r\n\r\n"));
}

#[test]
fn an_event_stream_may_be_silent_for_longer_than_a_body() {
    let origin = Origin::scripted(|mut conn, _| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:a\n\n");
        conn.silent_for(Duration::from_millis(900));
        conn.send(":b\n\n");
    });
    let weir = Config::forwarding(origin.url()).tables("[timeouts]\nread = \"300ms\"").start();
    assert_eq!(get(weir.web(), "/").text(), ":a\n\n:b\n\n");
}

#[test]
fn clients_of_a_removed_listener_finish_as_they_began() {
    let origin = Origin::ok("x");
    let mut weir = Config::forwarding(origin.url()).start();
    let (plain, more) = (weir.text(), Port::reserve());
    let listener = format!(
        "[[listener]]\nname = \"more\"\nbind = \"{}\"\n[[route]]\nid = 9\nlistener = \"more\"\npath_prefix = \"/\"\n\
         [[route.target]]\nurl = \"{}\"",
        more.address(),
        origin.url()
    );
    weir.reload(|config| config.tables(&listener));
    let (mut new, mut kept, mut within) =
        (Client::connect(more.address()), Client::connect(more.address()), Client::connect(more.address()));
    assert_eq!(kept.exchange(bytes("GET", "/", &[], b"")).status, 200);
    within.write("GET / HTTP/1.1\r\nHo");
    weir.reload_text(&plain);
    // At first it does not even refuse: connections that have begun are accepted before it closes.
    let soon = Duration::from_millis(20);
    let connects = || std::net::TcpStream::connect_timeout(&more.address(), soon).is_ok();
    wait::until("the removed listener takes nobody", || !connects());
    for (client, octets) in [
        (&mut within, &b"st: a\r\n\r\n"[..]),
        (&mut kept, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (&mut new, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        let response = client.exchange(octets);
        assert_eq!(response.status, 200);
        assert!(response.fields.names("connection", "close"));
        assert_eq!(client.ended(), Ended::Closed);
    }
}
