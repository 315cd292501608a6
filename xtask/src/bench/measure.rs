//! A work, measured on several contestants in alternating rounds.

use std::process::Command;

use super::contestant::Contestant;
use super::material::NAME;
use super::stats::Spread;
use super::tools::{Bench, LOAD_CORE, cpu_seconds};
use crate::run::{Outcome, find};

/// What the generator does.
#[derive(Clone, Copy)]
pub(super) struct Work {
    pub(super) path: &'static str,
    pub(super) connections: usize,
    pub(super) upload: Option<&'static str>,
    /// A connection for every request.
    pub(super) close: bool,
    /// What later connections resume of earlier ones.
    pub(super) resume: bool,
}

/// CPU per request of one contestant, in microseconds, round by round.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) us: Vec<f64>,
}

impl Series {
    pub(super) fn spread(&self) -> Spread {
        Spread::of(&self.us)
    }

    /// The ratio to another, round by round.
    pub(super) fn over(&self, other: &Self) -> Spread {
        let ratios: Vec<_> = self.us.iter().zip(&other.us).map(|(own, other)| own / other).collect();
        Spread::of(&ratios)
    }
}

/// The one with the lowest median.
pub(super) fn best(series: &[Series]) -> &Series {
    let lowest = |a: &&Series, b: &&Series| a.spread().median.total_cmp(&b.spread().median);
    series.iter().min_by(lowest).expect("at least one peer")
}

/// Measures all contestants, A B C A B C, with the generator.
pub(super) fn alternate(bench: &Bench, contestants: &[&Contestant], work: Work) -> Outcome<Vec<Series>> {
    rounds(bench, contestants, |contestant, seconds| generator(bench, contestant, work, seconds))
}

/// The same with wrk.
pub(super) fn alternate_wrk(bench: &Bench, contestants: &[&Contestant], work: Work) -> Outcome<Vec<Series>> {
    rounds(bench, contestants, |contestant, seconds| wrk(bench, contestant, work, seconds))
}

/// The same with h2load, so many streams on each connection.
pub(super) fn alternate_h2load(
    bench: &Bench,
    contestants: &[&Contestant],
    work: Work,
    streams: usize,
) -> Outcome<Vec<Series>> {
    rounds(bench, contestants, |contestant, seconds| h2load(bench, contestant, work, streams, seconds))
}

fn rounds(
    bench: &Bench,
    contestants: &[&Contestant],
    load: impl Fn(&Contestant, f64) -> Outcome<f64>,
) -> Outcome<Vec<Series>> {
    let mut series: Vec<_> = contestants.iter().map(|one| Series { name: one.name, us: Vec::new() }).collect();
    for contestant in contestants {
        load(contestant, bench.seconds / 3.0)?;
    }
    for _ in 0..bench.rounds {
        for (contestant, series) in contestants.iter().zip(&mut series) {
            let before = cpu_seconds(contestant.pid())?;
            let requests = load(contestant, bench.seconds)?;
            series.us.push((cpu_seconds(contestant.pid())? - before) / requests * 1e6);
        }
    }
    Ok(series)
}

fn generator(bench: &Bench, contestant: &Contestant, work: Work, seconds: f64) -> Outcome<f64> {
    let connections = bench.connections(work.connections).to_string();
    let mut args = vec!["--connections", &connections];
    args.extend(work.upload.iter().flat_map(|size| ["--upload", size]));
    args.extend(work.close.then_some("--close"));
    args.extend(work.resume.then_some("--resume"));
    let host = format!("Host: {NAME}");
    if contestant.is_https {
        // The group that both generators and all contestants know: what is compared is not who agrees on which.
        args.extend(["--server-name", NAME, "--group", "x25519", "-H", &host]);
    }
    let report = bench.load(&contestant.url(work.path), seconds, &args);
    let report = report.map_err(|e| format!("{}: {e}", contestant.name))?;
    let count = |what: &str| report[what].as_f64().unwrap_or(0.0);
    // The first ones of each connection have nothing to resume.
    if work.resume && count("resumed") < 0.9 * count("responses") {
        return Err(format!("{}: {} of {} resumed", contestant.name, report["resumed"], report["responses"]));
    }
    report["responses"].as_f64().filter(|n| *n > 0.0).ok_or_else(|| format!("{}: no responses", contestant.name))
}

