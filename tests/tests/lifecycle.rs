//! Start, reload, drain and end: under load nothing is lost, and whatever is wrong is said once, with the right status.

use std::time::Duration;

use rustix::process::Signal;
use weir_tests::dir::Dir;
use weir_tests::exchange::bytes;
use weir_tests::load::Load;
use weir_tests::origin::ok;
use weir_tests::ports::Port;
use weir_tests::weir::command;
use weir_tests::{Client, Config, Ended, Gate, Origin, wait};

#[test]
fn term_ends_an_idle_process_at_once() {
    let weir = Config::forwarding(Origin::ok("x").url()).start();
    let start = std::time::Instant::now();
    weir.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
}

#[test]
fn a_request_in_flight_at_term_is_answered_whole() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while conn.request().is_some() {
            held.pass();
            conn.send(ok("late"));
        }
    });
    let mut weir = Config::forwarding(origin.url()).start();
    let mut client = weir.client();
    client.write(bytes("GET", "/", &[], b""));
    origin.wait_requests(1);
    weir.signal(Signal::TERM);
    wait::until("it is not ready", || !weir.is_ready());
    gate.open();
    let response = client.response();
    assert_eq!(response.text(), "late");
    assert!(response.fields.names("connection", "close"));
    assert_eq!(client.ended(), Ended::Closed);
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
}

#[test]
fn draining_shows_in_ready_and_idle_connections_are_closed() {
    let gate = Gate::new();
    let held = gate.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while let Some(request) = conn.request() {
            if request.target == "/held" {
                held.pass();
            }
            conn.send(ok("x"));
        }
    });
    let mut weir = Config::forwarding(origin.url()).start();
    let mut idle = weir.client();
    assert_eq!(idle.exchange(bytes("GET", "/", &[], b"")).status, 200);
    let mut busy = weir.client();
    busy.write(bytes("GET", "/held", &[], b""));
    origin.wait_requests(2);
    weir.signal(Signal::TERM);
    assert_eq!(idle.ended(), Ended::Closed);
    let ready = weir_tests::manage(weir.management(), "/ready");
    assert_eq!(ready.status, 503);
    let checks = ready.json()["checks"].as_array().cloned().unwrap_or_default();
    assert!(checks.iter().any(|check| check["name"] == "draining" && check["code"] == "DRAINING"), "{}", ready.text());
    gate.open();
    assert_eq!(busy.response().status, 200);
    assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
}

#[test]
fn a_drain_ends_at_its_timeout_and_a_second_signal_ends_it_now() {
    for (drain, signals) in [("timeout = \"500ms\"", 1), ("timeout = \"1h\"", 2)] {
        let origin = Origin::scripted(|mut conn, _| {
            conn.request();
            conn.ended();
        });
        let mut weir = Config::forwarding(origin.url()).tables(&format!("[drain]\n{drain}")).start();
        let mut client = weir.client();
        client.write(bytes("GET", "/", &[], b""));
        origin.wait_requests(1);
        weir.signal(Signal::TERM);
        if signals == 2 {
            wait::until("the drain begins", || !weir.is_ready());
            weir.signal(Signal::TERM);
        }
        assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
        assert!(client.try_response("GET").is_err());
    }
}

#[test]
fn a_bad_document_on_reload_changes_nothing() {
    let origin = Origin::ok("old");
    let weir = Config::forwarding(origin.url()).start();
    let before = weir.generation();
    weir.reload_text("version = 1\n[[listener]]\nname = \"web\"\nbnd = \"127.0.0.1:1\"\n");
    wait::until("the problem is told", || weir.stderr().contains("bnd") || weir.stdout().contains("bnd"));
    assert_eq!(weir.get("/").text(), "old");
    assert_eq!(weir.generation(), before);
    assert!(weir.is_ready());
}

#[test]
fn a_reload_that_cannot_bind_changes_nothing() {
    let origin = Origin::ok("old");
    let weir = Config::forwarding(origin.url()).start();
    let before = weir.generation();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address").to_string();
    weir.reload_text(&format!("{}\n[[listener]]\nname = \"more\"\nbind = \"{address}\"\n", weir.text()));
    wait::until("the problem is told", || (weir.stderr() + &weir.stdout()).contains(&address));
    assert_eq!((weir.get("/").text().as_str(), weir.generation()), ("old", before));
}

