//! The command line: one file per command.

pub mod check;
mod client;
mod columns;
pub mod demo;
pub mod exit;
pub mod explain;
pub mod run;
pub mod status;
pub mod upgrade;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::{self, Document, Problems};

pub use exit::Exit;

/// weir, an HTTP edge proxy that shows what happened to every request, and why.
#[derive(Parser, Debug)]
#[command(name = "weir", version, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One command.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Says whether a document is valid, and everything that is wrong with it.
    Check(check::Arguments),
    /// Runs the proxy.
    Run(run::Arguments),
    /// Says what a request would meet, and why, without making it.
    Explain(explain::Arguments),
    /// Says whether the running weir is ready, and if not, why.
    Status(status::Arguments),
    /// Replaces the running weir by another binary, without losing a connection.
    Upgrade(upgrade::Arguments),
    /// Shows weir at work on this machine: origins, routes and traffic, all of its own.
    Demo(demo::Arguments),
}

/// Which document a command is about.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Source {
    /// The document; without one, the built-in default: a welcome page on 127.0.0.1:8080.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl Source {
    /// The name that messages give it.
    pub fn name(&self) -> String {
        self.config.as_ref().map_or("default.toml".to_owned(), |path| path.display().to_string())
    }

    /// The document, if it is valid by itself; stages judge it further.
    pub fn load(&self) -> Result<Document, Problems> {
        match &self.config {
            Some(path) => config::load(path),
            None => config::default_document(),
        }
    }

    /// As much of the document as can be read, and all that is wrong with it.
    pub fn read(&self) -> (Option<Document>, Problems) {
        match &self.config {
            Some(path) => config::load_as_far_as_possible(path),
            None => config::read(config::DEFAULT, &self.name()),
        }
    }
}

/// Does what the process's arguments say.
pub fn main() -> Exit {
    match Arguments::try_parse() {
        Ok(arguments) => match arguments.command {
            Command::Check(arguments) => check::check(&arguments),
            Command::Run(arguments) => run::run(&arguments),
            Command::Explain(arguments) => explain::explain(&arguments),
            Command::Status(arguments) => status::status(&arguments),
            Command::Upgrade(arguments) => upgrade::upgrade(&arguments),
            Command::Demo(arguments) => demo::demo(&arguments),
        },
        Err(error) => usage(&error),
    }
}

/// Help and version are answers; anything else is wrong usage.
fn usage(error: &clap::Error) -> Exit {
    // Nobody is left to tell if the terminal is gone.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Yes }
}

/// The value of a flag that says how long; a bare number is in seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let longest = Duration::from_secs(24 * 3600);
    let duration = seconds.or_else(|| config::duration_from_text(text)).filter(|duration| *duration <= longest);
    duration.ok_or_else(|| "a duration is an integer and a unit, such as 30s, up to 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_in_seconds_unless_it_has_a_unit() {
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("2w").is_err() && duration("").is_err() && duration("9999d").is_err());
    }
}
