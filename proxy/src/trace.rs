//! What happened to a request: the outcome that `request` fills in, its lines in the access log, and what
//! its connections' flows show of it.

pub mod access;
mod field;
pub mod flow;
mod outcome;
mod redact;
mod time;

pub use access::{Format, FormatError};
pub use outcome::{Fields, Outcome, Phases, Tls};