#[test]
fn a_reload_moves_the_next_request_of_a_kept_connection() {
    let (old, new) = (Origin::ok("old"), Origin::ok("new"));
    let mut weir = Config::forwarding(old.url()).start();
    let mut client = weir.client();
    assert_eq!(client.exchange(bytes("GET", "/", &[], b"")).text(), "old");
    let url = new.url();
    weir.reload(|config| config.route(1000, "priority = -1\npath_prefix = \"/\"", &[&url]));
    wait::until("the new route answers on the old connection", || {
        client.exchange(bytes("GET", "/", &[], b"")).text() == "new"
    });
}

#[test]
fn a_removed_listener_drains_and_a_new_one_serves() {
    let origin = Origin::ok("x");
    let more = Port::reserve();
    let mut weir = Config::forwarding(origin.url()).start();
    let listener = format!(
        "[[listener]]\nname = \"more\"\nbind = \"{}\"\n[[route]]\nid = 9\nlistener = \"more\"\npath_prefix = \"/\"\n\
         [[route.target]]\nurl = \"{}\"",
        more.address(),
        origin.url()
    );
    let plain = weir.text();
    weir.reload(|config| config.tables(&listener));
    let mut kept = Client::connect(more.address());
    assert_eq!(kept.exchange(bytes("GET", "/", &[], b"")).status, 200);
    weir.reload_text(&plain);
    wait::until("the removed listener refuses", || std::net::TcpStream::connect(more.address()).is_err());
    kept.ended();
    assert_eq!(weir.get("/").status, 200);
}

#[test]
fn a_listener_with_another_name_keeps_its_socket() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).workers(2).start();
    let mut idle = weir.client();
    assert_eq!(idle.exchange(bytes("GET", "/", &[], b"")).status, 200);
    let load = Load::start(weir.web(), "/", 4);
    let text = weir.text().replace("\"web\"", "\"front\"");
    weir.reload_text(&text);
    wait::until("the next generation", || weir.generation() == 2);
    weir.wait_log("a request at the new name", |line| line["listener"] == "front");
    let (good, failures) = load.stop();
    assert!(good > 0 && failures.is_empty(), "{failures:?}");
    // Connections of the old name end as those of a listener that was removed.
    assert_eq!(idle.ended(), Ended::Closed);
    // And back, with an address beside it.
    let port = Port::reserve();
    let bind = format!("bind = [\"{}\", \"{}\"]", weir.web(), port.address());
    weir.reload_text(&weir.text().replace(&format!("bind = \"{}\"", weir.web()), &bind));
    wait::until("the third generation", || weir.generation() == 3);
    wait::until("the address beside it", || Client::try_connect(port.address()).is_ok());
    assert_eq!(weir.get("/").status, 200);
}

#[test]
fn usr1_reopens_the_access_log() {
    let origin = Origin::ok("x");
    let weir = Config::forwarding(origin.url()).start();
    weir.get("/one");
    weir.wait_log("the first request", |line| line["path"] == "/one");
    std::fs::rename(weir.path("access.log"), weir.path("old.log")).expect("rename");
    weir.signal(Signal::USR1);
    wait::until("a new file", || weir.path("access.log").exists());
    weir.get("/two");
    weir.wait_log("the second request", |line| line["path"] == "/two");
    let old = std::fs::read_to_string(weir.path("old.log")).expect("the old log");
    assert!(old.contains("/one") && !old.contains("/two"));
}

/// A command line that is refused: status, and what standard error names. One message: no backtrace, no panic.
fn refused(args: &[&str], code: i32, names: &[&str]) {
    let exit = command(args);
    assert_eq!(exit.code, Some(code), "weir {args:?}: {}{}", exit.stdout, exit.stderr);
    let said = exit.stderr.clone() + &exit.stdout;
    for name in names {
        assert!(said.contains(name), "weir {args:?} does not name {name}: {said}");
    }
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
}

#[test]
fn bad_flags_are_usage_errors() {
    refused(&["run", "--no-such-flag"], 2, &["--no-such-flag"]);
    refused(&["no-such-command"], 2, &["no-such-command"]);
    refused(&["run", "--config"], 2, &["--config"]);
}

