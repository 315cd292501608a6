//! A process that takes over and fails on the way, or says what nobody should: the old one serves on.

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};
use weir_tests::exchange::request;
use weir_tests::load::Load;
use weir_tests::ports::Port;
use weir_tests::{Config, Origin, Weir, wait};

use super::refused::serves_on;

/// One end of the conversation, in the test's hands.
struct Peer(UnixStream);

impl Peer {
    fn connect(weir: &Weir) -> Self {
        let stream = UnixStream::connect(weir.path("upgrade.sock")).expect("somebody listens");
        stream.set_read_timeout(Some(wait::SOON)).expect("a timeout");
        Self(stream)
    }

    fn say(&mut self, message: &Value) {
        let text = message.to_string();
        self.0.write_all(&(text.len() as u32).to_be_bytes()).expect("said");
        self.0.write_all(text.as_bytes()).expect("said");
    }

    fn hear(&mut self) -> Value {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("an answer");
        let mut text = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut text).expect("an answer");
        serde_json::from_slice(&text).expect("JSON")
    }

    fn take(&mut self, count: usize) -> Vec<OwnedFd> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut octet = [0];
            let flags = RecvFlags::CMSG_CLOEXEC;
            recvmsg(self.0.as_fd(), &mut [IoSliceMut::new(&mut octet)], &mut control, flags).expect("descriptors");
            let before = taken.len();
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(some) = message {
                    taken.extend(some);
                }
            }
            assert!(taken.len() - before <= 253 && taken.len() > before);
        }
        taken
    }

    /// Goes as far as a manifest and its descriptors.
    fn taking(weir: &Weir) -> (Self, Value, Vec<OwnedFd>) {
        let mut peer = Self::connect(weir);
        peer.say(&json!({ "ask": "takeover", "version": 1 }));
        let manifest = peer.hear();
        assert_eq!(manifest["say"], "manifest", "{manifest}");
        let count = manifest["descriptors"].as_u64().expect("a number") as usize;
        let descriptors = peer.take(count);
        (peer, manifest, descriptors)
    }

    fn closed(&mut self) -> bool {
        // What weir has not read makes its close a reset.
        let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        self.0.read_to_end(&mut Vec::new()).map_or_else(|error| reset(&error), |count| count == 0)
    }
}

fn ban(weir: &Weir, ip: &str) -> u16 {
    let body = json!({ "cidr": ip, "reason": "a test" }).to_string();
    let fields = [("Host", "localhost"), ("Content-Type", "application/json")];
    request(weir.management(), "POST", "/api/v1/bans", &fields, body.as_bytes()).status
}

#[test]
fn a_process_that_goes_at_any_point_of_the_conversation_changes_nothing() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).without_kernel().workers(2).start();
    let load = Load::unbroken(weir.web(), "/", 4);
    for steps in 0..4 {
        let (mut peer, _, descriptors) = Peer::taking(&weir);
        if steps > 0 {
            peer.say(&json!({ "say": "freeze" }));
            assert_eq!(peer.hear()["say"], "frozen");
            assert_eq!(ban(&weir, "192.0.2.1"), 503, "it would be lost");
        }
        if steps > 1 {
            peer.say(&json!({ "say": "ready", "claimed": [] }));
            assert_eq!(peer.hear()["say"], "yours");
        }
        if steps > 2 {
            peer.say(&json!({ "say": "failed", "why": "changed its mind" }));
        }
        drop((peer, descriptors));
        wait::until("it changes again", || ban(&weir, &format!("192.0.2.{}", 10 + steps)) == 201);
        load.progress(100);
        assert!(weir.is_ready());
    }
    let (_, failures) = load.stop();
    assert!(failures.is_empty(), "{failures:?}");
    wait::until("it says why", || weir.stderr().contains("changed its mind"));
    serves_on(&weir);
}

