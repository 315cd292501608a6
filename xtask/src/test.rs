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
    let missing = programs::provide(!options.no_install);
    let nextest = nextest(!options.no_install)?;
    // One selection of packages and targets for everything, so that features are the same and nothing is built twice.
    // `--bins` is there for the binary under test, which no test target of its own package asks for.
    succeed(&mut cargo(&["build", "--workspace", "--bins", "--tests"]))?;
    succeed(&mut nextest_run(&nextest, options.expression.as_deref(), &missing))?;
    unprivileged(&nextest, options.expression.as_deref(), &missing)?;
    // nextest does not run them. Only crates with a library can have any.
    succeed(&mut cargo(&["test", "--quiet", "--doc", "--workspace"]))?;
    left_out(&missing);
    Ok(())
}

fn nextest_run(nextest: &PathBuf, expression: Option<&str>, missing: &[programs::Program]) -> Command {
    let mut command = Command::new(nextest);
    command.args(["nextest", "run", "--workspace"]).current_dir(root());
    if let Some(expression) = filter(expression, missing) {
        command.args(["-E", &expression]);
    }
    command
}

/// Takes every capability away.
const POWERLESS: &str = "setpriv --bounding-set=-all --inh-caps=-all";
/// And becomes a user who owns nothing.
const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all";

/// Runs the suites that drive the binary once more as a user without any capability: everything but the kernel half
/// must work there too. The tests of the kernel half itself, and those that take the whole machine, ran before.
fn unprivileged(nextest: &PathBuf, expression: Option<&str>, missing: &[programs::Program]) -> Outcome {
    if !programs::is_root() {
        return Ok(());
    }
    let asked = expression.map_or_else(String::new, |asked| format!("({asked}) and "));
    let asked = format!("{asked}package(weir-tests) and not binary(/^kernel/) and not test(/heavy::/)");
    let mut command = nextest_run(nextest, Some(&asked), missing);
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

/// The tests that run: those asked for, less those whose program is missing.
fn filter(asked: Option<&str>, missing: &[programs::Program]) -> Option<String> {
    let without = missing.iter().map(|program| format!("not test(/{}/)", program.tests));
    let all: Vec<_> = asked.map(|asked| format!("({asked})")).into_iter().chain(without).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

fn left_out(missing: &[programs::Program]) {
    for program in missing {
        eprintln!("LEFT OUT: every test named *{}*, for {} is missing", program.tests, program.command);
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
        let missing: Vec<_> = node.into_iter().collect();
        assert_eq!(filter(None, &missing).as_deref(), Some("not test(/node/)"));
        assert_eq!(filter(Some("test(x)"), &missing).as_deref(), Some("(test(x)) and not test(/node/)"));
    }
}
