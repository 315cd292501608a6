//! `[http2]` and `h2c`: what they say to clients, what they refuse, and where they may stand.

use weir_tests::dir::Dir;
use weir_tests::h2::{Peer, code, get, setting};
use weir_tests::weir::command;
use weir_tests::{Config, Gate, Origin};

#[test]
fn without_h2c_the_preface_is_no_request() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    client.write(weir_tests::h2::PREFACE);
    assert_eq!(client.response().status, 505);
    weir.wait_reason("version_unsupported", 1);
}

#[test]
fn clients_are_told_the_limits() {
    let keys = "[http2]\nstreams_max = 7\nstream_window = \"128KiB\"\nconnection_window = \"2MiB\"";
    let head = "[limits]\nhead_max = \"16KiB\"";
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).h2c().tables(keys).tables(head).start();
    let peer = weir.h2();
    assert_eq!(peer.setting(setting::MAX_CONCURRENT_STREAMS), Some(7));
    assert_eq!(peer.setting(setting::INITIAL_WINDOW_SIZE), Some(128 << 10));
    assert_eq!(peer.setting(setting::MAX_HEADER_LIST_SIZE), Some(16 << 10));
    assert_eq!(peer.setting(setting::ENABLE_CONNECT_PROTOCOL), Some(1));
    assert_eq!(peer.setting(setting::HEADER_TABLE_SIZE), Some(4096));
}

#[test]
fn a_listener_may_set_its_own() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url())
        .h2c()
        .listener("[listener.http2]\nstreams_max = 3")
        .tables("[http2]\nstreams_max = 9\nstream_window = \"64KiB\"")
        .start();
    let peer = weir.h2();
    assert_eq!(peer.setting(setting::MAX_CONCURRENT_STREAMS), Some(3));
    assert_eq!(peer.setting(setting::INITIAL_WINDOW_SIZE), Some(64 << 10));
}

#[test]
fn streams_beyond_the_limit_are_refused_and_the_others_served() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while conn.request().is_some() {
            held.pass();
            conn.send(weir_tests::origin::ok("x"));
        }
    });
    let weir = Config::forwarding(origin.url()).h2c().tables("[http2]\nstreams_max = 2").start();
    let mut peer = Peer::connect(weir.web());
    peer.greet(&[]);
    let streams: Vec<_> = (0..3).map(|_| peer.open(&get("/"), true)).collect();
    peer.expect_reset(streams[2], &[code::REFUSED_STREAM]);
    gate.open();
    assert_eq!(peer.response(streams[0]).status(), 200);
    assert_eq!(peer.response(streams[1]).status(), 200);
    assert_eq!(peer.get("/").status(), 200, "there is room again");
    assert!(origin.requests().len() == 3, "what was refused went nowhere");
}

#[test]
fn wrong_values_are_named() {
    let dir = Dir::new();
    for (toml, key) in [
        ("[http2]\nstreams_max = 0", "streams_max"),
        ("[http2]\nstreams_max = 1001", "streams_max"),
        ("[http2]\nstream_window = \"1KiB\"", "stream_window"),
        ("[http2]\nconnection_window = \"65MiB\"", "connection_window"),
        ("[http2]\nabuse_budget = 99", "abuse_budget"),
        ("[http2]\npush = true", "push"),
        ("[[listener]]\nname = \"w\"\nbind = \"127.0.0.1:0\"\nh2c = 1", "h2c"),
        ("[[listener]]\nname = \"w\"\nbind = \"127.0.0.1:0\"\nprotocol = \"https\"\nh2c = true", "h2c"),
    ] {
        dir.write("weir.toml", toml);
        let path = dir.join("weir.toml");
        let exit = command(&["check", "--config", path.to_str().expect("a path")]);
        assert!(exit.code != Some(0), "{toml}");
        assert!(format!("{}{}", exit.stdout, exit.stderr).contains(key), "{toml}:\n{}{}", exit.stdout, exit.stderr);
    }
}
