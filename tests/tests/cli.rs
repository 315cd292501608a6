//! The commands of the binary, as scripts and people use them: what they print, and how they end.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use weir_tests::dir::Dir;
use weir_tests::ports::Port;
use weir_tests::program::{Running, find, finish};
use weir_tests::weir::{binary, command};
use weir_tests::{Config, Exit, Origin, get, wait};

use rustix::process::{Pid, Signal, kill_process};

/// Runs weir on a document.
fn on(document: &Path, args: &[&str]) -> Exit {
    let path = document.to_string_lossy().into_owned();
    command(&[args, &["--config", &path]].concat())
}

#[track_caller]
fn ends(exit: &Exit, code: i32, words: &[&str]) {
    let said = format!("{}{}", exit.stdout, exit.stderr);
    assert_eq!(exit.code, Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
}

/// A document with one listener and these tables.
fn document(dir: &Dir, tables: &str) -> std::path::PathBuf {
    dir.write("weir.toml", format!("version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n{tables}"))
}

const ROUTES: &str = r#"
[[route]]
id = 10
name = "api"
listener = "web"
host = "app.test"
path_prefix = "/api"
rewrite = { strip_prefix = true }
[[route.target]]
name = "a"
url = "http://127.0.0.1:2"
[[route.target]]
name = "spare"
url = "http://127.0.0.1:3"
priority_group = 1
[[route]]
id = 20
name = "old"
listener = "web"
path_prefix = "/old"
action = "redirect"
redirect = { mode = "same_host_path", target = "/new" }
[[route]]
id = 30
name = "named"
listener = "web"
host = "named.test"
path_prefix = "/"
[[route.header]]
name = "X-Beta"
value = "1"
[[route.target]]
url = "http://upstream.test"
"#;

mod check {
    use super::*;

    #[test]
    fn the_built_in_document_is_valid() {
        let exit = command(&["check"]);
        ends(&exit, 0, &["default.toml: valid: 1 listener, 1 route, 0 warnings"]);
        assert_eq!(exit.stderr, "");
    }

    #[test]
    fn every_stage_is_heard_and_no_file_is_made() {
        let dir = Dir::new();
        let tables = format!(
            "[[access_log]]\nname = \"l\"\noutput = \"file\"\npath = \"{0}/access.log\"\n\
             [error_pages]\n404 = \"{0}/absent.html\"\n\
             [[route]]\nid = 10\nlistener = \"web\"\npath_regex = \"(\"\n[[route.target]]\nurl = \"http://127.0.0.1:2\"\n\
             [[route]]\nid = 20\nlistener = \"web\"\nhost = \"a..b\"\n[[route.target]]\nurl = \"http://127.0.0.1:2\"\n",
            dir.path().display()
        );
        let exit = on(&document(&dir, &tables), &["check"]);
        ends(&exit, 1, &["route 10", "route 20", "absent.html"]);
        assert_eq!(exit.stdout, "");
        assert!(!dir.join("access.log").exists(), "check makes no files");
    }

    #[test]
    fn a_problem_is_said_once() {
        let dir = Dir::new();
        let exit = on(&document(&dir, "[[route]]\nid = 10\nlistener = \"web\"\nhost = \"a..b\"\n"), &["check"]);
        let mut lines: Vec<&str> = exit.stderr.lines().collect();
        let all = lines.len();
        lines.dedup();
        assert_eq!(lines.len(), all, "{}", exit.stderr);
    }
}

mod explain {
    use super::*;

    fn explain(args: &[&str]) -> Exit {
        let dir = Dir::new();
        on(&document(&dir, ROUTES), &[&["explain"], args].concat())
    }

    #[test]
    fn a_forwarded_request_shows_every_route_the_rewrite_and_the_endpoints() {
        let exit = explain(&["GET", "http://app.test/api/x?q=1"]);
        ends(
            &exit,
            0,
            &["winner    route 10 (api)", "the upstream sees /x", "127.0.0.1:2", "other_group", "not_reached"],
        );
    }

    #[test]
    fn a_redirect_shows_its_location_and_why_others_failed() {
        let exit = explain(&["GET", "http://x.test/old/y?q"]);
        ends(&exit, 0, &["redirect  302 to /new/y?q", "failed", "app.test", "x.test"]);
    }

    #[test]
    fn json_is_the_whole_record() {
        let exit = explain(&["GET", "http://app.test/api/x", "--json", "--listener", "web", "--client", "192.0.2.7"]);
        let record: serde_json::Value = serde_json::from_str(&exit.stdout).expect("JSON");
        assert_eq!((record["winner"].as_u64(), record["listener"].as_str()), (Some(10), Some("web")));
        assert_eq!(record["routes"][0]["verdict"], "matched");
        assert_eq!(record["endpoints"][1]["skip_reason"], "other_group");
    }

    #[test]
    fn header_fields_decide_and_names_are_left_for_the_running_weir() {
        ends(&explain(&["GET", "http://named.test/", "-H", "X-Beta: 0"]), 1, &["no_route"]);
        let exit = explain(&["GET", "http://named.test/", "-H", "X-Beta: 1"]);
        ends(&exit, 0, &["route 30", "names are resolved only while weir runs"]);
    }

    #[test]
    fn what_nobody_answers_is_a_no() {
        ends(&explain(&["GET", "http://x.test/"]), 1, &["404 no_route"]);
        ends(&explain(&["GET", "http://app.test/api/%2e%2e/x"]), 1, &["400 invalid_request_target"]);
        ends(&explain(&["GET", "http://app.test/", "--listener", "absent"]), 1, &["no listener \"absent\""]);
        ends(&explain(&["GET", "ftp://app.test/"]), 1, &["only http"]);
    }

    #[test]
    fn bad_arguments_and_bad_documents_are_usage_errors() {
        ends(&explain(&["GET"]), 2, &["URL"]);
        ends(&explain(&["GET", "http://a.test/", "-H", "no-colon"]), 2, &["NAME: VALUE"]);
        ends(&explain(&["GET", "http://a.test/", "--client", "here"]), 2, &["--client"]);
        let dir = Dir::new();
        let bad = document(&dir, "[[route]]\nid = 10\nlistener = \"web\"\nhost = \"a\"\npath_regex = \"(\"\n");
        ends(&on(&bad, &["explain", "GET", "http://a.test/"]), 2, &["route 10"]);
        ends(&on(&dir.join("absent.toml"), &["explain", "GET", "http://a.test/"]), 7, &["absent.toml"]);
    }
}

mod status {
    use super::*;

    /// A document whose management address is `address`.
    fn asking(dir: &Dir, address: impl std::fmt::Display) -> std::path::PathBuf {
        dir.write("status.toml", format!("version = 1\n[management]\nlisten = [\"{address}\"]\n"))
    }

    #[test]
    fn a_ready_weir_is_a_yes() {
        let origin = Origin::ok("x");
        let weir = Config::forwarding(origin.url()).start();
        let path = weir.path("weir.toml");
        ends(&on(&path, &["status"]), 0, &["ready: weir", "generation 1", "curl -s http://"]);
        let exit = on(&path, &["status", "-o", "json", "--wait", "10s"]);
        let status: serde_json::Value = serde_json::from_str(&exit.stdout).expect("JSON");
        assert_eq!((exit.code, &status["ready"]["ready"]), (Some(0), &true.into()));
        assert_eq!(status["health"]["status"], "ok");
        assert_eq!(status["stats"]["generation"], 1);
    }

    #[test]
    fn an_unready_weir_says_which_check_fails_and_what_to_do() {
        let config = Config::forwarding("http://127.0.0.1:9");
        let text = config.text();
        let bind =
            text.lines().find_map(|line| line.strip_prefix("bind = ")).expect("a bind").trim_matches('"').to_owned();
        let taken = std::net::TcpListener::bind(&bind).expect("bind");
        let weir = config.launch();
        wait::until("management answers", || std::net::TcpStream::connect(weir.management()).is_ok());
        let path = weir.path("weir.toml");
        wait::until("workers turn", || on(&path, &["status"]).stdout.contains("LISTENER_BIND_FAILED"));
        let hint = "free the address or change bind";
        ends(&on(&path, &["status"]), 1, &["not ready", "dataplane_config", &bind, hint, "/ready"]);
        ends(&on(&path, &["status", "--wait", "300ms"]), 6, &["LISTENER_BIND_FAILED"]);
        drop(taken);
        ends(&on(&path, &["status", "--wait", "10s"]), 0, &["ready: "]);
    }

    #[test]
    fn nobody_there_is_unreachable_and_with_a_wait_a_timeout() {
        let (dir, port) = (Dir::new(), Port::reserve());
        let path = asking(&dir, port.address());
        ends(&on(&path, &["status"]), 3, &["nobody listens there"]);
        ends(&on(&path, &["status", "--wait", "250ms"]), 6, &["nobody listens there"]);
        ends(&on(&path, &["status", "-o", "json"]), 3, &["\"error\""]);
    }

    #[test]
    fn somebody_else_or_silence_is_not_weir() {
        let (dir, origin) = (Dir::new(), Origin::ok("x"));
        let path = asking(&dir, origin.url().trim_start_matches("http://").trim_end_matches('/'));
        ends(&on(&path, &["status"]), 3, &["does not answer as weir does"]);
        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let path = asking(&dir, silent.local_addr().expect("an address"));
        let begun = Instant::now();
        ends(&on(&path, &["status", "--wait", "500ms"]), 6, &["no answer in time"]);
        assert!(begun.elapsed() < Duration::from_secs(3), "the wait bounds the request too");
    }

    #[test]
    fn bad_values_are_usage_errors() {
        ends(&command(&["status", "--wait", "soon"]), 2, &["a duration is"]);
        ends(&command(&["status", "-o", "yaml"]), 2, &["yaml"]);
        let dir = Dir::new();
        let bad = dir.write("bad.toml", "version = 1\nno_such_key = 1\n");
        ends(&on(&bad, &["status"]), 2, &["no_such_key"]);
    }
}

mod demo {
    use super::*;

    struct Demo {
        running: Running,
        listen: Port,
        management: Port,
    }

    fn flags<'a>(listen: &'a str, management: &'a str) -> [&'a str; 5] {
        ["demo", "--listen", listen, "--management", management]
    }

    impl Demo {
        fn start(dir: &Dir, more: &[&str]) -> Self {
            let (listen, management) = (Port::reserve(), Port::reserve());
            let (at, managed) = (listen.address().to_string(), management.address().to_string());
            let mut command = Command::new(binary());
            command.args(flags(&at, &managed)).args(more).env("TMPDIR", dir.path());
            Self { running: Running::start(&mut command), listen, management }
        }

        fn wait_greeting(&self) -> String {
            wait::value("the greeting", || {
                let text = self.running.read("stdout");
                text.contains("Ctrl-C").then_some(text)
            })
        }

        fn get(&self, path: &str) -> weir_tests::Response {
            get(self.listen.address(), path)
        }
    }

    /// Folders and files in the directory for temporary ones.
    fn left(dir: &Dir) -> usize {
        std::fs::read_dir(dir.path()).expect("readable").count()
    }

    #[test]
    fn it_shows_what_it_says_and_leaves_nothing() {
        let dir = Dir::new();
        let demo = Demo::start(&dir, &[]);
        let greeting = demo.wait_greeting();
        let folder = std::fs::read_dir(dir.path()).expect("readable").flatten().next().expect("a folder").path();
        assert!(greeting.contains(&format!("--config {}", folder.join("weir.toml").display())), "{greeting}");
        wait::until("both origins have answered", || {
            let two = [demo.get("/hello").text(), demo.get("/hello").text()];
            two.iter().any(|text| text.starts_with("origin a")) && two.iter().any(|text| text.starts_with("origin b"))
        });
        assert_eq!(demo.get("/app/users?id=7").text(), "origin a answers GET /users?id=7\n");
        assert_eq!(demo.get("/old/page").fields.first("location"), Some("/hello/page"));
        assert_eq!(demo.get("/bytes/100000").body.len(), 100_000);
        assert!(demo.get("/down").text().contains("upstream_connect_refused"));
        assert!(demo.get("/").text().contains("/app/users?id=7"));
        wait::until("the spare serves", || demo.get("/spare").text().starts_with("origin b"));
        let stats = || weir_tests::manage(demo.management.address(), "/api/v1/stats").json();
        let before = stats()["http"]["requests"].as_u64();
        wait::until("traffic of its own", || stats()["http"]["requests"].as_u64() > before);
        let pid = Pid::from_raw(demo.running.pid().cast_signed()).expect("a process");
        kill_process(pid, Signal::INT).expect("it runs");
        wait::until("its folder is gone", || left(&dir) == 0);
        wait::until("its port is free", || std::net::TcpListener::bind(demo.listen.address()).is_ok());
    }

    #[test]
    fn it_ends_by_itself_in_the_time_given() {
        let (dir, listen, management) = (Dir::new(), Port::reserve(), Port::reserve());
        let (at, managed) = (listen.address().to_string(), management.address().to_string());
        let mut command = Command::new(binary());
        command.args(flags(&at, &managed)).args(["--for", "300ms"]).env("TMPDIR", dir.path());
        ends(&finish(&mut command, wait::SOON), 0, &[&at, "curl"]);
        assert_eq!(left(&dir), 0);
    }

    #[test]
    fn occupied_addresses_end_it_with_a_reason() {
        let (dir, free) = (Dir::new(), Port::reserve());
        let held = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let (taken, free) = (held.local_addr().expect("an address").to_string(), free.address().to_string());
        let run = |listen: &str, management: &str| {
            finish(Command::new(binary()).args(flags(listen, management)).env("TMPDIR", dir.path()), wait::SOON)
        };
        ends(&run(&taken, &free), 7, &[&taken, "--listen"]);
        ends(&run(&free, &taken), 7, &[&taken, "management"]);
        assert_eq!(left(&dir), 0);
    }

    #[test]
    fn bad_values_are_usage_errors() {
        ends(&command(&["demo", "--listen", "here"]), 2, &["IP:PORT"]);
        ends(&command(&["demo", "--listen", "127.0.0.1:0"]), 2, &["IP:PORT"]);
        ends(&command(&["demo", "--for", "ever"]), 2, &["a duration is"]);
    }
}