#[test]
fn every_socket_of_every_listener_is_given_in_messages_of_253() {
    let origin = Origin::ok("x");
    let ports: Vec<_> = (0..40).map(|_| Port::reserve()).collect();
    let binds: Vec<_> = ports.iter().map(|port| format!("\"{}\"", port.address())).collect();
    let listener = |(at, binds): (usize, &[String])| {
        format!("[[listener]]\nname = \"more-{at}\"\nbind = [{}]\n", binds.join(", "))
    };
    let listeners: String = binds.chunks(16).enumerate().map(listener).collect();
    let config = Config::forwarding(origin.url()).without_kernel().workers(8).tables(&listeners);
    let weir = config.start();
    let (peer, manifest, descriptors) = Peer::taking(&weir);
    let sockets = manifest["sockets"].as_array().expect("sockets");
    assert_eq!(sockets.len(), 41);
    assert!(descriptors.len() >= 41 * 8 + 2, "{}", descriptors.len());
    for socket in sockets {
        let (start, end) = (socket["places"]["start"].as_u64(), socket["places"]["end"].as_u64());
        let places = start.expect("a place") as usize..end.expect("a place") as usize;
        assert_eq!(places.len(), 8, "one for each worker: {socket}");
        for descriptor in &descriptors[places] {
            let bound = socket2::SockRef::from(descriptor).local_addr().expect("a socket").as_socket();
            assert_eq!(bound.map(|address| u64::from(address.port())), socket["port"].as_u64());
            let flags = rustix::io::fcntl_getfd(descriptor).expect("flags");
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
    }
    drop((peer, descriptors));
    serves_on(&weir);
}

#[test]
fn another_version_a_second_one_and_nonsense_are_refused() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).without_kernel().start();
    let mut other = Peer::connect(&weir);
    other.say(&json!({ "ask": "takeover", "version": 99 }));
    let answer = other.hear();
    assert!(answer["say"] == "refused" && answer["why"].to_string().contains("99"), "{answer}");

    let first = Peer::taking(&weir);
    let mut second = Peer::connect(&weir);
    second.say(&json!({ "ask": "takeover", "version": 1 }));
    assert_eq!(second.hear()["say"], "refused");
    drop(first);

    for nonsense in [&b"\xff\xff\xff\xff"[..], b"\x00\x00\x00\x02{]", b"\x00\x00\x00\x00", b"GET / HTTP/1.1\r\n\r\n"] {
        let mut peer = Peer::connect(&weir);
        peer.0.write_all(nonsense).expect("written");
        assert!(peer.closed(), "{nonsense:?}");
    }
    // Those who say nothing do not keep others out.
    let silent: Vec<_> = (0..4).map(|_| Peer::connect(&weir)).collect();
    let (mut peer, ..) = Peer::taking(&weir);
    peer.say(&json!({ "say": "ready", "claimed": [] }));
    let answer = peer.hear();
    assert_eq!(answer["say"], "refused", "nothing is frozen: {answer}");
    drop(silent);
    serves_on(&weir);
}

#[test]
fn the_socket_is_weirs_alone() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).without_kernel().start();
    let meta = std::fs::metadata(weir.path("upgrade.sock")).expect("a socket");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o777, 0o600);
    let begun = std::time::Instant::now();
    weir.stop();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// Starts weir to take over from a test that says these things, one after each that it hears, and then goes.
#[track_caller]
fn taking_from(says: &[Value]) -> (weir_tests::Exit, Vec<Value>) {
    let origin = Origin::ok("x");
    let config = Config::forwarding(origin.url()).without_kernel();
    let (path, document) = (config.path("upgrade.sock"), config.path("weir.toml"));
    std::fs::write(&document, config.text()).expect("written");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    let (exit, heard) = std::thread::scope(|scope| {
        let old = scope.spawn(|| {
            let mut peer = Peer(listener.accept().expect("a connection").0);
            let heard = says.iter().map(|message| {
                let heard = peer.hear();
                peer.say(message);
                heard
            });
            heard.collect()
        });
        let mut command = std::process::Command::new(weir_tests::weir::binary());
        command.arg("run").arg(format!("--takeover={}", path.display())).arg("--config").arg(&document);
        let exit = weir_tests::program::finish(&mut command, wait::SOON);
        (exit, old.join().expect("a conversation"))
    });
    assert!(path.exists(), "it is the old one's");
    (exit, heard)
}

fn manifest() -> Value {
    let manifest = json!({ "version": 1, "pid": 1, "release": "9.9.9", "descriptors": 0, "sockets": [], "more": [1] });
    let mut said = json!({ "say": "manifest" });
    said.as_object_mut().expect("an object").extend(manifest.as_object().expect("an object").clone());
    said
}

#[test]
fn a_process_whom_the_old_one_refuses_or_leaves_ends_and_says_why() {
    let (exit, heard) = taking_from(&[json!({ "say": "refused", "why": "no such luck" })]);
    assert_eq!(exit.code, Some(7), "{exit:?}");
    assert!(exit.stderr.contains("no such luck"), "{}", exit.stderr);
    assert_eq!(heard[0]["ask"], "takeover");

    let (exit, heard) = taking_from(&[manifest(), json!({ "say": "refused", "why": "second thoughts" })]);
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains("second thoughts"), "{}", exit.stderr);
    assert_eq!(heard[1]["say"], "freeze", "all else was ready");

    let frozen = json!({ "say": "frozen", "kernel": null });
    let (exit, heard) = taking_from(&[manifest(), frozen.clone()]);
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert_eq!(heard.len(), 2);

    let (exit, heard) = taking_from(&[manifest(), frozen, json!({ "say": "last", "findings": [] })]);
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.stderr.contains("out of turn"), "{}", exit.stderr);
    assert_eq!(heard[2], json!({ "say": "ready", "claimed": [] }));

    let other = json!({ "say": "manifest", "version": 2, "pid": 1, "release": "x", "descriptors": 0, "sockets": [] });
    let (exit, _) = taking_from(&[other]);
    assert_eq!(exit.code, Some(7), "{exit:?}");
    assert!(exit.stderr.contains("version 2"), "{}", exit.stderr);
}
