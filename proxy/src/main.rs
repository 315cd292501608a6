//! The weir binary.

use weir::cli::{self, Exit};

fn main() -> Exit {
    cli::main()
}
