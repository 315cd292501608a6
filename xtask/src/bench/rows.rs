//! The rows: a work, a goal, and how the two meet.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::contestant::{self, Contestant, Spoken};
use super::document;
use super::measure::{Series, Work, alternate, alternate_h2load, alternate_wrk, best};
use super::stats::Spread;
use super::tools::{Bench, Running, resident, signal};
use crate::run::{Outcome, root};

/// One row.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) goal: &'static str,
    pub(super) run: fn(&Bench) -> Outcome<Line>,
}

/// What came of it.
pub(super) struct Line {
    text: String,
    pub(super) pass: bool,
}

impl Line {
    pub(super) fn failed(message: &str) -> Self {
        Self { text: message.to_owned(), pass: false }
    }

    /// A ratio that may be at most `goal`.
    fn ratio(ratio: Spread, goal: f64, detail: &str) -> Self {
        Self { text: format!("{ratio:.3} x  {detail}"), pass: ratio.median <= goal }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.text, if self.pass { "pass" } else { "SHORT" })
    }
}

const fn get(path: &'static str, connections: usize) -> Work {
    Work { path, connections, upload: None, close: false, resume: false }
}

const SMALL_64: Work = get("/bytes/128", 64);
const SMALL_256: Work = get("/bytes/128", 256);
/// One exchange on each connection; few at once, because the generator keeps no more than eight tickets.
const HANDSHAKES: Work = Work { close: true, ..get("/bytes/128", 4) };
const MANY_ROUTES: usize = 10_000;

/// All of them, in the order of the goals.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "small-64",
        goal: "CPU per request <= 0.80 x the better peer",
        run: |bench| beside_peers(bench, SMALL_64, 0.80),
    },
    Row {
        name: "small-256",
        goal: "CPU per request <= 0.80 x the better peer",
        run: |bench| beside_peers(bench, SMALL_256, 0.80),
    },
    Row { name: "floor-64", goal: "CPU per request <= 1.15 x the floor", run: |bench| beside_floor(bench, SMALL_64) },
    Row { name: "floor-256", goal: "CPU per request <= 1.15 x the floor", run: |bench| beside_floor(bench, SMALL_256) },
    Row {
        name: "get-64k",
        goal: "CPU per response <= 0.80 x the better peer",
        run: |bench| beside_peers(bench, get("/bytes/64KiB", 64), 0.80),
    },
    Row {
        name: "get-1m",
        goal: "CPU per response <= 0.80 x the better peer",
        run: |bench| beside_peers(bench, get("/bytes/1MiB", 16), 0.80),
    },
    Row {
        name: "upload-1m",
        goal: "CPU per upload <= 0.80 x the better peer",
        run: |bench| beside_peers(bench, Work { upload: Some("1MiB"), ..get("/up", 16) }, 0.80),
    },
    Row {
        name: "tls-small",
        goal: "TLS 1.3: CPU per request <= 0.80 x the better peer",
        run: |bench| over_tls(bench, SMALL_64),
    },
    Row {
        name: "tls-64k",
        goal: "TLS 1.3: CPU per response <= 0.80 x the better peer",
        run: |bench| over_tls(bench, get("/bytes/64KiB", 64)),
    },
    Row {
        name: "tls-full",
        goal: "full handshakes per CPU second >= 1.0 x nginx",
        run: |bench| handshakes(bench, HANDSHAKES),
    },
    Row {
        name: "tls-resumed",
        goal: "resumed handshakes per CPU second >= 1.0 x nginx",
        run: |bench| handshakes(bench, Work { resume: true, ..HANDSHAKES }),
    },
    Row {
        name: "h2-10",
        goal: "HTTP/2 over TLS, 10 streams: CPU <= 0.80 x the better peer",
        run: |bench| over_h2(bench, get("/bytes/128", 16), 10),
    },
    Row {
        name: "h2-100",
        goal: "HTTP/2 over TLS, 100 streams: CPU <= 0.80 x the better peer",
        run: |bench| over_h2(bench, get("/bytes/128", 4), 100),
    },
    Row { name: "h2-both", goal: "HTTP/2 on both sides: CPU <= 0.80 x HAProxy", run: h2_on_both_sides },
    Row { name: "routes-10k", goal: "CPU per request <= 1.05 x one route's", run: many_routes },
    Row { name: "rules-20", goal: "CPU per request <= 1.05 x no rule's", run: unmet_rules },
    Row { name: "rate-limit", goal: "CPU per request <= 1.03 x no limit's", run: met_limit },
    Row {
        name: "flow-64",
        goal: "flow programs: CPU per request <= 1.02 x without",
        run: |bench| watched(bench, SMALL_64, 1.02),
    },
    Row {
        name: "flow-close",
        goal: "flow programs: CPU per connection <= 1.05 x without",
        run: |bench| watched(bench, Work { close: true, ..SMALL_64 }, 1.05),
    },
    Row { name: "two-workers", goal: "CPU per request <= 1.10 x one worker's", run: two_workers },
    Row { name: "idle-memory", goal: "octets per idle connection <= the better peer's", run: idle_memory },
    Row { name: "reload", goal: "0 failed, p99 <= 2 x without reload", run: reload },
    Row { name: "start", goal: "start to ready <= 50 ms", run: start },
    Row { name: "xdp-verdict", goal: "net ns per packet: ssh 20, idle 50, SYN over limit 100", run: xdp_verdict },
    Row { name: "drop-rate", goal: "drops/s on a veth >= 0.66 x a bare drop's", run: drop_rate },
    Row { name: "cross-check", goal: "ratios by wrk within 5 % of weir-bench's", run: cross_check },
];