fn wrk(bench: &Bench, contestant: &Contestant, work: Work, seconds: f64) -> Outcome<f64> {
    find("wrk").ok_or("wrk is not installed")?;
    let connections = bench.connections(work.connections).to_string();
    let duration = format!("{}s", seconds.ceil());
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE, "wrk", "-t1", "-c", &connections, "-d", &duration]);
    let output = command.arg(contestant.url(work.path)).output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    wrk_requests(&text).ok_or_else(|| format!("wrk: {text}"))
}

fn h2load(bench: &Bench, contestant: &Contestant, work: Work, streams: usize, seconds: f64) -> Outcome<f64> {
    find("h2load").ok_or("h2load is not installed")?;
    let (connections, streams) = (bench.connections(work.connections).to_string(), streams.to_string());
    let address = contestant.address.to_string();
    let mut command = Command::new("taskset");
    command.args(["-c", LOAD_CORE, "h2load", "-t1", "-c", &connections, "-m", &streams]);
    command.args(["-D", &seconds.ceil().to_string(), "--connect-to", &address, "--groups", "X25519"]);
    let url = format!("https://{NAME}:{}{}", contestant.address.port(), work.path);
    let output = command.arg(url).output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    h2load_requests(&text).ok_or_else(|| format!("h2load: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// h2load counts requests as `requests: N total, N started, N done, N succeeded, N failed, N errored, N timeout`, and
/// says what it agreed on as `Application protocol: h2`.
fn h2load_requests(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("requests: "))?;
    let count = |what: &str| {
        let part = line.split(", ").find_map(|part| part.strip_suffix(what))?;
        part.trim().parse::<f64>().ok()
    };
    let bad = count("failed")? + count("errored")? + count("timeout")?;
    let agreed = text.contains("Application protocol: h2\n");
    count("succeeded").filter(|requests| *requests > 0.0 && bad == 0.0 && agreed)
}

/// wrk counts requests as `N requests in T, SIZE read`.
fn wrk_requests(text: &str) -> Option<f64> {
    let bad = text.contains("Non-2xx") || text.contains("Socket errors");
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    line.split_whitespace().next()?.parse().ok().filter(|n| *n > 0.0 && !bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_the_cheapest_and_ratios_go_round_by_round() {
        let series = [Series { name: "a", us: vec![20.0, 22.0] }, Series { name: "b", us: vec![10.0, 11.0] }];
        assert_eq!(best(&series).name, "b");
        assert_eq!(series[1].over(&series[0]).median, 0.5);
    }

    #[test]
    fn h2load_is_read_and_its_errors_are_no_figures() {
        let text = |rest: &str, protocol: &str| {
            format!("Application protocol: {protocol}\n\nrequests: 9 total, 12 started, 9 done, 9 succeeded, {rest}\n")
        };
        assert_eq!(h2load_requests(&text("0 failed, 0 errored, 0 timeout", "h2")), Some(9.0));
        assert_eq!(h2load_requests(&text("1 failed, 1 errored, 0 timeout", "h2")), None);
        assert_eq!(h2load_requests(&text("0 failed, 0 errored, 0 timeout", "http/1.1")), None);
    }

    #[test]
    fn wrk_is_read_and_its_errors_are_no_figures() {
        assert_eq!(wrk_requests("  221702 requests in 2.00s, 27.27MB read\n"), Some(221702.0));
        assert_eq!(wrk_requests("  5 requests in 2.00s, 1B read\n  Socket errors: connect 1\n"), None);
    }
}
