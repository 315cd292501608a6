//! Faults on both sides: each has its answer and its reason, and the worker survives all of them with nothing leaked.

use std::net::TcpListener;
use std::time::Duration;

use weir_tests::exchange::bytes;
use weir_tests::origin::{answer, ok};
use weir_tests::{Client, Config, Ended, Gate, Origin, Response, Weir, wait};

/// A request that is not repeated, so that each fault is met exactly once.
fn post(weir: &Weir) -> Response {
    weir.request("POST", "/", &[], b"body")
}

/// The next exchange through the same worker is good: it has survived.
fn survives(weir: &Weir, good: &Origin) {
    let response = weir.request("GET", "/good", &[], b"");
    assert_eq!((response.status, response.text().as_str()), (200, "good"));
    assert!(good.malformed().is_empty());
    assert_eq!(weir.reason("internal_error"), 0, "{}", weir.stderr());
}

/// weir with route `/good` to a good origin, and every other path to the URL.
fn beside(url: &str, good: &Origin, more: &str) -> Weir {
    Config::new()
        .route(1, "path_exact = \"/good\"", &[&good.url()])
        .route(2, "path_prefix = \"/\"", &[url])
        .tables("[retry]\nattempts = 0")
        .tables(more)
        .start()
}

/// A fault of an origin, after it has read the request.
fn origin_fault(script: impl Fn(weir_tests::script::Conn) + Send + Sync + 'static, status: u16, reason: &str) {
    let good = Origin::ok("good");
    let origin = Origin::scripted(move |mut conn, _| {
        if conn.request().is_some() {
            script(conn);
        }
    });
    let weir = beside(&origin.url(), &good, SHORT);
    let response = post(&weir);
    assert_eq!(response.status, status, "{}", response.text());
    assert!(response.text().contains(reason), "{}", response.text());
    weir.wait_log(reason, |line| line["reason"] == reason && line["status"] == status);
    assert_eq!(weir.reason(reason), 1);
    survives(&weir, &good);
}

/// Holds a connection, and does nothing more with it.
fn until_ended(mut conn: weir_tests::script::Conn) {
    conn.ended();
}

const SHORT: &str = "[timeouts]\nresponse_header = \"300ms\"\nread = \"300ms\"\nwrite = \"300ms\"\nconnect = \"300ms\"\n\
    head = \"500ms\"\nbody = \"500ms\"\nsend = \"500ms\"";

#[test]
fn an_origin_that_refuses_is_502() {
    let good = Origin::ok("good");
    let closed = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address");
    let weir = beside(&format!("http://{closed}"), &good, "");
    let response = post(&weir);
    assert_eq!(response.status, 502);
    assert!(response.text().contains("upstream_connect_refused"), "{}", response.text());
    survives(&weir, &good);
}

#[test]
fn an_origin_that_does_not_accept_is_504() {
    // A listener whose backlog is full drops SYNs.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    socket.listen(0).expect("listen");
    let address = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    let fill: Vec<_> =
        (0..8).map_while(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()).collect();
    let good = Origin::ok("good");
    let weir = beside(&format!("http://{address}"), &good, SHORT);
    let response = post(&weir);
    assert_eq!(response.status, 504);
    assert!(response.text().contains("upstream_connect_timeout"), "{}", response.text());
    drop(fill);
    survives(&weir, &good);
}

#[test]
fn an_origin_that_resets_at_accept_is_502() {
    let good = Origin::ok("good");
    let origin = Origin::scripted(|conn, _| conn.reset());
    let weir = beside(&origin.url(), &good, "");
    let response = post(&weir);
    assert_eq!(response.status, 502);
    let text = response.text();
    assert!(text.contains("upstream_reset") || text.contains("upstream_closed"), "{text}");
    survives(&weir, &good);
}

#[test]
fn an_origin_that_resets_before_its_head_is_502() {
    origin_fault(weir_tests::script::Conn::reset, 502, "upstream_reset");
}

#[test]
fn an_origin_that_closes_before_its_head_is_502() {
    origin_fault(weir_tests::script::Conn::close, 502, "upstream_closed");
}

#[test]
fn an_origin_that_closes_within_its_head_is_502() {
    origin_fault(
        |conn| {
            conn.send("HTTP/1.1 200 OK\r\nContent-Le");
            conn.close();
        },
        502,
        "upstream_closed",
    );
}

#[test]
fn an_origin_that_stalls_before_its_head_is_504() {
    origin_fault(until_ended, 504, "upstream_response_header_timeout");
}

#[test]
fn an_origin_that_stalls_within_its_head_is_504() {
    origin_fault(
        |mut conn| {
            conn.send("HTTP/1.1 200 OK\r\nConte");
            conn.ended();
        },
        504,
        "upstream_response_header_timeout",
    );
}

#[test]
fn an_origin_that_sends_garbage_is_502() {
    origin_fault(
        |conn| {
            conn.send([0xff_u8; 300]);
            conn.close();
        },
        502,
        "upstream_bad_response",
    );
}

