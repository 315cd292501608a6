//! Generator and origin beside other people's: what one counts, the other has served.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use weir_tests::dir::Dir;
use weir_tests::ports::Port;
use weir_tests::program::{Running, finish, run};
use weir_tests::{servers, wait};

const MINUTE: Duration = Duration::from_secs(60);

fn bench(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-bench"));
    command.args(args);
    command
}

/// The origin, until it is dropped.
fn origin(args: &[&str]) -> (Port, Running) {
    let port = Port::reserve();
    let listen = port.address().to_string();
    let running = Running::start(bench(&["origin", "--listen", &listen]).args(args));
    wait::until("the origin listens", || std::net::TcpStream::connect(port.address()).is_ok());
    (port, running)
}

fn load(args: &[&str]) -> Value {
    let exit = finish(bench(&["load", "--output", "json"]).args(args), MINUTE);
    assert_eq!(exit.code, Some(0), "{args:?}: {}{}", exit.stdout, exit.stderr);
    serde_json::from_str(&exit.stdout).expect("a report")
}

#[test]
fn generator_and_origin_speak_all_four() {
    for (scheme, tls) in [("http", &[][..]), ("https", &["--tls"])] {
        for h2 in [&[][..], &["--h2"]] {
            let (port, _running) = origin(&[tls, h2].concat());
            let url = format!("{scheme}://{}/bytes/100KiB", port.address());
            for upload in [&[][..], &["--upload", "300KiB"]] {
                let args = ["--connections", "3", "--requests", "60", &url];
                let report = load(&[&args[..], h2, upload].concat());
                assert_eq!((&report["responses"], &report["errors"]), (&60.into(), &0.into()), "{report}");
                assert!(report["octets"].as_u64() >= Some(60 * 100 * 1024), "{report}");
            }
        }
    }
}

#[test]
fn streams_and_resumed_sessions_are_asked_for() {
    let (port, _running) = origin(&["--tls", "--h2"]);
    let url = format!("https://{}/bytes/10", port.address());
    let many = load(&["--h2", "--streams", "20", "--connections", "2", "--requests", "1000", &url]);
    assert_eq!((&many["responses"], &many["octets"]), (&1000.into(), &10_000.into()), "{many}");
    for more in [&["--resume"][..], &["--tls12"], &[]] {
        let closing = load(&[&["--close", "--connections", "2", "--requests", "50", &url], more].concat());
        assert_eq!(closing["responses"], 50, "{closing}");
    }
}

#[test]
fn an_open_loop_keeps_its_rate_over_http_2() {
    let (port, _running) = origin(&["--h2"]);
    let url = format!("http://{}/bytes/10", port.address());
    let report = load(&["--h2", "--streams", "10", "--connections", "2", "--rate", "500", "--duration", "2", &url]);
    let sent = report["responses"].as_u64().unwrap_or(0) + report["unfinished"].as_u64().unwrap_or(0);
    assert!((950..=1000).contains(&sent), "{report}");
}

#[test]
fn whoever_does_not_listen_is_told() {
    let port = Port::reserve();
    let url = format!("http://{}/", port.address());
    let exit = finish(&mut bench(&["load", "--h2", "--requests", "2", "--output", "json", &url]), MINUTE);
    let report: Value = serde_json::from_str(&exit.stdout).expect("a report");
    assert_eq!((exit.code, &report["failures"]["connect"]), (Some(1), &2.into()), "{report}");
}

#[test]
fn h2load_is_served_by_the_origin() {
    for (scheme, tls) in [("http", &[][..]), ("https", &["--tls"])] {
        let (port, _running) = origin(&[&["--h2"], tls].concat());
        let url = format!("{scheme}://{}/bytes/1000", port.address());
        let exit = run("h2load", &["-n", "2000", "-c", "4", "-m", "10", "-t", "1", &url], MINUTE);
        assert!(exit.stdout.contains("2000 succeeded, 0 failed, 0 errored"), "{}{}", exit.stdout, exit.stderr);
        assert!(exit.stdout.contains("2000 2xx"), "{}", exit.stdout);
    }
}

#[test]
fn the_generator_is_served_by_nginx() {
    let dir = Dir::new();
    dir.write("file", vec![b'f'; 70_000]);
    let nginx = servers::nginx(dir.path(), "");
    let (plain, h2c) = (format!("{}/file", nginx.url()), servers::nginx_h2c(dir.path(), ""));
    let args = ["--connections", "2", "--requests", "200"];
    let one = load(&[&args[..], &[&plain]].concat());
    let two = load(&[&args[..], &["--h2", "--streams", "5", &format!("{}/file", h2c.url())]].concat());
    assert_eq!((&one["responses"], &two["responses"]), (&200.into(), &200.into()));
    assert_eq!(two["octets"], 200 * 70_000, "{two}");
}
