//! What one client may have at once: connections, connections without a request, requests; counted by all workers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use weir_tests::exchange::bytes;
use weir_tests::{Client, Config, Ended, Gate, Origin, Weir, wait};

/// Opens connections from `source`, each with an answered request, until one is refused; those that live.
fn fill(weir: &Weir, source: &str, at_most: usize) -> Vec<Client> {
    let answered = || {
        let mut client = Client::try_connect_from(source.parse().expect("an address"), weir.web()).ok()?;
        client.try_write(&bytes("GET", "/", &[], b"")).ok()?;
        client.try_response("GET").ok().map(|_| client)
    };
    (0..at_most).map_while(|_| answered()).collect()
}

#[test]
fn connections_of_one_client_are_bounded_across_workers() {
    let origin = Origin::ok("hello");
    let weir = Config::forwarding(origin.url()).workers(2).tables("[connections]\nper_client_max = 7").start();
    let held = fill(&weir, "127.0.0.2", 20);
    assert_eq!(held.len(), 7);
    assert!(weir.reason("connection_limit") >= 1);
    assert!(weir.metrics().sum("weir_limit_hits_total", &["limit=\"per_client_max\""]) >= 1.0);
    // Another client is another matter, and so is the same one once it has let go.
    assert_eq!(fill(&weir, "127.0.0.3", 3).len(), 3);
    drop(held);
    wait::until("room again", || fill(&weir, "127.0.0.2", 7).len() == 7);
}

#[test]
fn connections_without_a_request_have_a_bound_of_their_own() {
    let origin = Origin::ok("hello");
    let weir =
        Config::forwarding(origin.url()).workers(2).tables("[connections]\nhandshaking_per_client_max = 3").start();
    let mut silent: Vec<_> = (0..3).map(|_| Client::connect_from("127.0.0.2", weir.web())).collect();
    silent.iter().for_each(|client| client.write("GET / H"));
    // Accepting is in order within a worker only: a fourth must not be accepted in place of one of these.
    wait::until("all three to be accepted", || weir.metrics().sum("weir_connections_active", &[]) == 3.0);
    wait::until("a refusal", || {
        let refused = Client::try_connect_from("127.0.0.2".parse().expect("an address"), weir.web());
        refused.is_err()
            || refused.is_ok_and(|mut client| client.try_write(b"GET").is_err() || client.drain().1 == Ended::Reset)
    });
    assert!(weir.metrics().sum("weir_limit_hits_total", &["limit=\"handshaking_per_client_max\""]) >= 1.0);
    // A whole head makes room.
    let mut first = silent.remove(0);
    assert_eq!(first.exchange("TTP/1.1\r\nHost: a\r\n\r\n").status, 200);
    assert_eq!(fill(&weir, "127.0.0.2", 1).len(), 1);
    assert_eq!(first.exchange(bytes("GET", "/", &[], b"")).status, 200);
}

#[test]
fn requests_of_one_client_are_bounded_across_workers() {
    let gate = Gate::new();
    let waiting = gate.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while conn.request().is_some() {
            waiting.pass();
            conn.send(weir_tests::origin::ok("hello"));
        }
    });
    let keys = "[connections]\nrequests_per_client_max = 4\n[[client.proxy]]\ncidrs = [\"127.0.0.9\"]";
    let weir = Config::forwarding(origin.url()).workers(2).tables(keys).start();
    let ask = |source: &str, fields: &[(&str, &str)]| {
        let client = Client::connect_from(source, weir.web());
        client.write(bytes("GET", "/", fields, b""));
        client
    };
    let mut held: Vec<_> = (0..4).map(|_| ask("127.0.0.2", &[])).collect();
    origin.wait_requests(4);
    let mut refused = ask("127.0.0.2", &[]);
    let response = refused.response();
    assert_eq!(response.status, 429);
    weir.wait_reason("client_concurrency", 1);
    // The same client by way of a trusted proxy is the same client, and the proxy is none.
    assert_eq!(ask("127.0.0.9", &[("X-Forwarded-For", "127.0.0.2")]).response().status, 429);
    held.extend((0..6).map(|_| ask("127.0.0.9", &[("X-Forwarded-For", "127.0.0.9")])));
    origin.wait_requests(10);
    gate.open();
    held.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    // A refusal does not end the connection.
    assert_eq!(refused.exchange(bytes("GET", "/", &[], b"")).status, 200);
}

#[test]
fn trusted_proxies_are_not_counted() {
    let origin = Origin::ok("hello");
    let keys =
        "[connections]\nper_client_max = 2\nhandshaking_per_client_max = 1\n[[client.proxy]]\ncidrs = [\"127.0.0.9\"]";
    let weir = Config::forwarding(origin.url()).tables(keys).start();
    assert_eq!(fill(&weir, "127.0.0.9", 10).len(), 10);
    assert_eq!(weir.reason("connection_limit"), 0);
}

#[test]
fn bounds_follow_a_reload_for_connections_that_come() {
    let origin = Origin::ok("hello");
    let mut weir = Config::forwarding(origin.url()).start();
    let held = fill(&weir, "127.0.0.2", 5);
    assert_eq!(held.len(), 5);
    weir.reload(|config| config.tables("[connections]\nper_client_max = 6"));
    assert_eq!(fill(&weir, "127.0.0.2", 5).len(), 1);
    wait::until("the connections to end", || weir.metrics().sum("weir_connections_active", &[]) <= 5.0);
    drop(held);
}

#[test]
fn peers_on_unix_sockets_are_not_counted() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("s");
    let origin = Origin::ok("hello");
    let tables = format!(
        "[connections]\nper_client_max = 1\nhandshaking_per_client_max = 1\nrequests_per_client_max = 1\n\
         [[listener]]\nname = \"sock\"\nbind = \"unix:{}\"\n\
         [[route]]\nid = 1\nlistener = \"sock\"\npath_prefix = \"/\"\n[[route.target]]\nurl = \"{}\"",
        path.display(),
        origin.url()
    );
    let weir = Config::new().tables(&tables).start();
    let mut held: Vec<_> = (0..3).map(|_| UnixStream::connect(&path).expect("connects")).collect();
    for stream in &mut held {
        stream.set_read_timeout(Some(wait::SOON)).expect("a timeout");
        stream.write_all(&bytes("GET", "/", &[], b"")).expect("written");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    assert_eq!(weir.reason("connection_limit"), 0);
}