#[test]
fn a_bad_document_is_refused_at_start_and_by_check() {
    let dir = Dir::new();
    let bad = dir.write(
        "weir.toml",
        "version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n[[route]]\nid = 10\nlistener = \"web\"\n\
         path_prefx = \"/\"\n[[route.target]]\nurl = \"http://127.0.0.1:2\"\n",
    );
    let path = bad.to_string_lossy().into_owned();
    let names = ["weir.toml:8", "route 10", "path_prefx", "path_prefix"];
    refused(&["check", "--config", &path], 1, &names);
    refused(&["run", "--config", &path], 1, &names);
    let torn = dir.write("torn.toml", "version = = 1\n").to_string_lossy().into_owned();
    refused(&["check", "--config", &torn], 1, &["torn.toml:1"]);
}

#[test]
fn an_unreadable_document_is_a_system_error() {
    let dir = Dir::new();
    let absent = dir.join("absent.toml").to_string_lossy().into_owned();
    refused(&["run", "--config", &absent], 7, &["absent.toml"]);
    let directory = dir.path().to_string_lossy().into_owned();
    refused(&["run", "--config", &directory], 7, &[&directory]);
}

#[test]
fn an_occupied_port_is_told_and_bound_once_it_is_free() {
    let origin = Origin::ok("x");
    let config = Config::forwarding(origin.url());
    let text = config.text();
    let bind = text.lines().find_map(|line| line.strip_prefix("bind = ")).expect("a bind").trim_matches('"').to_owned();
    let taken = std::net::TcpListener::bind(&bind).expect("bind");
    let weir = config.launch();
    wait::until("management answers", || std::net::TcpStream::connect(weir.management()).is_ok());
    let ready = wait::value("the failed bind is told", || {
        let ready = weir_tests::manage(weir.management(), "/ready");
        ready.text().contains("LISTENER_BIND_FAILED").then_some(ready)
    });
    assert_eq!(ready.status, 503);
    wait::until("the log names the address", || (weir.stderr() + &weir.stdout()).contains(&bind));
    drop(taken);
    weir.wait_ready();
    assert_eq!(weir.get("/").text(), "x");
}

#[test]
fn an_occupied_management_port_ends_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address").to_string();
    let (dir, port) = (Dir::new(), Port::reserve());
    let text = format!(
        "version = 1\n[management]\nlisten = [\"{address}\"]\n[[listener]]\nname = \"web\"\nbind = \"{}\"\n\
         [[route]]\nid = 1\nlistener = \"web\"\npath_prefix = \"/\"\n[[route.target]]\nurl = \"http://127.0.0.1:9\"\n",
        port.address()
    );
    let path = dir.write("weir.toml", text).to_string_lossy().into_owned();
    refused(&["run", "--config", &path], 7, &[&address]);
}

/// Under load for seconds.
mod heavy {
    use super::*;

    #[test]
    fn term_under_load_loses_no_request() {
        let origin = Origin::ok("x");
        for workers in [1, 2] {
            let mut weir = Config::forwarding(origin.url()).workers(workers).start();
            let load = Load::start(weir.web(), "/", 32);
            load.progress(2000);
            weir.signal(Signal::TERM);
            assert_eq!(weir.wait_end(Duration::from_secs(30)).code, Some(0));
            let (good, failures) = load.stop();
            assert!(failures.is_empty(), "{} lost of {good}: {:?}", failures.len(), &failures[..failures.len().min(5)]);
        }
    }

    #[test]
    fn a_hundred_reloads_under_load_lose_none() {
        let (one, two) = (Origin::ok("x"), Origin::ok("x"));
        let mut weir = Config::forwarding(one.url()).workers(2).start();
        let load = Load::start(weir.web(), "/", 16);
        let urls = [two.url(), one.url()];
        for n in 0..100_i32 {
            let url = &urls[n as usize % 2];
            weir.reload(|config| {
                config.route(1000 + n as u32, &format!("priority = {}\npath_prefix = \"/\"", -n - 1), &[url])
            });
            load.progress(50);
        }
        let (good, failures) = load.stop();
        assert!(failures.is_empty(), "{} lost of {good}: {:?}", failures.len(), &failures[..failures.len().min(5)]);
        assert!(one.requests().len() > 100 && two.requests().len() > 100);
        assert_eq!(weir.stop().code, Some(0));
    }
}
