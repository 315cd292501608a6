//! `cargo xtask bench`: weir beside its peers and its floor. Ratios of CPU per request, in alternating rounds.
//!
//! The proxy has core 0 to itself with one worker; origin and generator share core 1. CPU per request is user and
//! system time of all its threads and children over the window, divided by the requests completed in it.

mod contestant;
mod document;
mod material;
mod measure;
mod rows;
mod stats;
mod tools;

use std::path::PathBuf;

use crate::run::{Outcome, cargo, raise_descriptor_limit, succeed, target};

/// Options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rows to run; all without one. `list` names them.
    rows: Vec<String>,
    /// Alternating rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections, in place of the row's own.
    #[arg(long)]
    connections: Option<usize>,
    /// A weir to measure, in place of this tree's.
    #[arg(long)]
    weir: Option<PathBuf>,
    /// Build nothing: the release binaries are there.
    #[arg(long)]
    no_build: bool,
}

/// Measures the rows, one line each. A row that falls short, or cannot be run, is a failure.
pub(crate) fn run(options: &Options) -> Outcome {
    if options.rows.iter().any(|row| row == "list") {
        rows::ROWS.iter().for_each(|row| println!("{:<16} {}", row.name, row.goal));
        return Ok(());
    }
    let rows = selected(&options.rows)?;
    raise_descriptor_limit();
    if !options.no_build {
        // One invocation: one selection of features, nothing built twice.
        succeed(&mut cargo(&["build", "--release", "-p", "weir", "-p", "weir-bench"]))?;
    }
    let release = target().join("release");
    let weir = options.weir.clone().unwrap_or_else(|| release.join("weir"));
    let bench = tools::Bench::start(release.join("weir-bench"), weir, options)?;
    let mut short = Vec::new();
    for row in rows {
        let line = (row.run)(&bench).unwrap_or_else(|e| rows::Line::failed(&e));
        println!("{:<16} {:<44} {line}", row.name, row.goal);
        if !line.pass {
            short.push(row.name);
        }
    }
    if short.is_empty() { Ok(()) } else { Err(format!("short: {}", short.join(", "))) }
}

fn selected(names: &[String]) -> Outcome<Vec<&'static rows::Row>> {
    if names.is_empty() {
        return Ok(rows::ROWS.iter().collect());
    }
    let find = |name: &String| {
        rows::ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("no row {name:?}; `list` names them"))
    };
    names.iter().map(find).collect()
}
