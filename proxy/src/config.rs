//! Configuration: the document, read strictly into plain structs, with every problem it has.
//!
//! One table per object ([`raw`]) gives the struct, the defaults, the parser, the range checks and the reference.
//! What a value means (a pattern compiles, a redirect is possible) is judged by the stage that uses it; stages report
//! [`Problem`]s through the [`At`] of the object they judge.

pub mod bans;
mod check;
pub mod cidrs;
mod format;
pub mod geoip;
mod number;
mod problem;
pub mod raw;
mod reader;
mod reference;
mod resolve;
pub mod snapshot;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod text;
pub mod tls;
pub mod value;

pub use number::duration_from_text;
pub(crate) use problem::Position;
pub use problem::{At, Code, Problem, Problems};
pub use raw::Document;
pub(crate) use reader::nearest;
pub use reference::{Section, reference, sections};
pub use snapshot::{Environment, Snapshot};
pub use source::{DEFAULT, DOCUMENT_SIZE_MAX, default_document, load, load_as_far_as_possible, parse, read};
pub use table::{Key, Narrows, Table, TableInfo};
