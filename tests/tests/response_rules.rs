//! Response framing: what an origin may not send is a 502, never passed on; what it may send arrives the same however
//! it is cut.

use weir_tests::spelling::{self, Spelling};
use weir_tests::{Config, Ended, Origin};

/// An origin that answers each connection with these octets in the spelling of the connection's number, and closes.
fn spelled(bytes: &[u8]) -> (Origin, usize) {
    let bytes = bytes.to_vec();
    let ways: Vec<Spelling> = spelling::all(bytes.len());
    let count = ways.len();
    let origin = Origin::scripted(move |mut conn, number| {
        if conn.request().is_some() {
            let segments = ways[number % ways.len()].segments(&bytes);
            conn.send_parts(segments.iter().map(Vec::as_slice));
            conn.close();
        }
    });
    (origin, count)
}

fn bad(bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    let (origin, ways) = spelled(bytes);
    let weir = Config::forwarding(origin.url()).tables("[retry]\nattempts = 0").start();
    for _ in 0..ways {
        let response = weir.request("POST", "/", &[], b"x");
        let shown = bytes.escape_ascii().to_string();
        assert_eq!(response.status, 502, "{shown}: {}", response.text());
        assert!(response.text().contains("upstream_bad_response"), "{shown}: {}", response.text());
    }
    weir.wait_reason("upstream_bad_response", ways as u64);
}

#[test]
fn a_bad_status_line_is_502() {
    for line in ["HTTP/1.1 99 x", "HTTP/1.1 600 x", "HTTP/1.1 20 x", "HTTP/1.1 2x0 x", "HTTP/2.0 200 x", "ICY 200 OK"] {
        bad(format!("{line}\r\nContent-Length: 0\r\n\r\n"));
    }
}

#[test]
fn bad_lines_and_fields_are_502() {
    for head in [
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: \x01\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: \0\r\nContent-Length: 0\r\n\r\n",
    ] {
        bad(head);
    }
}

#[test]
fn bad_lengths_are_502() {
    for lines in [
        "Content-Length: +1",
        "Content-Length: 1, 2",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, chunked",
    ] {
        bad(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nx"));
    }
}

#[test]
fn a_head_without_end_is_502() {
    bad(format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "v".repeat(70 << 10)));
    let fields: String = (0..300).map(|n| format!("h{n}: v\r\n")).collect();
    bad(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n"));
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(9);
    bad(format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
}

fn good(bytes: &str, body: &str) {
    let (origin, ways) = spelled(bytes.as_bytes());
    let weir = Config::forwarding(origin.url()).start();
    for way in 0..ways {
        let response = weir.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, body), "way {way} of {bytes:?}");
    }
}

#[test]
fn good_responses_arrive_however_they_are_cut() {
    good("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello");
    good("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", "hello");
    good("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nT: v\r\n\r\n", "hello");
    good("HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end");
    good("HTTP/1.0 200 OK\r\n\r\nuntil the end", "until the end");
    good("HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "");
}

#[test]
fn a_cut_body_never_ends_cleanly() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let origin = Origin::scripted(move |mut conn, _| {
            conn.request();
            conn.send(bytes);
            conn.close();
        });
        let weir = Config::forwarding(origin.url()).start();
        let mut client = weir.client();
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let outcome = client.try_response("GET");
        assert!(outcome.is_err(), "{bytes:?} became whole: {outcome:?}");
        weir.wait_reason("upstream_body_truncated", 1);
    }
}

#[test]
fn octets_past_the_end_are_in_no_response_and_counted() {
    let origin = Origin::scripted(|mut conn, _| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        }
    });
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    for _ in 0..10 {
        assert_eq!(client.exchange("GET / HTTP/1.1\r\nHost: a\r\n\r\n").text(), "ok");
    }
    assert_eq!(origin.accepted(), 10, "a connection with a surplus was used again");
    // Counted once the response is out, so perhaps a moment after the client has it.
    weir_tests::wait::until("each surplus is counted", || {
        weir.metrics().sum("weir_upstream_unexpected_data_total", &[]) >= 10.0
    });
}

#[test]
fn octets_on_an_idle_upstream_connection_are_in_no_response_and_counted() {
    let gate = weir_tests::Gate::new();
    let held = gate.clone();
    let origin = Origin::scripted(move |mut conn, number| {
        while conn.request().is_some() {
            conn.send(weir_tests::origin::ok("ok"));
            if number == 0 {
                held.pass();
                conn.send(weir_tests::origin::ok("evil"));
            }
        }
    });
    let weir = Config::forwarding(origin.url()).start();
    assert_eq!(weir.get("/").text(), "ok");
    gate.open();
    weir_tests::wait::until("the surplus is counted", || {
        weir.metrics().sum("weir_upstream_unexpected_data_total", &[]) >= 1.0
    });
    assert_eq!(weir.get("/").text(), "ok");
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn responses_without_a_body_have_none() {
    let origin = Origin::scripted(|mut conn, _| {
        while let Some(request) = conn.request() {
            conn.send(match request.target.as_str() {
                "/204" => &b"HTTP/1.1 204 No Content\r\n\r\n"[..],
                "/304" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
            });
        }
    });
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    for (method, path, status) in [("GET", "/204", 204), ("GET", "/304", 304), ("HEAD", "/", 200), ("GET", "/204", 204)]
    {
        client.write(weir_tests::exchange::bytes(method, path, &[], b""));
        let response = client.response_to(method);
        assert_eq!((response.status, response.body.len()), (status, 0));
    }
    assert_eq!(origin.accepted(), 1, "the upstream connection was kept");
}

#[test]
fn http_1_0_clients_get_no_chunks_and_no_interim() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    let response = client.exchange("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((response.text().as_str(), response.interim.len()), ("hello", 0));
    assert_eq!(response.fields.first("transfer-encoding"), None);
    assert_eq!(client.ended(), Ended::Closed);
}
