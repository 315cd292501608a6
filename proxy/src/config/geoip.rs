//! The databases of addresses that the document names, read whole: nothing is mapped that another could cut short.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::raw;
use crate::policy::geoip::{DATABASE_MAX, Database, GeoIp};

/// Reads a database. Blocks.
///
/// # Errors
/// In words: it cannot be read, is too large, or is none.
pub fn read(path: &Path) -> Result<Database, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut octets = Vec::new();
    let file = File::open(path).map_err(|error| told(&error))?;
    file.take(DATABASE_MAX + 1).read_to_end(&mut octets).map_err(|error| told(&error))?;
    if octets.len() as u64 > DATABASE_MAX {
        return Err(told(&format_args!("is larger than {} MiB", DATABASE_MAX >> 20)));
    }
    Database::from_source(octets).map_err(|error| told(&error))
}

/// Those that a document names; one that cannot be read is left out. Blocks.
pub fn read_all(raw: &raw::GeoIp) -> GeoIp {
    let one = |path: &Option<std::path::PathBuf>| path.as_deref().and_then(|path| read(path).ok()).map(Arc::new);
    GeoIp { countries: one(&raw.db), networks: one(&raw.asn_db) }
}
