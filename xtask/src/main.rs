//! Project commands: `cargo xtask test | tidy | bench`.

mod bench;
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
    /// Checks the rules of the source tree that no compiler checks.
    Tidy,
    /// Measures weir beside its peers and its floor.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Test(options) => test::run(&options),
        Command::Tidy => tidy::run(),
        Command::Bench(options) => bench::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
