//! Whether this machine is fit to measure on: quiet, with two cores, with the limits that the work needs.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use crate::executor::Cores;

/// Prints a line per check; false if one of them makes measurements worthless.
pub(crate) fn run() -> Result<bool, String> {
    let checks = [cores(), descriptors(), locked_memory(), executor(), quiet()?, steady()];
    let mut fit = true;
    for check in &checks {
        println!("{} {}: {}", if check.good { "ok   " } else { "UNFIT" }, check.name, check.detail);
        fit &= check.good;
    }
    Ok(fit)
}

struct Check {
    name: &'static str,
    good: bool,
    detail: String,
}

fn cores() -> Check {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    Check { name: "cores", good: count >= 2, detail: format!("{count}; the proxy has one to itself, so 2 are needed") }
}

fn descriptors() -> Check {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let detail = format!("{most} allowed; who holds 10,000 idle connections needs 12,000");
    Check { name: "descriptors", good: most >= 12_000, detail }
}

fn locked_memory() -> Check {
    let most = getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX);
    let detail = format!("{} KiB; an executor takes 512", most / 1024);
    Check { name: "locked memory", good: most >= 512 << 10, detail }
}

fn executor() -> Check {
    let cores = <TestCores as clap::Parser>::parse_from(["self-check"]).cores;
    let outcome = cores.run(|_| async { glommio::timer::sleep(Duration::from_millis(1)).await });
    let detail = outcome.as_ref().map_or_else(ToString::to_string, |_| "io_uring works".into());
    Check { name: "executor", good: outcome.is_ok(), detail }
}

#[derive(clap::Parser)]
struct TestCores {
    #[command(flatten)]
    cores: Cores,
}

/// Idle and stolen time of all cores over a second.
fn quiet() -> Result<Check, String> {
    let before = times()?;
    std::thread::sleep(Duration::from_secs(1));
    let after = times()?;
    let spent = |field: usize| after[field].saturating_sub(before[field]) as f64;
    let all: f64 = (0..8).map(spent).sum::<f64>().max(1.0);
    // proc(5): user nice system idle iowait irq softirq steal.
    let (busy, stolen) = (1.0 - (spent(3) + spent(4)) / all, spent(7) / all);
    let detail = format!("{:.1} % busy, {:.1} % stolen by the host", busy * 100.0, stolen * 100.0);
    Ok(Check { name: "quiet", good: busy < 0.1 && stolen < 0.02, detail })
}

fn times() -> Result<Vec<u64>, String> {
    let stat = std::fs::read_to_string("/proc/stat").map_err(|e| format!("/proc/stat: {e}"))?;
    let line = stat.lines().next().unwrap_or_default();
    let times: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    if times.len() < 8 { Err("/proc/stat lacks fields".into()) } else { Ok(times) }
}

/// The same arithmetic ten times: clocks that wander make ratios wander.
fn steady() -> Check {
    let mut runs: Vec<_> = (0..11).map(|_| spin()).skip(1).collect();
    runs.sort();
    let (fastest, median) = (runs[0].as_secs_f64(), runs[runs.len() / 2].as_secs_f64());
    let spread = median / fastest - 1.0;
    let detail = format!("the same work takes {:.1} % more than its best, in the median", spread * 100.0);
    Check { name: "steady", good: spread < 0.05, detail }
}

fn spin() -> Duration {
    let start = Instant::now();
    let mut state = 1u64;
    for _ in 0..20_000_000 {
        state = std::hint::black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    start.elapsed()
}