fn beside_peers(bench: &Bench, work: Work, goal: f64) -> Outcome<Line> {
    let weir = contestant::weir(bench, "weir", 1, 1)?;
    let peers = contestant::peers(bench)?;
    let series = alternate(bench, &all(&weir, &peers), work)?;
    let best = best(&series[1..]);
    Ok(Line::ratio(series[0].over(best), goal, &figures(&series)))
}

/// TLS 1.3 to the client, HTTP/1.1 within it.
fn over_tls(bench: &Bench, work: Work) -> Outcome<Line> {
    let spoken = Spoken { tls: Some(bench.material()?), ..Spoken::plain(bench) };
    let weir = contestant::weir_spoken(bench, "weir-tls", spoken)?;
    let peers = contestant::peers_spoken(bench, &["nginx", "haproxy"], spoken)?;
    let series = alternate(bench, &all(&weir, &peers), work)?;
    let best = best(&series[1..]);
    Ok(Line::ratio(series[0].over(best), 0.80, &figures(&series)))
}

/// A connection, a handshake and one small exchange at a time: those per second of CPU.
fn handshakes(bench: &Bench, work: Work) -> Outcome<Line> {
    let spoken = Spoken { tls: Some(bench.material()?), ..Spoken::plain(bench) };
    let weir = contestant::weir_spoken(bench, "weir-tls", spoken)?;
    let nginx = contestant::peers_spoken(bench, &["nginx"], spoken)?;
    let series = alternate(bench, &all(&weir, &nginx), work)?;
    // As many more per second as each costs less.
    let ratio = series[1].over(&series[0]);
    let each = series.iter().map(|one| format!("{} {:.0} per CPU s", one.name, 1e6 / one.spread().median));
    let text = format!("{ratio:.3} x  {}", each.collect::<Vec<_>>().join(", "));
    Ok(Line { text, pass: ratio.median >= 1.0 })
}

/// HTTP/2 to the client, over TLS as clients speak it, by h2load.
fn over_h2(bench: &Bench, work: Work, streams: usize) -> Outcome<Line> {
    let spoken = Spoken { tls: Some(bench.material()?), ..Spoken::plain(bench) };
    beside_h2_peers(bench, &["nginx", "haproxy"], spoken, work, streams)
}

