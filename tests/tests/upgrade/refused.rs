//! Whatever keeps another binary from taking over: it is said, with the right status, and the old one serves on.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use weir_tests::ports::Port;
use weir_tests::weir::command;
use weir_tests::{Config, Origin, Weir, wait};

/// A program in the test's directory that is no weir.
pub(crate) fn script(config: &Config, body: &str) -> String {
    let path = config.path("not-weir");
    std::fs::write(&path, format!("#!/bin/sh\n# {}\n{body}\n", path.display())).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
    path.to_string_lossy().into_owned()
}

/// It is the only process, ready, answers, and can be upgraded.
#[track_caller]
pub(crate) fn serves_on(weir: &Weir) {
    wait::until("the other process is gone", || weir.processes().len() == 1);
    assert!(weir.alive());
    assert_eq!(weir.get("/").status, 200);
    wait::until("it is ready", || weir.is_ready());
    let new = weir.upgraded(&[]);
    assert_eq!(weir.get("/").status, 200);
    wait::until("the old one has ended", || weir.processes().iter().all(|one| one.0 == new.0));
}

#[test]
fn a_binary_that_ends_at_once_changes_nothing() {
    let origin = Origin::ok("x");
    let config = Config::forwarding(origin.url()).without_kernel();
    let crashes = script(&config, "exit 3");
    let weir = config.start();
    let exit = weir.upgrade(&["--binary", &crashes]);
    assert_eq!(exit.code, Some(1), "{}", exit.stderr);
    assert!(exit.stderr.contains("exit status: 3") && exit.stderr.contains("serves on"), "{}", exit.stderr);
    let exit = weir.upgrade(&["--binary", "/no/such/binary"]);
    assert_eq!(exit.code, Some(1), "{}", exit.stderr);
    assert!(exit.stderr.contains("/no/such/binary"), "{}", exit.stderr);
    serves_on(&weir);
}

#[test]
fn a_document_that_is_bad_by_now_is_told_to_whoever_asks() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).without_kernel().start();
    let text = weir.text();
    // The command itself has another document, with the same socket.
    let socket = weir.path("upgrade.sock");
    let other = weir.path("other.toml");
    std::fs::write(&other, format!("version = 1\nupgrade_socket = \"{}\"\n", socket.display())).expect("written");
    weir.write(&text.replace("[[route]]", "[[route]]\npath_prefx = \"/\""));
    let ask = || command(&["upgrade", "--config", &other.to_string_lossy()]);
    let exit = ask();
    assert_eq!(exit.code, Some(1), "{}", exit.stderr);
    assert!(exit.stderr.contains("path_prefx"), "{}", exit.stderr);
    // An address that somebody else has: the new process is not to do less than the document says.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    weir.write(&format!("{text}[[listener]]\nname = \"more\"\nbind = \"{address}\"\n"));
    let exit = ask();
    assert_eq!(exit.code, Some(1), "{}", exit.stderr);
    assert!(exit.stderr.contains(&address), "{}", exit.stderr);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    weir.write(&text.replace(&format!("listen = [\"{}\"]", weir.management()), &format!("listen = [\"{address}\"]")));
    let exit = ask();
    assert_eq!(exit.code, Some(1), "{}", exit.stderr);
    assert!(exit.stderr.contains(&address), "{}", exit.stderr);
    weir.write(&text);
    serves_on(&weir);
}

#[test]
fn an_upgrade_during_an_upgrade_is_refused() {
    let origin = Origin::ok("x");
    let config = Config::forwarding(origin.url()).without_kernel();
    let hangs = script(&config, "while :; do sleep 0.05; done");
    let weir = config.start();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| weir.upgrade(&["--binary", &hangs]));
        let child = wait::value("the binary runs", || {
            weir.processes().into_iter().find(|one| {
                let line = std::fs::read(format!("/proc/{}/cmdline", one.0)).unwrap_or_default();
                String::from_utf8_lossy(&line).contains("not-weir\0run")
            })
        });
        let second = weir.upgrade(&[]);
        assert_eq!(second.code, Some(1), "{}", second.stderr);
        assert!(second.stderr.contains("under way"), "{}", second.stderr);
        assert_eq!(weir.get("/").status, 200);
        child.signal(Signal::KILL);
        let first = first.join().expect("a status");
        assert_eq!(first.code, Some(1), "{}", first.stderr);
        assert!(first.stderr.contains("signal: 9"), "{}", first.stderr);
    });
    serves_on(&weir);
}

