//! `weir-bench`: the load generator, the origin, and the check that a machine is fit for both.

mod body;
mod executor;
mod idle;
mod load;
mod origin;
mod self_check;
mod size;
mod url;

use std::process::ExitCode;

use clap::Parser;

/// Load generator and origin for HTTP/1.1, on glommio's executors: they share no code with what they measure.
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Sends requests and measures their answers.
    Load(load::Options),
    /// Opens connections, sends one request on each, and holds them idle.
    Idle(idle::Options),
    /// Serves `/bytes/SIZE` and takes uploads on every path.
    Origin(origin::Options),
    /// Says whether this machine is fit to measure on.
    SelfCheck,
}

/// 0 yes, 1 no (errors were met, or the machine is unfit), 7 the system refused.
fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Load(options) => load::run(&options),
        Command::Idle(options) => idle::run(&options),
        Command::Origin(options) => origin::run(&options),
        Command::SelfCheck => self_check::run(),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("weir-bench: {message}");
            ExitCode::from(7)
        }
    }
}