mod run {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_opened_is_named() {
        let dir = Dir::new();
        let path = document(&dir, &format!("[log]\nfile = \"{}/absent/own.log\"\n", dir.path().display()));
        ends(&on(&path, &["run"]), 7, &["absent/own.log"]);
    }

    #[test]
    fn an_occupied_management_port_is_told_with_its_cure() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = taken.local_addr().expect("an address").to_string();
        let dir = Dir::new();
        let path = document(&dir, &format!("[management]\nlisten = [\"{address}\"]\n"));
        let exit = on(&path, &["run"]);
        ends(&exit, 7, &[&address, "management.listen"]);
        assert_eq!(exit.stderr.lines().filter(|line| line.starts_with("weir: ")).count(), 1, "{}", exit.stderr);
    }

    /// Has every io_uring call of a program fail with EPERM, as the seccomp profiles of containers do.
    const FORBID: &str = "
import ctypes, os, struct, sys
LOAD, EQUAL, RETURN, ALLOW, ERRNO = 0x20, 0x15, 0x06, 0x7FFF0000, 0x50000
# Load the call's number; 425 is io_uring_setup on every architecture.
code = [(LOAD, 0, 0, 0), (EQUAL, 0, 1, 425), (RETURN, 0, 0, ERRNO | 1), (RETURN, 0, 0, ALLOW)]
octets = b''.join(struct.pack('HBBI', *one) for one in code)
held = ctypes.create_string_buffer(octets)
program = ctypes.create_string_buffer(struct.pack('HxxxxxxP', len(code), ctypes.addressof(held)))
libc = ctypes.CDLL(None, use_errno=True)
NO_NEW_PRIVS, SECCOMP, FILTER = 38, 22, 2
if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(SECCOMP, FILTER, ctypes.byref(program), 0, 0):
    sys.exit('prctl: ' + os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
";

    #[test]
    fn forbidden_io_uring_ends_it_with_cause_and_cure_by_python() {
        let (dir, management) = (Dir::new(), Port::reserve());
        let path = document(&dir, &format!("[management]\nlisten = [\"{}\"]\n", management.address()));
        let mut command = Command::new(find("python3"));
        command.args(["-c", FORBID]).arg(binary()).args(["run", "--config"]).arg(path);
        let exit = finish(&mut command, wait::SOON);
        ends(&exit, 7, &["io_uring is not allowed here", "kernel.io_uring_disabled", "seccomp"]);
    }
}
