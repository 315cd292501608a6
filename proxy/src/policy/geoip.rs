//! Where addresses are: their country, the number of their network. Databases are octets that control has read.

use std::net::IpAddr;
use std::sync::Arc;

use maxminddb::Reader;

/// Octets that a database may have.
pub const DATABASE_MAX: u64 = 256 << 20;

/// An ISO 3166-1 code of two letters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Country([u8; 2]);

impl Country {
    /// What no database knows.
    pub const UNKNOWN: Self = Self(*b"ZZ");

    /// The code as a document writes it: two capital letters.
    pub fn new(code: &str) -> Option<Self> {
        let letters: [u8; 2] = code.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("ZZ")
    }
}

/// One database in memory.
pub type Database = Reader<Vec<u8>>;

/// The databases as they were last read. Immutable; control publishes another one when a file changes.
#[derive(Clone, Debug, Default)]
pub struct GeoIp {
    /// Tells countries.
    pub countries: Option<Arc<Database>>,
    /// Tells networks.
    pub networks: Option<Arc<Database>>,
}

impl GeoIp {
    /// The country of an address; [`Country::UNKNOWN`] if the database does not tell.
    pub fn country(&self, address: IpAddr) -> Country {
        let found = self.countries.as_ref().and_then(|database| country_of(database, address));
        found.unwrap_or(Country::UNKNOWN)
    }

    /// The number of the autonomous system that an address belongs to; 0 if the database does not tell.
    pub fn asn(&self, address: IpAddr) -> u32 {
        self.networks.as_ref().and_then(|database| asn_of(database, address)).unwrap_or_default()
    }
}

fn country_of(database: &Database, address: IpAddr) -> Option<Country> {
    let found = database.lookup(address).ok()?;
    let code = |path: &[maxminddb::PathElement<'_>]| found.decode_path::<&str>(path).ok().flatten();
    let code = code(&["country".into(), "iso_code".into()]);
    let code = code.or_else(|| found.decode_path::<&str>(&["registered_country".into(), "iso_code".into()]).ok()?);
    Country::new(code?)
}

fn asn_of(database: &Database, address: IpAddr) -> Option<u32> {
    database.lookup(address).ok()?.decode_path::<u32>(&["autonomous_system_number".into()]).ok()?
}

#[cfg(test)]
pub(crate) mod tests;
