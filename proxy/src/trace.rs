//! What happened to a request: the outcome that `request` fills in, and its lines in the access log.

pub mod access;
mod field;
mod outcome;
mod redact;
mod time;

pub use access::{Format, FormatError};
pub use outcome::{Fields, Outcome, Phases};
