//! Those who are measured: weir, its peers, its floor.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::document::Document;
use super::tools::{Bench, PROXY_CORE, Running, free_address, wait_listens};
use crate::run::{Outcome, find, root};

/// What a proxy is set up for: more than any row needs, less than its descriptors allow.
pub(super) const CONNECTIONS_MAX: usize = 12_000;

/// A running proxy.
pub(super) struct Contestant {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    running: Running,
}

impl Contestant {
    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// The URL of a path through it.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// weir with so many workers, on as many cores from 0, and so many routes.
pub(super) fn weir(bench: &Bench, name: &'static str, workers: usize, routes: usize) -> Outcome<Contestant> {
    weir_for(bench, name, workers, routes, CONNECTIONS_MAX)
}

/// The same, ready for so many connections.
pub(super) fn weir_for(
    bench: &Bench,
    name: &'static str,
    workers: usize,
    routes: usize,
    connections_max: usize,
) -> Outcome<Contestant> {
    let document = Document {
        web: free_address()?,
        management: free_address()?,
        origin: bench.origin,
        workers,
        routes,
        connections_max,
        rules: "",
    };
    started(bench, name, &document)
}

/// weir with one worker and these tables of policies.
pub(super) fn weir_ruled(bench: &Bench, name: &'static str, rules: &str) -> Outcome<Contestant> {
    let document = Document {
        web: free_address()?,
        management: free_address()?,
        origin: bench.origin,
        workers: 1,
        routes: 1,
        connections_max: CONNECTIONS_MAX,
        rules,
    };
    started(bench, name, &document)
}

/// weir on a document, once it listens.
fn started(bench: &Bench, name: &'static str, document: &Document<'_>) -> Outcome<Contestant> {
    let workers = document.workers;
    let path = weir_document(&bench.dir, name, document)?;
    let cores = if workers == 1 { PROXY_CORE.to_owned() } else { format!("0-{}", workers - 1) };
    let mut command = Command::new("taskset");
    command.args(["-c", &cores]).arg(&bench.weir).args(["run", "--config"]).arg(path);
    let running = Running::start(&mut command, &bench.dir, name)?;
    let contestant = Contestant { name, address: document.web, running };
    wait_listens(document.management, name).and_then(|()| wait_listens(document.web, name)).map_err(|e| {
        let said = std::fs::read_to_string(bench.dir.join(format!("{name}.log"))).unwrap_or_default();
        format!("{e}: {said}")
    })?;
    Ok(contestant)
}

/// Writes a document and says where.
fn weir_document(dir: &Path, name: &str, document: &Document<'_>) -> Outcome<PathBuf> {
    let path = dir.join(format!("{name}.toml"));
    std::fs::write(&path, document.text()).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// How long weir takes from its start until `/ready` answers 200.
pub(super) fn start_to_ready(bench: &Bench) -> Outcome<Duration> {
    let management = free_address()?;
    let document = Document {
        web: free_address()?,
        management,
        origin: bench.origin,
        workers: 1,
        routes: 1,
        connections_max: CONNECTIONS_MAX,
        rules: "",
    };
    let path = weir_document(&bench.dir, "start", &document)?;
    let mut command = Command::new("taskset");
    command.args(["-c", PROXY_CORE]).arg(&bench.weir).args(["run", "--config"]).arg(path);
    let start = Instant::now();
    let _running = Running::start(&mut command, &bench.dir, "start")?;
    while !ready(management) {
        if start.elapsed() > Duration::from_secs(10) {
            return Err("weir is not ready within 10 s".into());
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(start.elapsed())
}

fn ready(management: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(management) else { return false };
    let ask = format!("GET /ready HTTP/1.1\r\nHost: {management}\r\nConnection: close\r\n\r\n");
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut answer = [0; 12];
    stream.write_all(ask.as_bytes()).is_ok() && stream.read_exact(&mut answer).is_ok() && answer.ends_with(b"200")
}

/// The floor: the byte forwarder on the bare ring.
pub(super) fn floor(bench: &Bench) -> Outcome<Contestant> {
    let address = free_address()?;
    let (listen, origin) = (address.to_string(), bench.origin.to_string());
    let mut command = bench.command(&["floor", "--listen", &listen, "--upstream", &origin, "--cpu", PROXY_CORE]);
    let running = Running::start(&mut command, &bench.dir, "floor")?;
    let contestant = Contestant { name: "floor", address, running };
    wait_listens(address, "the floor").map_err(|e| format!("{e} (does weir-bench have `floor`?)"))?;
    Ok(contestant)
}

/// The peers that are installed; a missing one is said to be missing.
pub(super) fn peers(bench: &Bench) -> Outcome<Vec<Contestant>> {
    peers_for(bench, CONNECTIONS_MAX)
}

/// The same, ready for so many connections: nginx has memory for all of them from its start.
pub(super) fn peers_for(bench: &Bench, connections_max: usize) -> Outcome<Vec<Contestant>> {
    let mut peers = Vec::new();
    for name in ["nginx", "haproxy"] {
        match find(name) {
            Some(program) => peers.push(peer(bench, name, &program, connections_max)?),
            None => eprintln!("missing peer: {name} is not installed"),
        }
    }
    if peers.is_empty() { Err("no peer is installed".into()) } else { Ok(peers) }
}

fn peer(bench: &Bench, name: &'static str, program: &Path, connections_max: usize) -> Outcome<Contestant> {
    let address = free_address()?;
    let file = if name == "nginx" { "nginx.conf" } else { "haproxy.cfg" };
    let template = root().join("bench/peers").join(file);
    let text = std::fs::read_to_string(&template).map_err(|e| format!("{}: {e}", template.display()))?;
    let text = text.replace("@LISTEN@", &address.to_string()).replace("@ORIGIN@", &bench.origin.to_string());
    let text = text.replace("@CONNECTIONS@", &connections_max.to_string());
    let path = bench.dir.join(file);
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut command = Command::new("taskset");
    command.args(["-c", PROXY_CORE]).arg(program);
    match name {
        "nginx" => command.arg("-p").arg(&bench.dir).args(["-e", "stderr", "-c"]).arg(path),
        _ => command.args(["-db", "-f"]).arg(path),
    };
    let running = Running::start(&mut command, &bench.dir, name)?;
    wait_listens(address, name)?;
    Ok(Contestant { name, address, running })
}
