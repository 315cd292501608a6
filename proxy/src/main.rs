//! The weir binary.

use weir::cli::{self, Exit};
use weir::config::Problems;

fn main() -> Exit {
    cli::main(|_| Problems::new())
}
