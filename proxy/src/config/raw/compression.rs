//! Compression of responses.

use crate::base::metric::Coding;
use crate::config::format::List;
use crate::config::number::Size;
use crate::config::table::config_table;
use crate::config::value::MediaRange;

config_table! {
    /// How responses are compressed for clients that accept it.
    pub struct Compression: "compression", overlay CompressionOverlay {
        /// The codings that clients are offered: what a client weighs highest is used, the first of equals; none: off.
        /// Where a response holds a secret beside what an attacker can choose, its compressed length tells of the
        /// secret (BREACH).
        algorithms: List<Coding> = [], at most 3, also route;
        /// Octets of a body below which it stays as it is; 0: none is too small. A body of unknown length is
        /// compressed.
        size_min: Size = "1KiB", also route;
        /// Media types that are worth it: `text/html`, `text/*`, `application/*+json`.
        types: List<MediaRange> = ["text/*", "application/json", "application/*+json", "application/javascript", "application/xml", "application/*+xml", "image/svg+xml", "application/wasm"], at most 256, also route;
        /// Octets of memory that the coders of one worker may take together; responses that find no room are sent as
        /// they are. 0: no bound.
        memory_max: Size = "128MiB";
    }
}