#[test]
fn without_a_socket_weir_serves_and_says_that_it_cannot_be_upgraded() {
    let origin = Origin::ok("x");
    let first = Config::forwarding(origin.url()).without_kernel().start();
    let taken = first.path("upgrade.sock");
    let warned = |weir: &Weir| weir.api("/ready")["warnings"].to_string();
    let unusable = ["/no/such/directory/upgrade.sock".to_owned(), taken.to_string_lossy().into_owned()];
    for path in unusable {
        let weir = Config::forwarding(origin.url()).without_kernel().upgrade_socket(&path).start();
        assert_eq!(weir.get("/").status, 200);
        wait::until("a warning", || warned(&weir).contains("UPGRADE_SOCKET"));
        assert!(warned(&weir).contains(&path), "{}", warned(&weir));
        weir.signal(Signal::USR2);
        wait::until("it says why not", || weir.stderr().contains("upgrade_socket"));
        weir.stop();
    }
    assert!(taken.exists(), "it is the first one's");
    assert!(!warned(&first).contains("UPGRADE_SOCKET"), "{}", warned(&first));
    let off = Config::forwarding(origin.url()).without_kernel().upgrade_socket("").start();
    assert!(!warned(&off).contains("UPGRADE_SOCKET"), "it is not wanted: {}", warned(&off));
    assert_eq!(off.upgrade(&[]).code, Some(3));
    serves_on(&first);
}

#[test]
fn nobody_to_ask_is_told_from_an_answer_of_no() {
    let port = Port::reserve();
    let dir = weir_tests::dir::Dir::new();
    let socket = dir.join("upgrade.sock");
    let text = |socket: &str| {
        format!("version = 1\nupgrade_socket = \"{socket}\"\n[management]\nlisten = [\"{}\"]\n", port.address())
    };
    let path = dir.write("weir.toml", text(&socket.to_string_lossy())).to_string_lossy().into_owned();
    let exit = command(&["upgrade", "--config", &path]);
    assert_eq!(exit.code, Some(3), "{}", exit.stderr);
    assert!(exit.stderr.contains("upgrade.sock"), "{}", exit.stderr);
    let exit = command(&["run", "--takeover", "--config", &path]);
    assert_eq!(exit.code, Some(7), "{}", exit.stderr);
    assert!(exit.stderr.contains("upgrade.sock"), "{}", exit.stderr);
    for bad in ["relative.sock".to_owned(), format!("/{}", "x".repeat(108))] {
        dir.write("weir.toml", text(&bad));
        let exit = command(&["check", "--config", &path]);
        assert_eq!(exit.code, Some(1));
        assert!((exit.stderr + &exit.stdout).contains("upgrade_socket"));
    }
}

#[test]
fn more_workers_that_never_get_ready_take_no_connection() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).without_kernel().start();
    let text = weir.text();
    // What is required is on an interface that is not there: the new process is never ready.
    let off = "[kernel]\nmode = \"off\"\nflow = false\nsteer = \"off\"";
    let wish = "[kernel]\nmode = \"dry_run\"\nrequired = [\"drop\"]\ninterfaces = [\"nowhere0\"]";
    assert!(text.contains(off) && text.contains("workers = 1"));
    weir.write(&text.replace(off, wish).replace("workers = 1", "workers = 8"));
    let exit = std::thread::scope(|scope| {
        let asked = scope.spawn(|| weir.upgrade(&[]));
        wait::until("the other process is there", || weir.processes().len() == 2);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            assert_eq!(weir.get("/").status, 200);
        }
        assert!(!asked.is_finished());
        weir.processes()[1].signal(Signal::KILL);
        asked.join().expect("an end")
    });
    assert_eq!(exit.code, Some(1), "{}", exit.stderr);
    weir.write(&text);
    serves_on(&weir);
}
