//! HTTP/2's messages as those of HTTP/1 and back: no I/O, no frames.

mod upstream;

pub use upstream::{Unsendable, request_fields, trailer_fields, write_response, write_switching};
