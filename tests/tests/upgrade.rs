//! One binary takes over from another: under load nothing is refused, reset or lost; and whatever is wrong with the new
//! one, the old one serves on.

#[path = "upgrade/peer.rs"]
mod peer;
#[path = "upgrade/refused.rs"]
mod refused;
#[path = "upgrade/service.rs"]
mod service;
#[path = "upgrade/state.rs"]
mod state;
#[path = "upgrade/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::Signal;
use weir_tests::exchange::bytes;
use weir_tests::load::Load;
use weir_tests::ports::Port;
use weir_tests::script::Conn;
use weir_tests::{Client, Config, Ended, Gate, Origin, Weir, wait};

/// An origin that takes WebSockets, on which it shouts, and answers everything else.
fn shouting() -> Origin {
    Origin::scripted(|mut conn: Conn, _| {
        while let Some(request) = conn.request_head() {
            if request.fields.names("connection", "upgrade") {
                // RFC 6455 section 1.3: the key's proof.
                conn.send(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                );
                while let Some(heard) = conn.take(5) {
                    if !conn.send(heard.to_ascii_uppercase()) {
                        return;
                    }
                }
                return;
            }
            if !conn.send(weir_tests::origin::ok("x")) {
                return;
            }
        }
    })
}

fn websocket(weir: &Weir) -> Client {
    let fields = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let mut client = weir.client();
    client.write(bytes("GET", "/chat", &fields, b""));
    assert_eq!(client.head().status, 101);
    client
}

#[track_caller]
fn says(client: &mut Client, word: &str) {
    client.write(word);
    assert_eq!(String::from_utf8_lossy(&client.take(word.len())), word.to_uppercase());
}

/// How many workers the process that serves has.
fn workers(weir: &Weir) -> u64 {
    weir.api("/api/v1/stats")["dataplane"]["workers"].as_u64().unwrap_or(0)
}

#[test]
fn the_new_process_serves_and_the_old_one_ends() {
    let origin = Origin::ok("x");
    let mut weir = Config::forwarding(origin.url()).without_kernel().start();
    let before = weir.pid();
    assert_eq!(weir.get("/").status, 200);
    let new = weir.upgraded(&[]);
    assert_ne!(new.0, before);
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
    assert_eq!(weir.get("/").status, 200);
    assert_eq!(weir.processes().iter().map(|one| one.0).collect::<Vec<_>>(), [new.0]);
    let again = weir.upgraded(&[]);
    assert_ne!(again.0, new.0);
    assert_eq!(weir.get("/").status, 200);
    let socket = weir.path("upgrade.sock");
    assert!(socket.exists());
    again.signal(Signal::TERM);
    wait::until("nothing is left", || weir.processes().is_empty() && !socket.exists());
}

#[test]
fn usr2_has_the_same_binary_take_over() {
    let origin = Origin::ok("x");
    let mut weir = Config::forwarding(origin.url()).without_kernel().start();
    weir.signal(Signal::USR2);
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0), "{}", weir.stderr());
    assert_eq!(weir.get("/").status, 200);
    assert_eq!(weir.processes().len(), 1);
    weir.stop_all();
}

#[test]
fn a_request_in_flight_is_answered_by_the_process_that_has_it() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while let Some(request) = conn.request() {
            if request.target == "/held" {
                held.pass();
            }
            conn.send(weir_tests::origin::ok("x"));
        }
    });
    let mut weir = Config::forwarding(origin.url()).without_kernel().workers(2).start();
    let mut idle = weir.client();
    assert_eq!(idle.exchange(bytes("GET", "/", &[], b"")).status, 200);
    let mut busy = weir.client();
    busy.write(bytes("GET", "/held", &[], b""));
    origin.wait_requests(2);
    let ask = bytes("GET", "/ready", &[("Host", "localhost")], b"");
    let connected = || {
        let mut client = Client::connect(weir.management());
        assert_eq!(client.exchange(&ask).status, 200);
        client
    };
    let mut management: Vec<_> = (0..100).map(|_| connected()).collect();
    weir.upgraded(&[]);
    // Readiness is looked at twice a second, and each connection is good for one more request.
    let mut told = wait::value("the old process says that it drains", || {
        std::thread::sleep(Duration::from_millis(20));
        let mut client = management.pop().expect("a connection");
        let ready = client.exchange(&ask);
        (ready.status == 503 && ready.text().contains("DRAINING")).then_some(client)
    });
    assert_eq!(told.ended(), Ended::Closed, "the next request is for the new process");
    assert_eq!(idle.ended(), Ended::Closed);
    assert!(weir.alive());
    gate.open();
    let response = busy.response();
    assert_eq!(response.status, 200);
    assert!(response.fields.names("connection", "close"));
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
    weir.stop_all();
}