/// nginx speaks no HTTP/2 to origins.
fn h2_on_both_sides(bench: &Bench) -> Outcome<Line> {
    let (origin, _running) = bench.h2_origin()?;
    let spoken = Spoken { tls: Some(bench.material()?), origin, h2_origin: true };
    beside_h2_peers(bench, &["haproxy"], spoken, get("/bytes/128", 16), 10)
}

fn beside_h2_peers(
    bench: &Bench,
    peers: &[&'static str],
    spoken: Spoken<'_>,
    work: Work,
    streams: usize,
) -> Outcome<Line> {
    let weir = contestant::weir_spoken(bench, "weir-h2", spoken)?;
    let peers = contestant::peers_spoken(bench, peers, spoken)?;
    let series = alternate_h2load(bench, &all(&weir, &peers), work, streams)?;
    let best = best(&series[1..]);
    Ok(Line::ratio(series[0].over(best), 0.80, &figures(&series)))
}

fn all<'c>(weir: &'c Contestant, peers: &'c [Contestant]) -> Vec<&'c Contestant> {
    std::iter::once(weir).chain(peers).collect()
}

/// `weir 14.1 us, nginx 18.0 us`.
fn figures(series: &[Series]) -> String {
    let each = series.iter().map(|one| format!("{} {:.1} us", one.name, one.spread().median));
    each.collect::<Vec<_>>().join(", ")
}

fn beside_floor(bench: &Bench, work: Work) -> Outcome<Line> {
    let weir = contestant::weir(bench, "weir", 1, 1)?;
    let floor = contestant::floor(bench)?;
    compare(bench, &weir, &floor, work, 1.15)
}

fn many_routes(bench: &Bench) -> Outcome<Line> {
    let many = contestant::weir(bench, "weir-routes", 1, MANY_ROUTES)?;
    let one = contestant::weir(bench, "weir", 1, 1)?;
    compare(bench, &many, &one, SMALL_64, 1.05)
}

fn unmet_rules(bench: &Bench) -> Outcome<Line> {
    let ruled = contestant::weir_ruled(bench, "weir-rules", &document::unmet(20))?;
    let bare = contestant::weir(bench, "weir", 1, 1)?;
    compare(bench, &ruled, &bare, SMALL_64, 1.05)
}

fn met_limit(bench: &Bench) -> Outcome<Line> {
    let limited = contestant::weir_ruled(bench, "weir-limited", document::MET_BY_ALL)?;
    let bare = contestant::weir(bench, "weir", 1, 1)?;
    compare(bench, &limited, &bare, SMALL_64, 1.03)
}

/// The kernel's half reduced to what is measured.
const WATCHED: &str = "[kernel]\nmode=\"off\"\nsteer=\"off\"\nflow=true\n";
const UNWATCHED: &str = "[kernel]\nmode=\"off\"\nsteer=\"off\"\nflow=false\n";

fn watched(bench: &Bench, work: Work, goal: f64) -> Outcome<Line> {
    let watched = contestant::weir_ruled(bench, "weir-watched", WATCHED)?;
    let weir = contestant::weir_ruled(bench, "weir", UNWATCHED)?;
    compare(bench, &watched, &weir, work, goal)
}

fn two_workers(bench: &Bench) -> Outcome<Line> {
    let two = contestant::weir(bench, "weir-two", 2, 1)?;
    let one = contestant::weir(bench, "weir", 1, 1)?;
    compare(bench, &two, &one, SMALL_256, 1.10)
}

fn compare(bench: &Bench, own: &Contestant, other: &Contestant, work: Work, goal: f64) -> Outcome<Line> {
    let series = alternate(bench, &[own, other], work)?;
    Ok(Line::ratio(series[0].over(&series[1]), goal, &figures(&series)))
}

/// wrk and weir-bench must agree on who costs how much more.
fn cross_check(bench: &Bench) -> Outcome<Line> {
    let weir = contestant::weir(bench, "weir", 1, 1)?;
    let peers = contestant::peers(bench)?;
    let all = [&weir, &peers[0]];
    let ours = alternate(bench, &all, SMALL_64)?;
    let theirs = alternate_wrk(bench, &all, SMALL_64)?;
    let (ours, theirs) = (ours[0].over(&ours[1]), theirs[0].over(&theirs[1]));
    let disagreement = (theirs.median / ours.median - 1.0).abs();
    let text = format!("{ours:.3} x by weir-bench, {theirs:.3} x by wrk: {:.1} % apart", disagreement * 100.0);
    Ok(Line { text, pass: disagreement <= 0.05 })
}

/// Resident memory with all connections idle, less that of the same program set up for few and holding none: so that
/// what a program sets aside at its start counts too. Fresh processes each round.
fn idle_memory(bench: &Bench) -> Outcome<Line> {
    let count = bench.connections(10_000);
    let mut all: Vec<Series> = Vec::new();
    for _ in 0..bench.rounds {
        let bare = warmed(bench, FEW)?;
        let full = warmed(bench, contestant::CONNECTIONS_MAX)?;
        for ((name, bare), contestant) in bare.iter().map(|one| (one.name, resident(one.pid()))).zip(&full) {
            let octets = (while_idle(bench, contestant, count)? - bare) / count as f64;
            match all.iter_mut().find(|series| series.name == name) {
                Some(series) => series.us.push(octets),
                None => all.push(Series { name, us: vec![octets] }),
            }
        }
    }
    let detail: Vec<_> = all.iter().map(|one| format!("{} {:.0} octets", one.name, one.spread().median)).collect();
    Ok(Line::ratio(all[0].over(best(&all[1..])), 1.0, &detail.join(", ")))
}

const FEW: usize = 256;

/// weir and its peers, ready for so many connections, after some traffic.
fn warmed(bench: &Bench, connections_max: usize) -> Outcome<Vec<Contestant>> {
    let mut all = vec![contestant::weir_for(bench, "weir", 1, 1, connections_max)?];
    all.extend(contestant::peers_for(bench, connections_max)?);
    for contestant in &all {
        bench.load(&contestant.url("/bytes/128"), 0.3, &["--connections", "32"])?;
    }
    Ok(all)
}

/// Resident memory while `count` idle connections are held.
fn while_idle(bench: &Bench, contestant: &Contestant, count: usize) -> Outcome<f64> {
    let (url, connections) = (contestant.url("/bytes/128"), count.to_string());
    let mut command = bench.command(&["idle", &url, "--connections", &connections, "--hold", "2", "--cpu", "1"]);
    let log = format!("idle-{}", contestant.name);
    let mut idle = Running::start(&mut command, &bench.dir, &log)?;
    let said = |word: &str| {
        let text = std::fs::read_to_string(bench.dir.join(format!("{log}.log"))).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix(word).map(str::to_owned))
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while said("held ").is_none() && idle.alive() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    match said("held ") {
        Some(held) if held == connections => Ok(resident(contestant.pid())),
        held => Err(format!("{} holds {held:?} of {count} connections", contestant.name)),
    }
}

/// Open loop, so that a pause during a reload is seen by every request that it delays.
fn reload(bench: &Bench) -> Outcome<Line> {
    let weir = contestant::weir(bench, "weir-routes", 1, MANY_ROUTES)?;
    let url = weir.url("/bytes/128");
    let args = ["--connections", "64", "--rate", "5000"];
    bench.load(&url, 1.0, &args)?;
    let (mut calm, mut reloading, mut failed) = (Vec::new(), Vec::new(), 0);
    for _ in 0..bench.rounds {
        let without = bench.try_load(&url, bench.seconds, &args)?;
        let with = while_reloading(&weir, || bench.try_load(&url, bench.seconds, &args))?;
        failed += without["errors"].as_u64().unwrap_or(1) + with["errors"].as_u64().unwrap_or(1);
        calm.push(without["latency_us"]["p99"].as_f64().unwrap_or(f64::NAN));
        reloading.push(with["latency_us"]["p99"].as_f64().unwrap_or(f64::NAN));
    }
    let ratios: Vec<_> = reloading.iter().zip(&calm).map(|(with, without)| with / without).collect();
    let (calm, reloading, ratio) = (Spread::of(&calm), Spread::of(&reloading), Spread::of(&ratios));
    let text = format!("{failed} failed, {ratio:.2} x  p99 {reloading:.0} us beside {calm:.0} us");
    Ok(Line { text, pass: failed == 0 && ratio.median <= 2.0 })
}

/// A HUP twice a second while `work` goes on.
fn while_reloading<T>(weir: &Contestant, work: impl FnOnce() -> T) -> T {
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    let pid = weir.pid();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let pause = Duration::from_millis(500);
            while waiting.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                signal(pid, "HUP");
            }
        });
        let outcome = work();
        drop(done);
        outcome
    })
}

