//! Those who are measured: weir, its peers, its floor.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::document::Document;
use super::material::Material;
use super::tools::{Bench, PROXY_CORE, Running, free_address, wait_listens};
use crate::run::{Outcome, find, root};

/// What a proxy is set up for: more than any row needs, less than its descriptors allow.
pub(super) const CONNECTIONS_MAX: usize = 12_000;

/// What is spoken on both sides of a proxy.
#[derive(Clone, Copy)]
pub(super) struct Spoken<'a> {
    /// TLS 1.3 to the client, with HTTP/2 and HTTP/1.1 to choose from.
    pub(super) tls: Option<&'a Material>,
    /// Where everything is forwarded.
    pub(super) origin: SocketAddr,
    /// HTTP/2 without TLS to the origin.
    pub(super) h2_origin: bool,
}

impl Spoken<'_> {
    /// HTTP/1.1 on both sides.
    pub(super) fn plain(bench: &Bench) -> Self {
        Self { tls: None, origin: bench.origin, h2_origin: false }
    }
}

/// A running proxy.
pub(super) struct Contestant {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    pub(super) is_https: bool,
    running: Running,
}

impl Contestant {
    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// The URL of a path through it.
    pub(super) fn url(&self, path: &str) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
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
    let document = Document { workers, routes, connections_max, ..document(Spoken::plain(bench))? };
    started(bench, name, &document)
}

/// weir with one worker that speaks this.
pub(super) fn weir_spoken(bench: &Bench, name: &'static str, spoken: Spoken<'_>) -> Outcome<Contestant> {
    started(bench, name, &document(spoken)?)
}

/// One worker, one route, no policy.
fn document(spoken: Spoken<'_>) -> Outcome<Document<'_>> {
    Ok(Document {
        web: free_address()?,
        management: free_address()?,
        spoken,
        workers: 1,
        routes: 1,
        connections_max: CONNECTIONS_MAX,
        rules: "",
    })
}

/// weir with one worker and these tables of policies.
pub(super) fn weir_ruled(bench: &Bench, name: &'static str, rules: &str) -> Outcome<Contestant> {
    let document = Document { rules, ..document(Spoken::plain(bench))? };
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
    let is_https = document.spoken.tls.is_some();
    let contestant = Contestant { name, address: document.web, is_https, running };
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
    let document = document(Spoken::plain(bench))?;
    let management = document.management;
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
    let contestant = Contestant { name: "floor", address, is_https: false, running };
    wait_listens(address, "the floor").map_err(|e| format!("{e} (does weir-bench have `floor`?)"))?;
    Ok(contestant)
}

/// The peers that are installed; a missing one is said to be missing.
pub(super) fn peers(bench: &Bench) -> Outcome<Vec<Contestant>> {
    peers_for(bench, CONNECTIONS_MAX)
}

/// The same, ready for so many connections: nginx has memory for all of them from its start.
pub(super) fn peers_for(bench: &Bench, connections_max: usize) -> Outcome<Vec<Contestant>> {
    started_peers(bench, &["nginx", "haproxy"], Spoken::plain(bench), connections_max)
}

/// Some of the peers, speaking this.
pub(super) fn peers_spoken(bench: &Bench, names: &[&'static str], spoken: Spoken<'_>) -> Outcome<Vec<Contestant>> {
    started_peers(bench, names, spoken, CONNECTIONS_MAX)
}

fn started_peers(
    bench: &Bench,
    names: &[&'static str],
    spoken: Spoken<'_>,
    connections_max: usize,
) -> Outcome<Vec<Contestant>> {
    let mut peers = Vec::new();
    for &name in names {
        match find(name) {
            Some(program) => peers.push(peer(bench, name, &program, spoken, connections_max)?),
            None => eprintln!("missing peer: {name} is not installed"),
        }
    }
    if peers.is_empty() { Err(format!("no peer of {names:?} is installed")) } else { Ok(peers) }
}

fn peer(
    bench: &Bench,
    name: &'static str,
    program: &Path,
    spoken: Spoken<'_>,
    connections_max: usize,
) -> Outcome<Contestant> {
    let address = free_address()?;
    let file = if name == "nginx" { "nginx.conf" } else { "haproxy.cfg" };
    let template = root().join("bench/peers").join(file);
    let text = std::fs::read_to_string(&template).map_err(|e| format!("{}: {e}", template.display()))?;
    let path = bench.dir.join(file);
    let text = filled(&text, name, address, spoken, connections_max);
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut command = Command::new("taskset");
    command.args(["-c", PROXY_CORE]).arg(program);
    match name {
        "nginx" => command.arg("-p").arg(&bench.dir).args(["-e", "stderr", "-c"]).arg(path),
        _ => command.args(["-db", "-f"]).arg(path),
    };
    let running = Running::start(&mut command, &bench.dir, name)?;
    wait_listens(address, name).map_err(|e| {
        let said = std::fs::read_to_string(bench.dir.join(format!("{name}.log"))).unwrap_or_default();
        format!("{e}: {said}")
    })?;
    Ok(Contestant { name, address, is_https: spoken.tls.is_some(), running })
}

/// A peer's configuration with its places filled in.
fn filled(text: &str, name: &str, address: SocketAddr, spoken: Spoken<'_>, connections_max: usize) -> String {
    let (tls, keys) = match (spoken.tls, name) {
        (None, _) => Default::default(),
        (Some(material), "nginx") => {
            let Material { cert, key, .. } = material;
            let keys = format!("ssl_certificate {};\n        ssl_certificate_key {};", cert.display(), key.display());
            ("ssl http2".to_owned(), keys)
        }
        (Some(material), _) => {
            let both = material.both.display();
            (format!("ssl crt {both} alpn h2,http/1.1 ssl-min-ver TLSv1.3"), String::new())
        }
    };
    let filled = [
        ("@LISTEN@", address.to_string()),
        ("@ORIGIN@", spoken.origin.to_string()),
        ("@CONNECTIONS@", connections_max.to_string()),
        ("@TLS@", tls),
        ("@TLS_KEYS@", keys),
        ("@PROTO@", if spoken.h2_origin { "proto h2" } else { "" }.to_owned()),
    ];
    // What explains the places is not one of them.
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    filled
        .iter()
        .fold(lines.map(|line| format!("{line}\n")).collect(), |text, (place, value)| text.replace(place, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_peers_configuration_is_filled() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let material = Material { cert: "/c.pem".into(), key: "/k.pem".into(), both: "/b.pem".into() };
        for (name, file) in [("nginx", "nginx.conf"), ("haproxy", "haproxy.cfg")] {
            let text = std::fs::read_to_string(root().join("bench/peers").join(file)).expect("a template");
            for tls in [None, Some(&material)] {
                let spoken = Spoken { tls, origin: address, h2_origin: tls.is_some() };
                let text = filled(&text, name, address, spoken, 100);
                assert!(!text.contains('@'), "{text}");
                assert_eq!(text.contains(".pem"), tls.is_some(), "{text}");
            }
        }
    }
}
