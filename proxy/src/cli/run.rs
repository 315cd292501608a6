//! `weir run`: the proxy.

use super::Source;

/// `weir run [--config FILE]`
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Which document.
    #[command(flatten)]
    pub source: Source,
}
