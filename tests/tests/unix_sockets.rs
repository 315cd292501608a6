//! Listeners on Unix sockets: one for all workers, in a file with its own mode and owner, which comes and goes with them.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::process::Signal;
use weir_tests::dir::Dir;
use weir_tests::exchange::bytes;
use weir_tests::weir::command;
use weir_tests::{Config, Origin, Weir, manage, wait};

/// A config with a listener at this socket file, with these keys.
fn config(path: &Path, keys: &str, origin: &Origin) -> Config {
    Config::new().tables(&listener(path, keys)).tables(&format!(
        "[[route]]\nid = 7\nlistener = \"sock\"\npath_prefix = \"/\"\n[[route.target]]\nurl = \"{}\"",
        origin.url()
    ))
}

fn listener(path: &Path, keys: &str) -> String {
    format!("[[listener]]\nname = \"sock\"\nbind = \"unix:{}\"\n{keys}", path.display())
}

/// The answer to one request there, if anybody listens.
fn ask(path: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(path).ok()?;
    stream.set_read_timeout(Some(wait::SOON)).expect("a timeout");
    stream.write_all(&bytes("GET", "/", &[("Connection", "close")], b"")).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn serves(path: &Path) -> bool {
    ask(path).is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("the socket file").mode() & 0o7777
}

#[test]
fn all_workers_serve_one_socket_of_the_usual_mode() {
    let (dir, origin) = (Dir::new(), Origin::ok("hello"));
    let path = dir.join("s");
    let weir = config(&path, "", &origin).workers(3).start();
    assert_eq!(mode(&path), 0o660);
    let mut held = Vec::new();
    wait::until("every worker to serve", || {
        assert!(serves(&path));
        held.push(UnixStream::connect(&path).expect("connects"));
        let workers: std::collections::HashSet<_> =
            weir.log().iter().filter_map(|line| line["worker"].as_u64()).collect();
        workers.len() == 3
    });
    let line = weir.wait_log("a request", |line| line["listener"] == "sock");
    assert!(line["client_ip"].is_null() && line["peer_ip"].is_null(), "{line}");
    assert_eq!(origin.last().fields.first("x-forwarded-for"), Some("unix"));
    let health = manage(weir.management(), "/ready").text();
    assert!(!health.contains("LISTENER_BIND_FAILED"), "{health}");
}

#[test]
fn mode_owner_and_group_are_as_written_and_follow_a_reload() {
    let (dir, origin) = (Dir::new(), Origin::ok("hello"));
    let path = dir.join("s");
    let meta = std::fs::metadata(dir.path()).expect("a directory");
    // Root may give files away; anybody else only to itself.
    let (uid, gid) = if meta.uid() == 0 { (1, 2) } else { (meta.uid(), meta.gid()) };
    let keys = format!("mode = \"0600\"\nowner = \"{uid}\"\ngroup = \"{gid}\"");
    let mut weir = config(&path, &keys, &origin).start();
    let inode = std::fs::metadata(&path).expect("the socket file").ino();
    let now = std::fs::metadata(&path).expect("the socket file");
    assert_eq!((mode(&path), now.uid(), now.gid()), (0o600, uid, gid));
    weir.reload(|config| config.replace(&keys, "mode = \"0666\""));
    let now = std::fs::metadata(&path).expect("the socket file");
    assert_eq!((mode(&path), now.uid(), now.gid()), (0o666, meta.uid(), meta.gid()));
    assert_eq!(now.ino(), inode, "the same socket");
    assert!(serves(&path));
    // An owner that nobody is refuses the reload, and changes nothing.
    weir.reload_text(&weir.text().replace("mode = \"0666\"", "mode = \"0600\"\nowner = \"nobody-knows-me\""));
    wait::until("the refusal", || (weir.stderr() + &weir.stdout()).contains("nobody-knows-me"));
    assert_eq!((mode(&path), weir.generation()), (0o666, 2));
}

#[test]
fn the_file_goes_with_the_process() {
    let (dir, origin) = (Dir::new(), Origin::ok("hello"));
    let path = dir.join("s");
    for signals in [1, 2] {
        let mut weir = config(&path, "", &origin).start();
        assert!(serves(&path));
        for _ in 0..signals {
            weir.signal(Signal::TERM);
        }
        assert_eq!(weir.wait_end(wait::SOON).code, Some(0));
        assert!(!path.exists(), "after {signals} signals");
    }
}

#[test]
fn what_a_killed_process_left_is_replaced_and_what_lives_is_not() {
    let (dir, origin) = (Dir::new(), Origin::ok("hello"));
    let path = dir.join("s");
    let mut first = config(&path, "", &origin).start();
    first.signal(Signal::KILL);
    assert_eq!(first.wait_end(wait::SOON).code, None);
    assert!(path.exists() && ask(&path).is_none(), "a stale file");
    let second = config(&path, "", &origin).start();
    assert!(serves(&path));
    // A third finds it live: it says so, is not ready, and takes nothing away.
    let third = config(&path, "", &origin).launch();
    wait::until("the third to say so", || third.stderr().contains("in use") || third.stdout().contains("in use"));
    assert!(!third.is_ready() && serves(&path));
    let inode = std::fs::metadata(&path).expect("the socket file").ino();
    drop(third);
    assert_eq!(std::fs::metadata(&path).expect("the socket file").ino(), inode);
    assert!(serves(&path));
    drop(second);
}

#[test]
fn a_file_that_another_process_put_there_stays() {
    let (dir, origin) = (Dir::new(), Origin::ok("hello"));
    let path = dir.join("s");
    let weir = config(&path, "", &origin).start();
    std::fs::remove_file(&path).expect("removed");
    let _other = UnixListener::bind(&path).expect("binds");
    weir.stop();
    assert!(path.exists());
    UnixStream::connect(&path).expect("the other still listens");
}

#[test]
fn a_file_of_another_kind_is_not_touched() {
    let (dir, origin) = (Dir::new(), Origin::ok("hello"));
    let path = dir.write("precious", "data");
    let weir = config(&path, "", &origin).launch();
    wait::until("it is told", || (weir.stderr() + &weir.stdout()).contains("not a socket"));
    assert!(!weir.is_ready());
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "data");
    // It is bound as soon as nothing is in the way.
    std::fs::remove_file(&path).expect("removed");
    weir.wait_ready();
    assert!(serves(&path));
}

