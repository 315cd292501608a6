//! Threads whose work is files: the access log's writer, and the worker's side of it.

mod log;
mod writer;

pub use log::{Drops, Log, LogHandle, LogSettings, Output};
pub use writer::Writer;

/// A longer line is dropped whole, and counted.
pub const LINE_MAX: usize = 16 * 1024;
