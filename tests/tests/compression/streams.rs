//! Bodies as they flow: flushed on pauses, held back, cut, and never in anybody's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use weir_tests::message::Bad;
use weir_tests::{Client, Ended, wait};

use super::*;

/// Reads a chunked body as it comes.
struct Arriving {
    client: Client,
    octets: Vec<u8>,
}

impl Arriving {
    fn begin(weir: &Weir, request: impl AsRef<[u8]>) -> (Response, Self) {
        let mut client = weir.client();
        client.write(request);
        (client.head(), Self { client, octets: Vec::new() })
    }

    /// One chunk more; false at the last one.
    fn chunk(&mut self) -> bool {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.client.take(1));
        }
        let digits = std::str::from_utf8(&line).expect("digits").trim_end();
        let length = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("a chunk's size: {digits:?}"));
        if length > 0 {
            self.octets.extend(self.client.take(length));
            self.client.take(2);
        }
        length > 0
    }

    /// Reads until a decoder shows so much.
    fn shows(&mut self, coding: &str, content: &str) {
        while shown(coding, &self.octets) != content.as_bytes() {
            assert!(self.chunk(), "the body ends with {:?}", String::from_utf8_lossy(&shown(coding, &self.octets)));
        }
    }
}

#[test]
fn a_pause_brings_out_all_that_has_come() {
    for coding in CODINGS {
        let gates = [Gate::new(), Gate::new()];
        let doors = gates.clone();
        let origin = Origin::scripted(move |mut conn, _| {
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\nfirst");
            doors[0].pass();
            conn.send("again");
            doors[1].pass();
            conn.send("third");
            conn.close();
        });
        let weir = before(&origin, ON);
        let (head, mut arriving) = Arriving::begin(&weir, accepting(coding));
        assert_eq!(coding_of(&head), Some(coding));
        arriving.shows(coding, "first");
        gates[0].open();
        arriving.shows(coding, "firstagain");
        gates[1].open();
        while arriving.chunk() {}
        assert_eq!(decode(coding, &arriving.octets).expect("a whole body"), b"firstagainthird");
    }
}

#[test]
fn events_are_seen_one_by_one() {
    for coding in CODINGS {
        let gates: Vec<Gate> = (0..20).map(|_| Gate::new()).collect();
        let doors = gates.clone();
        let origin = Origin::scripted(move |mut conn, _| {
            conn.request();
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
            for door in &doors {
                conn.send("c\r\ndata: tick\n\n\r\n");
                door.pass();
            }
            conn.send("0\r\n\r\n");
            conn.close();
        });
        let weir = before(&origin, ON);
        let (head, mut arriving) = Arriving::begin(&weir, accepting(coding));
        assert_eq!(coding_of(&head), Some(coding));
        for (n, gate) in gates.iter().enumerate() {
            arriving.shows(coding, &"data: tick\n\n".repeat(n + 1));
            gate.open();
        }
        while arriving.chunk() {}
        assert_eq!(decode(coding, &arriving.octets).expect("a whole body").len(), 12 * 20);
    }
}

#[test]
fn a_body_that_is_cut_never_looks_whole() {
    let part = text(100_000);
    let origin = Origin::scripted(move |mut conn, _| {
        let Some(request) = conn.request() else { return };
        let framing = match request.target.as_str() {
            "/length" => format!("Content-Length: 200000\r\n\r\n{part}"),
            _ => format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{part}\r\n", part.len()),
        };
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{framing}"));
        conn.close();
    });
    let weir = before(&origin, ON);
    let mut cuts = 0;
    for coding in CODINGS {
        for path in ["/length", "/chunked"] {
            let ask = accepting(coding).replace("GET /", &format!("GET {path}"));
            let mut client = weir.client();
            client.write(&ask);
            let ended = client.try_response("GET").expect_err("a cut body");
            assert!(matches!(ended, Bad::Ended | Bad::Cut(_) | Bad::Io(_)), "{coding} {path}: {ended:?}");
            // Where only the connection's end ends it, the end is a reset.
            let mut client = weir.client();
            client.write(ask.replace("HTTP/1.1", "HTTP/1.0"));
            assert_eq!(client.drain().1, Ended::Reset, "{coding} {path}");
            cuts += 2;
            weir.wait_reason("upstream_body_truncated", cuts);
        }
    }
}

/// An origin that sends a head and a little, then waits for the gate.
fn waiting(gate: &Gate) -> Origin {
    let door = gate.clone();
    Origin::scripted(move |mut conn, _| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
            door.pass();
            conn.send("0\r\n\r\n");
        }
    })
}