/// The XDP program by test runs, net of an empty one's. What is not in the goals is told beside them.
fn xdp_verdict(bench: &Bench) -> Outcome<Line> {
    let object = root().join("ebpf/weir.bpf.o");
    let rounds = bench.rounds.to_string();
    let mut command = bench.command(&["xdp", "--rounds", &rounds]);
    let output = command.arg(object).output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|_| said)?;
    let net = |case: &str| {
        let rounds = report["net"][case].as_array().into_iter().flatten();
        Spread::of(&rounds.filter_map(Value::as_f64).collect::<Vec<_>>())
    };
    let goals = [("ssh", 20.0), ("idle", 50.0), ("syn_over", 100.0)];
    let cases = goals.iter().map(|(case, _)| *case).chain(["denied", "syn_over_all_armed"]);
    let text = cases.map(|case| format!("{case} {:.0} ns", net(case))).collect::<Vec<_>>().join(", ");
    Ok(Line { text, pass: goals.iter().all(|(case, goal)| net(case).median <= *goal) })
}

/// Floods on a veth pair, each program in its turn. A bare token bucket dropped 0.73 x as many as a bare drop does, and
/// nine tenths of that are the goal.
fn drop_rate(bench: &Bench) -> Outcome<Line> {
    const GOAL: f64 = 0.66;
    let object = root().join("ebpf/weir.bpf.o");
    let (rounds, seconds) = (bench.rounds.to_string(), bench.seconds.to_string());
    let mut command = bench.command(&["wire", "--rounds", &rounds, "--seconds", &seconds]);
    let output = command.arg(object).output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|_| said)?;
    let rates = |mode: &str, case: &str| -> Vec<f64> {
        report[mode][case].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
    };
    let mut pass = true;
    let mut text = Vec::new();
    for mode in ["native", "generic"] {
        let bare = rates(mode, "bare");
        for case in ["syn_over", "denied"] {
            let own = rates(mode, case);
            let ratios: Vec<_> = own.iter().zip(&bare).map(|(own, bare)| own / bare).collect();
            let ratio = Spread::of(&ratios);
            pass &= ratio.median >= GOAL;
            text.push(format!("{mode} {case} {ratio:.2} x ({:.2} M/s)", Spread::of(&own).median / 1e6));
        }
    }
    Ok(Line { text: text.join(", "), pass })
}

fn start(bench: &Bench) -> Outcome<Line> {
    let times: Outcome<Vec<_>> = (0..bench.rounds.max(10)).map(|_| contestant::start_to_ready(bench)).collect();
    let ms: Vec<_> = times?.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
    let spread = Spread::of(&ms);
    Ok(Line { text: format!("{spread:.1} ms"), pass: spread.median <= 50.0 })
}
