//! The flow table and its readers.

use crate::config::number::Count;
use crate::config::table::config_table;

config_table! {
    /// What is kept of weir's TCP connections for `/api/v1/flows` and the wiretap.
    pub struct Flows: "flows" {
        /// Open connections that are kept; further ones are served, but not shown.
        open_max: Count = 65536, in 1024 to 1_000_000;
        /// Closed connections that are kept, the last ones.
        closed_max: Count = 4096, in 0 to 65536;
        /// Readers of the wiretap at once; more: 503.
        readers_max: Count = 32, in 1 to 100;
    }
}
