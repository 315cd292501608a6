//! `cargo xtask test`: the programs that suites drive, the binary under test, then every test.

mod programs;

use std::path::PathBuf;
use std::process::Command;

use crate::run::{Outcome, cargo, find, raise_descriptor_limit, root, succeed, target};

/// Options of `test`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install nothing; suites whose programs are missing are left out.
    #[arg(long)]
    no_install: bool,
    /// A nextest filter expression; without one, everything runs.
    #[arg(short = 'E', long)]
    expression: Option<String>,
}

/// Runs all tests.
pub(crate) fn run(options: &Options) -> Outcome {
    raise_descriptor_limit();
    let without = without(&programs::provide(!options.no_install));
    let nextest = nextest(!options.no_install)?;
    // One selection of packages and targets for everything, so that features are the same and nothing is built twice.
    // `--bins` is there for the binary under test, which no test target of its own package asks for.
    succeed(&mut cargo(&["build", "--workspace", "--bins", "--tests"]))?;
    succeed(&mut nextest_run(&nextest, options.expression.as_deref(), &without))?;
    unprivileged(&nextest, options.expression.as_deref(), &without)?;
    // nextest does not run them. Only crates with a library can have any.
    succeed(&mut cargo(&["test", "--quiet", "--doc", "--workspace"]))?;
    left_out(&without);
    Ok(())
}

fn nextest_run(nextest: &PathBuf, expression: Option<&str>, without: &[Without]) -> Command {
    let mut command = Command::new(nextest);
    command.args(["nextest", "run", "--workspace"]).current_dir(root());
    if let Some(expression) = filter(expression, without) {
        command.args(["-E", &expression]);
    }
    command
}

/// Takes every capability away.
const POWERLESS: &str = "setpriv --bounding-set=-all --inh-caps=-all";
/// And becomes a user who owns nothing.
const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all";

/// Suites that run once: those of the kernel half, and those whose subject is a protocol's octets, which are the same
/// whoever weir runs as.
const ALIKE: &str = "/^(kernel|h2_|matrix$|foreign_peers$|upstream_h2$|compression$)/";

/// Runs the suites that drive the binary once more as a user without any capability: everything but the kernel half
/// must work there too. The tests of the kernel half itself, and those that take the whole machine, ran before.
fn unprivileged(nextest: &PathBuf, expression: Option<&str>, without: &[Without]) -> Outcome {
    if !programs::is_root() {
        return Ok(());
    }
    let asked = expression.map_or_else(String::new, |asked| format!("({asked}) and "));
    let asked = format!("{asked}package(weir-tests) and not binary({ALIKE}) and not test(/heavy::/)");
    let mut command = nextest_run(nextest, Some(&asked), without);
    let runner = if reaches_target(NOBODY) { NOBODY } else { POWERLESS };
    eprintln!("xtask: the suites once more, without capabilities: {runner}");
    command.args(["--no-tests", "pass"]).env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    succeed(&mut command)
}

/// Whether the binary under test can be run so: a home directory of root's hides it from others.
fn reaches_target(runner: &str) -> bool {
    let mut words = runner.split(' ').chain(["test", "-x"]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg(target().join("debug/weir"));
    command.status().is_ok_and(|status| status.success())
}

/// Tests that are left out, as a nextest filter expression, and what is missing for them.
type Without = (&'static str, String);

fn without(missing: &[programs::Program]) -> Vec<Without> {
    let programs = missing.iter().map(|program| (program.tests, program.command.to_owned()));
    let kernel = (!privileged()).then(|| (programs::KERNEL, "the right to load eBPF and make networks".to_owned()));
    programs.chain(kernel).collect()
}

/// Whether this process has the capabilities that tests of the kernel's half need.
fn privileged() -> bool {
    const NET_ADMIN: u32 = 12;
    const NET_RAW: u32 = 13;
    const SYS_ADMIN: u32 = 21;
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    [NET_ADMIN, NET_RAW, SYS_ADMIN, PERFMON, BPF].iter().all(|bit| effective >> bit & 1 == 1)
}

/// The tests that run: those asked for, less those that something is missing for.
fn filter(asked: Option<&str>, without: &[Without]) -> Option<String> {
    let without = without.iter().map(|(tests, _)| format!("not {tests}"));
    let all: Vec<_> = asked.map(|asked| format!("({asked})")).into_iter().chain(without).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

fn left_out(without: &[Without]) {
    for (tests, missing) in without {
        eprintln!("LEFT OUT: {tests}, for {missing} is missing");
    }
}

/// cargo-nextest: what is installed, else a small build of our own under target/.
fn nextest(install: bool) -> Outcome<PathBuf> {
    let tools = target().join("xtask/tools");
    let own = tools.join("bin/cargo-nextest");
    if let Some(path) = find("cargo-nextest").or_else(|| own.is_file().then(|| own.clone())) {
        return Ok(path);
    }
    if !install {
        return Err("cargo-nextest is missing".into());
    }
    // Built once, run for seconds: compile time matters, speed does not.
    let mut command = cargo(&["install", "--locked", "--no-default-features", "--features", "default-no-update"]);
    command.arg("--root").arg(&tools).arg("cargo-nextest").env("CARGO_TARGET_DIR", target().join("xtask/build"));
    for (key, value) in [("LTO", "off"), ("OPT_LEVEL", "1"), ("CODEGEN_UNITS", "256"), ("DEBUG", "0")] {
        command.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    succeed(&mut command)?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_of_missing_programs_are_left_out() {
        assert_eq!(filter(None, &[]), None);
        let node = programs::PROGRAMS.iter().find(|p| p.command == "node").copied();
        let missing = without(node.as_slice());
        let missing: Vec<_> = missing.into_iter().filter(|(_, what)| what == "node").collect();
        assert_eq!(filter(None, &missing).as_deref(), Some("not test(/node/)"));
        assert_eq!(filter(Some("test(x)"), &missing).as_deref(), Some("(test(x)) and not test(/node/)"));
    }
}