#[test]
fn coders_take_no_more_memory_than_they_may() {
    let gate = Gate::new();
    let origin = waiting(&gate);
    let weir = before(&origin, "[compression]\nalgorithms = [\"gzip\"]\nsize_min = 0\nmemory_max = \"1MiB\"");
    // A coder of gzip takes 448 KiB.
    let mut coded: Vec<_> = (0..2).map(|_| Arriving::begin(&weir, accepting("gzip"))).collect();
    assert!(coded.iter().all(|(head, _)| coding_of(head) == Some("gzip")));
    let (plain, mut as_it_is) = Arriving::begin(&weir, accepting("gzip"));
    assert_eq!((coding_of(&plain), plain.fields.first("vary")), (None, Some("Accept-Encoding")));
    let hits = |weir: &Weir| weir.metrics().sum("weir_limit_hits_total", &["limit=\"compression_memory_max\""]);
    assert_eq!(hits(&weir), 1.0);
    // A client that goes away gives its coder's memory back.
    coded.pop().expect("a client").1.client.reset();
    wait::until("room for another", || coding_of(&Arriving::begin(&weir, accepting("gzip")).0) == Some("gzip"));
    gate.open();
    while as_it_is.chunk() {}
    assert_eq!(as_it_is.octets, b"first");
    let (_, mut first) = coded.pop().expect("the other one");
    while first.chunk() {}
    assert_eq!(decode("gzip", &first.octets).expect("a whole body"), b"first");
}

#[test]
fn a_slow_client_holds_the_upstream_back_and_gets_everything() {
    let body = noise(32 << 20);
    let whole = html(&body);
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while conn.request().is_some() {
            for part in whole.chunks(64 << 10) {
                if !conn.send(part) {
                    return;
                }
                count.fetch_add(part.len(), Relaxed);
            }
        }
    });
    let weir = before(&origin, ON);
    let resident = weir.process().resident_bytes();
    for coding in CODINGS {
        let mut client = weir.client();
        client.write(accepting(coding));
        // Not an octet is read until weir has stopped reading too: the same count over half a second, and not all.
        let (begun, mut last, mut since) = (taken.load(Relaxed), 0, Instant::now());
        wait::until_within(Duration::from_secs(60), "weir waits for the client", || {
            let now = taken.load(Relaxed) - begun;
            if now != last {
                (last, since) = (now, Instant::now());
            }
            now > 0 && since.elapsed() > Duration::from_millis(500)
        });
        assert!(last < 28 << 20, "{last} octets were taken for nobody");
        assert!(weir.process().resident_bytes() < resident + (32 << 20), "a stream takes little memory");
        assert_eq!(weir.get("/none").status, 200, "others are served");
        client.patience(Duration::from_secs(120));
        let response = client.response();
        assert!(decode(coding, &response.body).expect("a whole body") == body.as_bytes(), "{coding}");
    }
}

/// Text of which a coder makes little less.
fn noise(octets: usize) -> String {
    let mut state = 7u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b' ' + (state >> 32) as u8 % 95)
    };
    std::iter::repeat_with(next).take(octets).collect()
}

#[test]
fn large_bodies_hold_nobody_up() {
    let whole = html(&text(24 << 20));
    let origin = Origin::scripted(move |mut conn, _| {
        while let Some(request) = conn.request() {
            let sent = if request.target == "/small" { conn.send(html("small")) } else { conn.send(&whole) };
            if !sent {
                return;
            }
        }
    });
    let weir = before(&origin, ON);
    let address = weir.web();
    let begin = Gate::new();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let begin = begin.clone();
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                client.patience(Duration::from_secs(120));
                begin.pass();
                client.write(accepting("br"));
                let response = client.response();
                (Instant::now(), response.body.len())
            })
        })
        .collect();
    begin.open();
    wait::until("all four are on their way", || {
        weir.metrics().sum("weir_compressed_responses_total", &["coding=\"br\""]) >= 4.0
    });
    let mut client = weir.client();
    let mut slowest = Duration::ZERO;
    for _ in 0..50 {
        let start = Instant::now();
        assert_eq!(client.exchange("GET /small HTTP/1.1\r\nHost: a\r\n\r\n").text(), "small");
        slowest = slowest.max(start.elapsed());
    }
    let measured = Instant::now();
    for reader in readers {
        let (ended, octets) = reader.join().expect("a reader");
        assert!(ended > measured, "the large ones were still being coded");
        assert!(octets > 1 << 20);
    }
    assert!(slowest < Duration::from_secs(1), "a small request took {slowest:?}");
}
