//! What all rows share: the binaries, the origin, a directory, the generator, the clock of a process.

use std::cell::OnceCell;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Options;
use super::material::Material;
use crate::run::{Outcome, find};

/// The core of the proxy, and that of origin and generator.
pub(super) const PROXY_CORE: &str = "0";
pub(super) const LOAD_CORE: &str = "1";

/// The bench: started once, used by all rows.
pub(super) struct Bench {
    generator: PathBuf,
    pub(super) weir: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) rounds: usize,
    pub(super) seconds: f64,
    connections: Option<usize>,
    pub(super) origin: SocketAddr,
    _origin: Running,
    material: OnceCell<Material>,
}

/// A process that ends with us.
pub(super) struct Running(Child);

impl Running {
    /// Starts a command, its output in files of `dir` (`NAME.log`).
    pub(super) fn start(command: &mut Command, dir: &Path, name: &str) -> Outcome<Self> {
        let log = std::fs::File::create(dir.join(format!("{name}.log"))).map_err(|e| e.to_string())?;
        let both = log.try_clone().map_err(|e| e.to_string())?;
        command.stdin(Stdio::null()).stdout(log).stderr(both);
        command.spawn().map(Self).map_err(|e| format!("{command:?}: {e}"))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it still runs.
    pub(super) fn alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // TERM first: a master must take its workers along.
        signal(self.pid(), "TERM");
        let deadline = Instant::now() + Duration::from_millis(500);
        while self.alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bench {
    pub(super) fn start(generator: PathBuf, weir: PathBuf, options: &Options) -> Outcome<Self> {
        for needed in ["taskset", "getconf", "kill"] {
            find(needed).ok_or_else(|| format!("{needed} is missing"))?;
        }
        let dir = std::env::temp_dir().join(format!("weir-bench-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let origin = free_address()?;
        let mut command = Command::new(&generator);
        command.args(["origin", "--cpu", LOAD_CORE, "--listen", &origin.to_string()]);
        let running = Running::start(&mut command, &dir, "origin")?;
        wait_listens(origin, "the origin")?;
        self_check(&generator);
        let Options { rounds, seconds, connections, .. } = *options;
        let (rounds, material) = (rounds.max(1), OnceCell::new());
        Ok(Self { generator, weir, dir, rounds, seconds, connections, origin, _origin: running, material })
    }

    /// What contestants show where they speak TLS.
    pub(super) fn material(&self) -> Outcome<&Material> {
        if let Some(made) = self.material.get() {
            return Ok(made);
        }
        let made = Material::make(&self.dir)?;
        Ok(self.material.get_or_init(|| made))
    }

    /// An origin that speaks HTTP/2 by prior knowledge, beside the generator.
    pub(super) fn h2_origin(&self) -> Outcome<(SocketAddr, Running)> {
        let address = free_address()?;
        let mut command = self.command(&["origin", "--h2", "--cpu", LOAD_CORE, "--listen", &address.to_string()]);
        let running = Running::start(&mut command, &self.dir, "origin-h2")?;
        wait_listens(address, "the origin of HTTP/2").map_err(|e| format!("{e} (does weir-bench have `--h2`?)"))?;
        Ok((address, running))
    }

    /// The connections of a row, unless the user wants others.
    pub(super) fn connections(&self, row: usize) -> usize {
        self.connections.unwrap_or(row)
    }

    /// A command of weir-bench.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.generator);
        command.args(args);
        command
    }

    /// Runs the generator on its core and gives its report. Errors in it are a failure of the row.
    pub(super) fn load(&self, url: &str, seconds: f64, args: &[&str]) -> Outcome<Value> {
        let report = self.try_load(url, seconds, args)?;
        match report["errors"].as_u64() {
            Some(0) => Ok(report),
            _ => Err(format!("errors under load: {report}")),
        }
    }

    /// The same, errors and all.
    pub(super) fn try_load(&self, url: &str, seconds: f64, args: &[&str]) -> Outcome<Value> {
        let mut command = self.command(&["load", url, "--cpu", LOAD_CORE, "-o", "json", "--duration"]);
        let output = command.arg(seconds.to_string()).args(args).output().map_err(|e| e.to_string())?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).map_err(|e| format!("the generator: {e}; {said}"))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn self_check(generator: &Path) {
    let fit = Command::new(generator).arg("self-check").output();
    if let Ok(output) = fit
        && !output.status.success()
    {
        eprint!("this machine is unfit, figures may be worthless:\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// An address of 127.0.0.1 that nothing listens on.
pub(super) fn free_address() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    listener.local_addr().map_err(|e| e.to_string())
}

/// Waits until something accepts there.
pub(super) fn wait_listens(address: SocketAddr, what: &str) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            return Err(format!("{what} does not listen on {address}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Sends a signal by name.
pub(super) fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// A process and its descendants.
fn tree(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    std::iter::once(pid).chain(children.flat_map(tree)).collect()
}

/// User and system time of a process and its descendants, all threads, in seconds.
pub(super) fn cpu_seconds(pid: u32) -> Outcome<f64> {
    let mut ticks = 0;
    for pid in tree(pid) {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|e| format!("process {pid}: {e}"))?;
        ticks += stat_ticks(&stat).ok_or_else(|| format!("/proc/{pid}/stat: {stat}"))?;
    }
    Ok(ticks as f64 / ticks_per_second())
}

/// The name may hold spaces and parentheses: utime and stime are the 12th and 13th field after its end.
fn stat_ticks(stat: &str) -> Option<u64> {
    let mut after = stat[stat.rfind(')')? + 1..].split_whitespace().skip(11);
    Some(after.next()?.parse::<u64>().ok()? + after.next()?.parse::<u64>().ok()?)
}

fn ticks_per_second() -> f64 {
    let output = Command::new("getconf").arg("CLK_TCK").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().parse().unwrap_or(100.0)
}

/// Resident memory of a process and its descendants, in octets.
pub(super) fn resident(pid: u32) -> f64 {
    let of = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:").map(str::to_owned));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
    };
    tree(pid).into_iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_past_any_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5 0 0";
        assert_eq!(stat_ticks(stat), Some(300));
        assert!(cpu_seconds(std::process::id()).is_ok() && resident(std::process::id()) > 0.0);
    }
}
