//! The binary under test: started on a config, observed, signalled, stopped; killed if a test forgets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::client::Client;
use crate::config::Config;
use crate::exchange::{get, manage, request};
use crate::h2::Peer;
use crate::message::Response;
use crate::metrics::Metrics;
use crate::process::Process;
use crate::tls::Connector;
use crate::wait;

/// Where the binary is: `WEIR_BIN`, or beside this test in the target directory. `cargo xtask test` builds it there.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("WEIR_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("this test's path");
    // target/PROFILE/deps/NAME-HASH
    let profile = test.parent().and_then(Path::parent).expect("a target directory");
    let path = profile.join("weir");
    assert!(path.exists(), "{} is missing: run `cargo build -p weir`, or `cargo xtask test`", path.display());
    path
}

/// Runs weir with arguments to its end, for commands that end by themselves.
#[track_caller]
pub fn command(args: &[&str]) -> Exit {
    let mut command = Command::new(binary());
    crate::program::finish(command.args(args), wait::SOON)
}

/// How a process ended.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Its exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

/// A running weir.
pub struct Weir {
    child: Child,
    /// `None` only while it is being changed.
    config: Option<Config>,
    ended: bool,
}

impl Weir {
    #[track_caller]
    pub(crate) fn launch(config: Config) -> Self {
        config.dir.write("weir.toml", config.text());
        let file = |name| std::fs::File::create(config.dir.join(name)).expect("an output file");
        let path = config.dir.join("weir.toml");
        let mut command = match (config.descriptors_max, config.under.split_first()) {
            (None, None) => Command::new(binary()),
            (None, Some((first, rest))) => {
                let mut command = Command::new(first);
                command.args(rest).arg(binary());
                command
            }
            (Some(n), _) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {n}; exec \"$0\" \"$@\"")]).args(&config.under).arg(binary());
                shell
            }
        };
        command.args(["run", "--config"]).arg(path).env_remove("RUST_LOG").stdin(Stdio::null());
        // What outlives a process must not outlive a test.
        command.env("STATE_DIRECTORY", config.dir.join("state"));
        command.stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().expect("weir starts");
        Self { child, config: Some(config), ended: false }
    }

    /// Waits until `/ready` is 200. Panics with what weir wrote if it ends before, or takes too long.
    #[track_caller]
    pub fn wait_ready(&self) {
        if !wait::holds_within(wait::SOON, || self.is_ready() || !self.alive()) || !self.alive() {
            panic!("weir is not ready; it wrote:\n{}\n{}", self.stderr(), self.stdout());
        }
    }

    /// Whether `/ready` is 200 now.
    pub fn is_ready(&self) -> bool {
        std::net::TcpStream::connect(self.management()).is_ok() && manage(self.management(), "/ready").status == 200
    }

    /// Whether the process runs: not ended, not a zombie.
    pub fn alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        let state = stat.rfind(')').and_then(|at| stat[at + 1..].trim_start().chars().next());
        state.is_some_and(|state| state != 'Z' && state != 'X')
    }

    fn config(&self) -> &Config {
        self.config.as_ref().expect("a config")
    }

    /// Where listener `web` is.
    pub fn web(&self) -> SocketAddr {
        self.config().web()
    }

    /// Where management is.
    pub fn management(&self) -> SocketAddr {
        self.config().management.address()
    }

    /// `http://ADDRESS/PATH` on listener `web`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.web())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process(self.pid())
    }

    /// A path in the test's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.config().dir.join(name)
    }

    /// A connection to listener `web`.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.web())
    }

    /// A connection to listener `web` with TLS.
    #[track_caller]
    pub fn client_tls(&self, connector: &Connector) -> Client {
        Client::connect_tls(self.web(), connector)
    }

    /// An HTTP/2 connection to listener `web` by prior knowledge, with greetings exchanged.
    #[track_caller]
    pub fn h2(&self) -> Peer {
        let mut peer = Peer::connect(self.web());
        peer.greet(&[]);
        peer
    }

    /// The same with TLS, which must agree on h2.
    #[track_caller]
    pub fn h2_tls(&self, connector: &Connector) -> Peer {
        let mut peer = Peer::connect_tls(self.web(), connector);
        peer.greet(&[]);
        peer
    }

    /// GETs a path of listener `web`.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        get(self.web(), path)
    }

    /// Sends a request to listener `web`.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Response {
        request(self.web(), method, path, fields, body)
    }

    /// `GET /metrics`.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::parse(&manage(self.management(), "/metrics").text())
    }

    /// How often requests and connections ended with a reason.
    #[track_caller]
    pub fn reason(&self, token: &str) -> u64 {
        self.metrics().reason(token)
    }

    /// Waits until a reason was counted `n` times.
    #[track_caller]
    pub fn wait_reason(&self, token: &str, n: u64) {
        let mut last = 0;
        let counted = wait::holds_within(wait::SOON, || {
            last = self.reason(token);
            last >= n
        });
        assert!(counted, "reason {token} counted {last} times instead of {n}");
    }

    /// GETs JSON of the management API.
    #[track_caller]
    pub fn api(&self, path: &str) -> Value {
        manage(self.management(), path).json()
    }

    /// Whole lines of the access log so far.
    #[track_caller]
    pub fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path("access.log")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |at| &text[..at]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Waits until the access log has a line that `matches`.
    #[track_caller]
    pub fn wait_log(&self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        wait::value(&format!("{what} in the access log"), || self.log().into_iter().find(&matches))
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.path("stdout")).unwrap_or_default()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// The generation that serves, of `/api/v1/stats`.
    #[track_caller]
    pub fn generation(&self) -> u64 {
        self.api("/api/v1/stats")["generation"].as_u64().expect("a generation")
    }

    /// Writes another document and has it loaded by HUP; waits until its generation serves.
    #[track_caller]
    pub fn reload(&mut self, change: impl FnOnce(Config) -> Config) {
        let before = self.generation();
        let config = self.config.take().expect("a config");
        self.config = Some(change(config));
        self.config().dir.write("weir.toml", self.config().text());
        self.signal(Signal::HUP);
        wait::until("the next generation", || self.generation() > before);
        self.wait_ready();
    }

    /// Writes the text of a document, good or bad, and sends HUP; does not wait.
    pub fn reload_text(&self, text: &str) {
        self.config().dir.write("weir.toml", text);
        self.signal(Signal::HUP);
    }

    /// The document it was given last.
    pub fn text(&self) -> String {
        self.config().text()
    }

    /// Sends TERM and waits for its end, which must be in order: status 0.
    #[track_caller]
    pub fn stop(mut self) -> Exit {
        self.signal(Signal::TERM);
        let exit = self.wait_end(Duration::from_secs(70));
        assert_eq!(exit.code, Some(0), "weir ended with {:?}:\n{}", exit.code, exit.stderr);
        exit
    }

    /// Has another binary take over, as `weir upgrade` with these arguments does.
    #[track_caller]
    pub fn upgrade(&self, args: &[&str]) -> Exit {
        let config = self.path("weir.toml").to_string_lossy().into_owned();
        let mut command = Command::new(binary());
        command.args(["upgrade", "--config", &config]).args(args);
        crate::program::finish(&mut command, Duration::from_secs(90))
    }

    /// The same where it must succeed; the process that serves from then on.
    #[track_caller]
    pub fn upgraded(&self, args: &[&str]) -> Process {
        let exit = self.upgrade(args);
        assert_eq!(exit.code, Some(0), "{}{}\n{}", exit.stdout, exit.stderr, self.stderr());
        let pid = exit.stdout.split(' ').nth(1).and_then(|pid| pid.parse().ok());
        Process(pid.unwrap_or_else(|| panic!("no process in {}", exit.stdout)))
    }

    /// Writes another document without having it loaded.
    pub fn write(&self, text: &str) {
        self.config().dir.write("weir.toml", text);
    }

    /// All processes that run with this document, itself first if it still does, and what it has started of programs
    /// in its directory as if they were weir.
    pub fn processes(&self) -> Vec<Process> {
        let own = self.config().dir.path().as_os_str().as_encoded_bytes();
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let of_this = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let runs = line.split(|octet| *octet == 0).any(|word| word == b"run");
            runs && *pid != std::process::id() && line.windows(own.len()).any(|part| part == own)
        };
        let mut found: Vec<u32> = pids.filter(of_this).collect();
        found.sort_by_key(|pid| *pid != self.pid());
        found.into_iter().map(Process).collect()
    }

    /// Ends all of them in order, and waits until nothing is left.
    #[track_caller]
    pub fn stop_all(mut self) {
        self.processes().iter().for_each(|process| process.signal(Signal::TERM));
        if !self.ended {
            self.wait_end(Duration::from_secs(70));
        }
        wait::until("all processes end", || self.processes().is_empty());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_end(&mut self, limit: Duration) -> Exit {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for weir") {
                self.ended = true;
                return Exit { code: status.code(), stdout: self.stdout(), stderr: self.stderr() };
            }
            assert!(Instant::now() < deadline, "weir has not ended within {limit:?}:\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // Those that took over from it are nobody's children here.
        if self.config.is_some() {
            let pid = self.pid();
            self.processes().iter().filter(|one| one.0 != pid).for_each(|one| one.signal(Signal::KILL));
        }
        if self.ended {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- weir wrote:\n{}{}", self.stderr(), self.stdout());
        }
    }
}
