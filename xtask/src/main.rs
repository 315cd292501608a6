//! Project commands: `cargo xtask test | ebpf | tidy | bench`.

mod bench;
mod ebpf;
mod run;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// Project commands of weir.
#[derive(Parser)]
enum Command {
    /// Builds what the tests drive, and runs all of them.
    Test(test::Options),
    /// Builds the eBPF object that is committed and embedded, or checks that it is what the sources give.
    Ebpf(ebpf::Options),
    /// Checks the rules of the source tree that no compiler checks.
    Tidy,
    /// Measures weir beside its peers and its floor.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let outcome = match Command::parse() {
        Command::Test(options) => test::run(&options).map(done),
        Command::Ebpf(options) => ebpf::run(&options),
        Command::Tidy => tidy::run().map(done),
        Command::Bench(options) => bench::run(&options).map(done),
    };
    outcome.unwrap_or_else(|message| {
        eprintln!("xtask: {message}");
        ExitCode::FAILURE
    })
}