/// A fault within a response's body: the client has the head, so its connection is cut.
fn body_fault(end: impl Fn(weir_tests::script::Conn) + Send + Sync + 'static, reason: &str) {
    let good = Origin::ok("good");
    let origin = Origin::scripted(move |mut conn, _| {
        if conn.request().is_some() {
            conn.send(&answer(200, &[], &"b".repeat(100_000))[..50_000]);
            end(conn);
        }
    });
    let weir = beside(&origin.url(), &good, SHORT);
    let mut client = weir.client();
    client.write(bytes("GET", "/", &[], b""));
    assert!(client.try_response("GET").is_err(), "a cut body became whole");
    weir.wait_reason(reason, 1);
    weir.wait_log(reason, |line| line["reason"] == reason);
    survives(&weir, &good);
}

#[test]
fn an_origin_that_closes_within_its_body_cuts_the_client() {
    body_fault(weir_tests::script::Conn::close, "upstream_body_truncated");
}

#[test]
fn an_origin_that_resets_within_its_body_cuts_the_client() {
    body_fault(weir_tests::script::Conn::reset, "upstream_body_truncated");
}

#[test]
fn an_origin_that_stalls_within_its_body_cuts_the_client() {
    body_fault(until_ended, "upstream_body_timeout");
}

#[test]
fn an_origin_that_takes_no_body_is_504() {
    let good = Origin::ok("good");
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        conn.request_head();
        held.pass();
    });
    let weir = Config::new()
        .route(1, "path_exact = \"/good\"", &[&good.url()])
        .route(2, "path_prefix = \"/\"", &[&origin.url()])
        .tables("[retry]\nattempts = 0")
        .tables(SHORT)
        .without_kernel()
        .start();
    let before = weir.process().peak_bytes();
    let mut client = weir.client();
    let size = 64 << 20;
    client.write(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"));
    let feeder = client.stream().try_clone().expect("a second handle");
    let feeding = std::thread::spawn(move || {
        use std::io::Write;
        let block = vec![b'u'; 1 << 20];
        let _ = (0..64).take_while(|_| (&feeder).write_all(&block).is_ok()).count();
    });
    let response = client.response_to("POST");
    assert_eq!(response.status, 504, "{}", response.text());
    assert!(response.text().contains("upstream_write_timeout"), "{}", response.text());
    // What it lingers for after the answer is read and thrown away.
    let grown = weir.process().peak_bytes() - before;
    assert!(grown < 16 << 20, "{} KiB of the body were taken into memory", grown >> 10);
    drop(client);
    gate.open();
    feeding.join().expect("the feeder");
    survives(&weir, &good);
}

#[test]
fn an_origin_that_answers_before_the_body_stops_it() {
    let good = Origin::ok("good");
    let origin = Origin::scripted(|mut conn, _| {
        if conn.request_head().is_some() {
            conn.send(ok("early"));
            conn.ended();
        }
    });
    let weir = beside(&origin.url(), &good, SHORT);
    let mut client = weir.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin");
    assert_eq!(client.response_to("POST").text(), "early");
    client.drain();
    survives(&weir, &good);
}

#[test]
fn a_reused_connection_that_died_is_replaced_for_get_alone() {
    // Each connection answers one request, then resets when it sees the next.
    let origin = Origin::scripted(|mut conn, _| {
        if conn.request().is_some() && conn.send(ok("x")) && conn.request().is_some() {
            conn.reset();
        }
    });
    let weir = Config::forwarding(origin.url()).tables("[retry]\nattempts = 0").start();
    assert_eq!(weir.get("/").status, 200);
    assert_eq!(weir.get("/").status, 200, "repeated on a fresh connection");
    assert_eq!(origin.accepted(), 2);
    let response = weir.request("POST", "/", &[], b"once");
    assert_eq!(response.status, 502, "a POST may have been processed");
    assert_eq!(origin.requests().iter().filter(|request| request.method == "POST").count(), 1);
}

#[test]
fn a_silent_client_times_out_without_an_answer() {
    let good = Origin::ok("good");
    let weir = beside(&good.url(), &good, SHORT);
    let mut client = weir.client();
    client.ended();
    survives(&weir, &good);
}

#[test]
fn a_client_that_stalls_within_its_head_is_408() {
    let good = Origin::ok("good");
    let weir = beside(&good.url(), &good, SHORT);
    let mut client = weir.client();
    client.write("GET / HT");
    let response = client.response();
    assert!(response.status == 408 && response.text().contains("request_header_timeout"), "{}", response.text());
    client.ended();
    survives(&weir, &good);
}

