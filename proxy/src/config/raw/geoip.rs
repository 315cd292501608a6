//! The databases that tell an address's country and network.

use std::path::PathBuf;

use crate::config::format::Maybe;
use crate::config::table::config_table;

config_table! {
    /// Databases in MaxMind's format, of at most 256 MiB each. Files that change are read again; weir downloads none.
    pub struct GeoIp: "geoip" {
        /// The file that tells countries: what rules ask by `country`.
        db: Maybe<PathBuf>;
        /// The file that tells networks: what rules ask by `asn`.
        asn_db: Maybe<PathBuf>;
    }
}
