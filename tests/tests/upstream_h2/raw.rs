//! Peers that no codec would be: frames written by hand, at the wrong time, or not at all.

use std::time::{Duration, Instant};

use weir_tests::script::Conn;
use weir_tests::{Config, Origin};

use crate::to;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` of the static table (RFC 7541 appendix A).
const OK: &[u8] = &[0x88];

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn next(conn: &mut Conn) -> Option<Frame> {
    let head = conn.take(9)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], flags: head[4], stream, payload: conn.take(length)? })
}

/// Takes the preface, and says these SETTINGS.
fn begin(conn: &mut Conn, settings: &[u8]) -> bool {
    conn.take(24).is_some_and(|preface| preface.starts_with(b"PRI * HTTP/2.0"))
        && conn.send(frame(SETTINGS, 0, 0, settings))
}

/// The stream of the next request; SETTINGS and PING on the way are acknowledged.
fn request(conn: &mut Conn) -> Option<u32> {
    loop {
        let Frame { kind, flags, stream, payload } = next(conn)?;
        match kind {
            HEADERS => return Some(stream),
            SETTINGS | PING if flags & ACK == 0 => {
                conn.send(frame(kind, ACK, 0, if kind == PING { &payload } else { b"" }));
            }
            _ => {}
        }
    }
}

/// Answers what comes from now on.
fn serve(conn: &mut Conn) {
    while let Some(stream) = request(conn) {
        conn.send([frame(HEADERS, END_HEADERS, stream, OK), frame(DATA, END_STREAM, stream, b"good")].concat());
    }
}

/// An origin whose first connection does this with its first request, and whose others are as they should be.
fn first(what: impl Fn(&mut Conn, u32) + Send + Sync + 'static) -> Origin {
    Origin::scripted(move |mut conn, number| {
        if !begin(&mut conn, b"") {
            return;
        }
        if number == 0
            && let Some(stream) = request(&mut conn)
        {
            what(&mut conn, stream);
        }
        serve(&mut conn);
    })
}

fn once(url: String) -> Config {
    to(url).tables("[retry]\nattempts = 0")
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

#[test]
fn what_stands_above_a_goaway_is_tried_again_whatever_its_method() {
    let origin = first(|conn, _| {
        conn.send(goaway(0, 0));
    });
    let weir = to(origin.url()).start();
    assert_eq!(weir.request("POST", "/", &[], b"body").text(), "good");
    assert_eq!(origin.accepted(), 2);
    assert_eq!(weir.metrics().sum("weir_retries_total", &[]), 1.0);

    let origin = first(|conn, _| {
        conn.send(goaway(0, 11));
    });
    let weir = once(origin.url()).start();
    assert_eq!(weir.request("POST", "/", &[], b"body").status, 502);
    weir.wait_reason("upstream_refused", 1);
}

#[test]
fn what_stands_below_a_goaway_is_answered() {
    let origin = first(|conn, stream| {
        conn.send(goaway(stream, 0));
        conn.send([frame(HEADERS, END_HEADERS, stream, OK), frame(DATA, END_STREAM, stream, b"last")].concat());
    });
    let weir = once(origin.url()).start();
    assert_eq!(weir.get("/").text(), "last");
    assert_eq!(weir.get("/").text(), "good");
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn what_stands_below_a_goaway_and_is_cut_is_not_refused() {
    let origin = first(|conn, stream| {
        conn.send(goaway(stream, 2));
        conn.half_close();
        conn.ended();
    });
    let weir = once(origin.url()).start();
    assert_eq!(weir.request("POST", "/", &[], b"body").status, 502);
    weir.wait_reason("upstream_closed", 1);
    assert_eq!(weir.reason("upstream_refused"), 0);
}

#[test]
fn a_peer_that_answers_no_ping_is_dead() {
    let origin = Origin::scripted(|mut conn, number| {
        if !begin(&mut conn, b"") {
            return;
        }
        if number == 0 {
            let Some(_) = request(&mut conn) else { return };
            while next(&mut conn).is_some() {}
            return;
        }
        serve(&mut conn);
    });
    let weir = once(origin.url()).start();
    let mut client = weir.client();
    client.patience(Duration::from_secs(60));
    let began = Instant::now();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response_to("POST").status, 502);
    let took = began.elapsed().as_secs_f64();
    assert!((34.0..45.0).contains(&took), "asked after 30 s, given up after 5 more, not after {took}");
    weir.wait_reason("upstream_closed", 1);
    assert_eq!(weir.get("/").text(), "good");
}

#[test]
fn a_peer_that_answers_pings_may_take_its_time() {
    let origin = first(|conn, stream| {
        let began = Instant::now();
        loop {
            let Some(Frame { kind, payload, .. }) = next(conn) else { return };
            if kind == PING {
                conn.send(frame(PING, ACK, 0, &payload));
                assert!(began.elapsed() >= Duration::from_secs(25), "not so often");
                break;
            }
        }
        std::thread::sleep(Duration::from_secs(6));
        conn.send([frame(HEADERS, END_HEADERS, stream, OK), frame(DATA, END_STREAM, stream, b"late")].concat());
    });
    let weir = once(origin.url()).start();
    let mut client = weir.client();
    client.patience(Duration::from_secs(60));
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().text(), "late");
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_response_against_the_protocol_is_bad() {
    let literal = |name: &str, value: &str| {
        let len = |text: &str| u8::try_from(text.len()).expect("short");
        [&[0, len(name)], name.as_bytes(), &[len(value)], value.as_bytes()].concat()
    };
    let heads = [
        ("no status", literal("x", "y")),
        ("a field of the connection", [OK, &literal("connection", "close")].concat()),
        ("a name in capitals", [OK, &literal("X-Up", "1")].concat()),
        ("a status that is none", literal(":status", "600")),
        ("a control octet", [OK, &literal("x", "a\u{1}b")].concat()),
        ("lengths that differ", [OK, &literal("content-length", "1"), &literal("content-length", "2")].concat()),
    ];
    for (what, head) in heads {
        let origin = first(move |conn, stream| {
            conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
        });
        let weir = to(origin.url()).start();
        assert_eq!(weir.get("/").status, 502, "{what}");
        weir.wait_reason("upstream_bad_response", 1);
        assert_eq!(weir.get("/").text(), "good", "{what}");
    }
}

#[test]
fn a_101_that_http2_has_no_place_for_is_no_upgrade() {
    let origin = first(|conn, stream| {
        conn.send(frame(HEADERS, END_HEADERS, stream, &[0x08, 3, b'1', b'0', b'1']));
    });
    let weir = once(origin.url()).start();
    assert_eq!(weir.get("/").status, 502);
    weir.wait_reason("upstream_bad_upgrade", 1);
    assert_eq!(weir.get("/").text(), "good");
}

#[test]
fn frames_against_the_protocol_end_the_connection() {
    let wrongs = [
        ("DATA before HEADERS", frame(DATA, END_STREAM, 1, b"x")),
        ("a push that was not allowed", frame(PUSH_PROMISE, END_HEADERS, 1, &[[0, 0, 0, 2].as_slice(), OK].concat())),
        ("a frame longer than allowed", [&[0xff, 0xff, 0xff, DATA, 0][..], &1_u32.to_be_bytes()].concat()),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, b"")),
        ("no HTTP/2 at all", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()),
    ];
    for (what, wrong) in wrongs {
        let origin = first(move |conn, _| {
            conn.send(&wrong);
        });
        let weir = once(origin.url()).start();
        assert_eq!(weir.get("/").status, 502, "{what}");
        weir.wait_reason("upstream_bad_response", 1);
        assert_eq!(weir.get("/").text(), "good", "{what}");
    }
}

#[test]
fn a_head_that_is_too_large_is_bad_and_costs_no_memory() {
    let origin = first(|conn, stream| {
        // A value of the dynamic table, again and again (an HPACK bomb).
        let mut block = vec![0x88, 0x40, 1, b'x', 0x7f, 0x81, 0x1e];
        block.extend_from_slice(&[b'v'; 4000]);
        block.extend_from_slice(&[0xbe; 12_000]);
        conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
    });
    let weir = once(origin.url()).start();
    assert_eq!(weir.get("/").status, 502);
    weir.wait_reason("upstream_bad_response", 1);
    assert!(weir.process().peak_bytes() < 300 << 20);
    assert_eq!(weir.get("/").text(), "good");
}

#[test]
fn nine_interim_responses_are_too_many() {
    let origin = first(|conn, stream| {
        let interim = frame(HEADERS, END_HEADERS, stream, &[0x08, 3, b'1', b'0', b'3']);
        conn.send(interim.repeat(9));
        conn.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, OK));
    });
    let weir = once(origin.url()).start();
    let mut client = weir.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 502);
    weir.wait_reason("upstream_bad_response", 1);
}

#[test]
fn a_stream_that_is_given_up_is_cancelled_and_what_still_comes_for_it_is_ignored() {
    let origin = first(|conn, stream| {
        conn.send(frame(HEADERS, END_HEADERS, stream, OK));
        conn.send(frame(DATA, 0, stream, b"first"));
        loop {
            let Some(Frame { kind, payload, .. }) = next(conn) else { return };
            if kind == RST_STREAM {
                assert_eq!(payload, 8_u32.to_be_bytes(), "CANCEL");
                break;
            }
        }
        conn.send(frame(DATA, 0, stream, &[b'x'; 1000]));
        conn.send(frame(DATA, END_STREAM, stream, b"late"));
    });
    let weir = once(origin.url()).start();
    let mut client = weir.client();
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.head().status, 200);
    client.reset();
    weir.wait_reason("client_cancelled", 1);
    assert_eq!(weir.get("/").text(), "good");
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn frames_may_come_in_any_pieces() {
    let origin = first(|conn, stream| {
        let all = [frame(HEADERS, END_HEADERS, stream, OK), frame(DATA, END_STREAM, stream, b"pieces")].concat();
        all.iter().for_each(|octet| {
            conn.send([*octet]);
        });
    });
    let weir = once(origin.url()).start();
    assert_eq!(weir.get("/").text(), "pieces");
}

#[test]
fn a_peer_that_lowers_its_limit_is_heeded() {
    let origin = Origin::scripted(|mut conn, _| {
        // Three streams, and then one.
        if !begin(&mut conn, &[0, 3, 0, 0, 0, 3]) {
            return;
        }
        let Some(stream) = request(&mut conn) else { return };
        conn.send(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]));
        conn.send([frame(HEADERS, END_HEADERS, stream, OK), frame(DATA, END_STREAM, stream, b"good")].concat());
        serve(&mut conn);
    });
    let weir = once(origin.url()).start();
    for _ in 0..5 {
        assert_eq!(weir.get("/").text(), "good");
    }
    assert_eq!(origin.accepted(), 1);
}
