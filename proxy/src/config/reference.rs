//! docs/reference/config.md, written from the tables.

use super::raw::Document;
use super::table::{Key, Table, TableInfo};

/// Every table that a document can hold, the document first, each once, in the order of its first mention.
pub fn tables() -> Vec<TableInfo> {
    let mut found = vec![Document::INFO];
    let mut at = 0;
    while let Some(table) = found.get(at).copied() {
        for inner in table.keys.iter().filter_map(|key| key.table).map(|info| info()) {
            if found.iter().all(|known| known.name != inner.name) {
                found.push(inner);
            }
        }
        at += 1;
    }
    found
}

/// docs/reference/config.md.
pub fn reference() -> String {
    tables().iter().map(|table| format!("{:?}", table.name)).collect::<String>()
        + &Key::default_words(&Document::INFO.keys[0])
}

impl Key {
    fn default_words(&self) -> String {
        self.default.map(str::to_owned).or_else(|| self.absent.map(str::to_owned)).unwrap_or_default()
    }
}