#[test]
fn sockets_of_every_kind_are_taken_and_those_of_no_use_are_closed() {
    let origin = Origin::ok("x");
    let (metrics, gone, other) = (Port::reserve(), Port::reserve(), Port::reserve());
    let config = Config::forwarding(origin.url()).without_kernel().workers(2);
    let unix = config.path("web.sock");
    let route = |name: &str, id: u32| {
        format!(
            "[[route]]\nid = {id}\nlistener = \"{name}\"\npath_prefix = \"/\"\n[[route.target]]\nurl = \"{}\"\n",
            origin.url()
        )
    };
    let config = config.tables(&format!(
        "[metrics]\nlisten = \"{}\"\n[[listener]]\nname = \"file\"\nbind = \"unix:{}\"\n{}[[listener]]\nname = \
         \"gone\"\nbind = \"{}\"\n{}",
        metrics.address(),
        unix.display(),
        route("file", 7),
        gone.address(),
        route("gone", 8),
    ));
    let mut weir = config.start();
    let inode = |path: &std::path::Path| std::os::unix::fs::MetadataExt::ino(&path.metadata().expect("a socket"));
    let file = inode(&unix);
    let text = weir.text();
    let changed =
        text.replace(&gone.address().to_string(), &other.address().to_string()).replace("\"gone\"", "\"new\"");
    weir.write(&changed);
    weir.upgraded(&[]);
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
    assert_eq!(inode(&unix), file, "the socket's file is the same");
    for _ in 0..8 {
        let mut stream = UnixStream::connect(&unix).expect("somebody listens");
        stream.write_all(&bytes("GET", "/", &[("Connection", "close")], b"")).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(weir_tests::get(other.address(), "/").status, 200);
    assert!(std::net::TcpStream::connect(gone.address()).is_err(), "nobody wants it");
    assert_eq!(weir_tests::manage(metrics.address(), "/metrics").status, 200);
    weir.wait_log("requests of both", |line| line["listener"] == "file");
    weir.stop_all();
}

/// Under load for seconds.
mod heavy {
    use super::*;

    #[test]
    fn two_workers_then_one_then_two_lose_nothing() {
        let origin = shouting();
        let mut weir = Config::forwarding(origin.url()).without_kernel().without_client_bounds().workers(2).start();
        let text = weir.text();
        let loads = [
            Load::unbroken(weir.web(), "/kept", 8),
            Load::fresh(weir.web(), "/fresh", 8),
            Load::fresh(weir.management(), "/health", 1),
        ];
        let mut chat = websocket(&weir);
        says(&mut chat, "begin");
        for (turn, count) in [1, 2, 1, 2].into_iter().enumerate() {
            weir.write(&text.replace("workers = 2", &format!("workers = {count}")));
            loads.iter().for_each(|load| load.progress(200));
            weir.upgraded(&[]);
            loads.iter().for_each(|load| load.progress(200));
            assert_eq!(workers(&weir), count);
            if turn < 2 {
                says(&mut chat, "still");
                assert!(weir.alive(), "the first process has the tunnel");
            }
            if turn == 2 {
                chat.half_close();
                assert_eq!(chat.ended(), Ended::Closed);
                assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
            }
        }
        for load in loads {
            let (good, failures) = load.stop();
            assert!(failures.is_empty(), "{} lost of {good}: {:?}", failures.len(), &failures[..failures.len().min(5)]);
        }
        wait::until("one process is left", || weir.processes().len() == 1);
        assert!(origin.malformed().is_empty());
        weir.stop_all();
    }
}

#[test]
fn a_binary_that_hangs_is_ended_after_a_minute() {
    let origin = Origin::ok("x");
    let config = Config::forwarding(origin.url()).without_kernel();
    let hangs = refused::script(&config, "exec sleep 600");
    let weir = config.start();
    let begun = std::time::Instant::now();
    let exit = weir.upgrade(&["--binary", &hangs]);
    assert_eq!(exit.code, Some(6), "{}", exit.stderr);
    assert!(begun.elapsed() >= Duration::from_secs(60) && begun.elapsed() < Duration::from_secs(75));
    assert!(exit.stderr.contains("60 s"), "{}", exit.stderr);
    refused::serves_on(&weir);
}