#[test]
fn a_client_that_drips_its_head_is_408_at_the_limit() {
    let good = Origin::ok("good");
    let weir = beside(&good.url(), &good, SHORT);
    let mut client = weir.client();
    let start = std::time::Instant::now();
    client.patience(Duration::from_millis(20));
    let mut octets = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
    // One octet per read timeout: progress does not refresh the limit.
    let response = loop {
        let _ = client.try_write(&[*octets.next().expect("endless")]);
        match client.try_response("GET") {
            Ok(response) => break response,
            Err(_) => assert!(start.elapsed() < Duration::from_secs(5), "never refused"),
        }
    };
    assert_eq!(response.status, 408);
    assert!(start.elapsed() >= Duration::from_millis(450), "refused after {:?}", start.elapsed());
    survives(&weir, &good);
}

#[test]
fn a_client_that_stalls_within_its_body_is_408() {
    let good = Origin::ok("good");
    let origin = Origin::ok("never");
    let weir = beside(&origin.url(), &good, SHORT);
    let mut client = weir.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    let response = client.response_to("POST");
    assert!(response.status == 408 && response.text().contains("request_body_timeout"), "{}", response.text());
    wait::until("the upstream connection ends", || origin.open() == 0);
    assert!(origin.requests().is_empty());
    survives(&weir, &good);
}

#[test]
fn a_client_that_reads_nothing_is_reset() {
    let good = Origin::ok("good");
    let body = "b".repeat(64 << 20);
    let origin = Origin::ok(&body);
    let weir = beside(&origin.url(), &good, SHORT);
    let client = weir.client();
    client.write(bytes("GET", "/", &[], b""));
    weir.wait_reason("client_too_slow", 1);
    assert!(weir.process().resident_bytes() < 256 << 20, "the body was taken into memory");
    survives(&weir, &good);
}

#[test]
fn a_client_that_resets_is_499_and_ends_the_upstream() {
    let good = Origin::ok("good");
    let origin = Origin::scripted(|mut conn, _| {
        if conn.request().is_some() {
            conn.ended();
        }
    });
    let weir = beside(&origin.url(), &good, "");
    let client = weir.client();
    client.write(bytes("GET", "/", &[], b""));
    origin.wait_requests(1);
    client.reset();
    weir.wait_log("the cancelled request", |line| line["reason"] == "client_cancelled" && line["status"] == 499);
    wait::until("the upstream connection ends", || origin.open() == 0);
    survives(&weir, &good);
}

#[test]
fn a_client_that_half_closes_still_gets_its_answer() {
    let good = Origin::ok("good");
    let weir = beside(&good.url(), &good, "");
    let mut client = weir.client();
    client.write(bytes("GET", "/good", &[], b""));
    client.half_close();
    assert_eq!(client.response().text(), "good");
    assert_eq!(client.ended(), Ended::Closed);
    survives(&weir, &good);
}

#[test]
fn a_client_that_resets_within_its_body_is_booked_once() {
    let good = Origin::ok("good");
    let origin = Origin::ok("never");
    let weir = beside(&origin.url(), &good, "");
    let client = weir.client();
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    wait::until("the head upstream", || origin.accepted() == 1);
    client.reset();
    weir.wait_reason("client_cancelled", 1);
    wait::until("the upstream connection ends", || origin.open() == 0);
    assert_eq!(weir.reason("client_cancelled"), 1);
    survives(&weir, &good);
}

#[test]
fn without_descriptors_it_waits_and_recovers() {
    let good = Origin::ok("good");
    let weir = Config::new()
        .route(1, "path_prefix = \"/\"", &[&good.url()])
        .tables("[limits]\nconnections_max = 10000")
        .without_client_bounds()
        .descriptors_max(256)
        .start();
    let held: Vec<Client> = (0..400).map(|_| weir.client()).collect();
    wait::until("the limit is reached", || weir.process().fds() >= 250);
    // It neither ends nor spins.
    let before = weir.process().cpu_ticks();
    let spun = wait::holds_within(Duration::from_secs(2), || weir.process().cpu_ticks() > before + 100);
    assert!(weir.alive() && !spun, "it spins without descriptors");
    drop(held);
    wait::until("descriptors are free again", || weir.process().fds() < 200);
    assert_eq!(weir.get("/good").text(), "good");
}

#[test]
fn connections_beyond_the_limit_are_reset_and_counted() {
    let good = Origin::ok("good");
    let weir = Config::forwarding(good.url()).tables("[limits]\nconnections_max = 10").start();
    let mut held: Vec<Client> = (0..10).map(|_| weir.client()).collect();
    for client in &mut held {
        assert_eq!(client.exchange(bytes("GET", "/", &[], b"")).status, 200);
    }
    // The reset may come before the connect has returned.
    match Client::try_connect(weir.web()) {
        Ok(mut beyond) => {
            let _ = beyond.try_write(&bytes("GET", "/", &[], b""));
            assert_eq!(beyond.ended(), Ended::Reset);
        }
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    weir.wait_reason("connection_limit", 1);
    assert!(weir.metrics().sum("weir_limit_hits_total", &[]) >= 1.0);
    drop(held);
    wait::until("there is room again", || {
        let Ok(mut client) = Client::try_connect(weir.web()) else { return false };
        client.try_write(&bytes("GET", "/", &[], b"")).is_ok() && client.try_response("GET").is_ok()
    });
}
