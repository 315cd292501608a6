//! `weir run`: the proxy.

use super::{Exit, Source};
use crate::worker::{Process, Refused};

/// `weir run [--config FILE]`
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Which document.
    #[command(flatten)]
    pub source: Source,
}

/// Runs until a signal ends it.
pub fn run(arguments: &Arguments) -> Exit {
    let document = match arguments.source.load() {
        Ok(document) => document,
        Err(problems) => {
            eprint!("{problems}");
            return Exit::of(&problems);
        }
    };
    let (process, fleet) = match Process::start(document.workers, "node", |_| true) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("weir: {error}");
            return Exit::System;
        }
    };
    let live = |snapshot: &std::sync::Arc<crate::config::Snapshot>| {
        let now = crate::worker::clock();
        std::sync::Arc::new(crate::target::Live::initial(&snapshot.groups, process.workers(), None, now))
    };
    match process.adopt(document, live) {
        Ok(_) => {}
        Err(Refused::Problems(problems)) => {
            eprint!("{problems}");
            return Exit::of(&problems);
        }
        Err(error) => {
            eprintln!("weir: {error}");
            return Exit::System;
        }
    }
    fleet.join();
    Exit::Yes
}