/// Reloads the text with `from` in the place of `to`, and waits for the generation.
fn reload(weir: &Weir, from: &str, to: &str) {
    let before = weir.generation();
    let text = weir.text();
    assert!(text.contains(from), "no {from:?} in {text}");
    weir.reload_text(&text.replace(from, to));
    wait::until("the next generation", || weir.generation() > before);
}

#[test]
fn a_reload_removes_adds_and_renames() {
    let (dir, origin) = (Dir::new(), Origin::ok("hello"));
    let (path, other) = (dir.join("s"), dir.join("t"));
    let weir = config(&path, "", &origin).workers(2).start();
    let bind = format!("bind = \"unix:{}\"", path.display());
    let mut kept = UnixStream::connect(&path).expect("connects");
    kept.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").expect("written");
    reload(&weir, &bind, &format!("bind = \"unix:{}\"", other.display()));
    wait::until("the new socket to serve", || serves(&other));
    wait::until("the old file to go", || !path.exists());
    // What has begun at the old one is finished there.
    kept.write_all(b"\r\n").expect("written");
    let mut answer = [0; 12];
    kept.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    // And back, under another name, in one step.
    let text = weir.text();
    weir.reload_text(&text.replace("\"sock\"", "\"front\""));
    wait::until("the third generation", || weir.generation() == 3);
    wait::until("the old socket to serve again", || serves(&path));
    wait::until("the other file to go", || !other.exists());
    let inode = std::fs::metadata(&path).expect("the socket file").ino();
    weir.reload_text(&text);
    wait::until("the fourth generation", || weir.generation() == 4);
    assert!(serves(&path));
    assert_eq!(std::fs::metadata(&path).expect("the socket file").ino(), inode, "a name alone keeps the socket");
}

#[test]
fn bad_keys_are_problems_of_the_document() {
    let dir = Dir::new();
    let long = format!("bind = \"unix:/{}\"", "x".repeat(107));
    for (lines, names) in [
        ("bind = \"unix:s\"", "absolute path"),
        (long.as_str(), "107"),
        ("bind = \"unix:/run/s\"\nmode = \"9\"", "mode"),
        ("bind = \"unix:/run/s\"\nmode = 660", "mode"),
        ("bind = \"127.0.0.1:1\"\nmode = \"0600\"", "mode"),
        ("bind = \"127.0.0.1:1\"\nowner = \"root\"", "owner"),
        ("bind = \"127.0.0.1:1\"\ngroup = \"root\"", "group"),
    ] {
        let text = format!("version = 1\n[[listener]]\nname = \"sock\"\n{lines}\n");
        let path = dir.write("weir.toml", text).to_string_lossy().into_owned();
        let exit = command(&["check", "--config", &path]);
        assert_eq!(exit.code, Some(1), "{lines}: {}", exit.stderr);
        let said = exit.stderr + &exit.stdout;
        assert!(said.contains(names), "{lines}: {said}");
    }
}
