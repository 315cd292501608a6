//! `cargo xtask bench`: weir beside its peers and its floor.

use crate::run::Outcome;

/// Options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Options {}

/// Measures.
pub(crate) fn run(_: &Options) -> Outcome {
    Ok(())
}
