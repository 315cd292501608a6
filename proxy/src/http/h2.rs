//! HTTP/2 messages beside those of HTTP/1: heads and trailers turned from one spelling into the other, no I/O.
//!
//! Everything between the two ends of the path reads and writes the octets of HTTP/1, so that one strict parser judges
//! every message, whatever it came by.

mod fields;
mod incoming;
mod outgoing;

pub use fields::{FieldError, read_fields, write_fields};
pub use incoming::{Incoming, write_incoming};
pub use outgoing::{Outgoing, read_outgoing};
