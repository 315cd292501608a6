//! Header compression (RFC 7541): representations written one by one, and a decoder that accepts nothing else than
//! what the RFC allows.

pub mod huffman;
mod table;

use table::{STATIC, Table};

/// The table's size until SETTINGS say otherwise (RFC 9113 6.5.2).
pub const TABLE: usize = 4096;

/// A header block: what the static table has as an index, everything else as a literal that no table keeps.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

fn field(name: &str, value: &str) -> Vec<u8> {
    if let Some(at) = STATIC.iter().position(|entry| *entry == (name, value)) {
        return indexed(at + 1);
    }
    match STATIC.iter().position(|entry| entry.0 == name) {
        Some(at) => [integer(0x00, 4, at + 1), text(value)].concat(),
        None => literal(name, value),
    }
}

/// An indexed field (RFC 7541 6.1); index 0 is an error that a test may want.
pub fn indexed(index: usize) -> Vec<u8> {
    integer(0x80, 7, index)
}

/// A literal with a new name that no table keeps (6.2.2).
pub fn literal(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0x00], text(name), text(value)].concat()
}

/// A literal with a new name that no table may ever keep (6.2.3).
pub fn never(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0x10], text(name), text(value)].concat()
}

/// A literal with a new name that the dynamic table keeps (6.2.1).
pub fn kept(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [vec![0x40], text(name), text(value)].concat()
}

/// A literal whose name is an index, kept (6.2.1).
pub fn kept_by_index(index: usize, value: impl AsRef<[u8]>) -> Vec<u8> {
    [integer(0x40, 6, index), text(value)].concat()
}

/// A dynamic table size update (6.3).
pub fn size_update(size: usize) -> Vec<u8> {
    integer(0x20, 5, size)
}

/// An integer in a prefix of that many bits (5.1).
pub fn integer(pattern: u8, bits: u32, value: usize) -> Vec<u8> {
    let most = (1usize << bits) - 1;
    if value < most {
        return vec![pattern | value as u8];
    }
    let (mut octets, mut rest) = (vec![pattern | most as u8], value - most);
    while rest >= 128 {
        octets.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    octets.push(rest as u8);
    octets
}

/// A string as it stands (5.2).
pub fn text(octets: impl AsRef<[u8]>) -> Vec<u8> {
    let octets = octets.as_ref();
    [&integer(0, 7, octets.len())[..], octets].concat()
}

/// A string with the Huffman bit set and these octets as its code, right or wrong.
pub fn coded(octets: impl AsRef<[u8]>) -> Vec<u8> {
    let octets = octets.as_ref();
    [&integer(0x80, 7, octets.len())[..], octets].concat()
}

/// One field, as octets: values need not be text.
pub type Field = (Vec<u8>, Vec<u8>);

/// Reads header blocks of one direction of a connection.
pub struct Decoder {
    table: Table,
    /// What SETTINGS allow the table to be.
    allowed: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: Table::new(TABLE), allowed: TABLE }
    }
}

impl Decoder {
    /// What SETTINGS_HEADER_TABLE_SIZE allows, once the peer has acknowledged it.
    pub fn allow(&mut self, size: usize) {
        self.allowed = size;
    }

    /// What it allows now.
    pub fn allowed(&self) -> usize {
        self.allowed
    }

    /// The fields of a whole block.
    pub fn decode(&mut self, block: &[u8]) -> Result<Vec<Field>, String> {
        let (mut rest, mut fields) = (block, Vec::new());
        while let Some(first) = rest.first() {
            if first & 0xe0 == 0x20 {
                // RFC 7541 4.2: at the beginning of a block only.
                if !fields.is_empty() {
                    return Err("a table size update after a field".into());
                }
                self.resize(take_integer(&mut rest, 5)?)?;
            } else {
                // RFC 7541 4.2: a table that SETTINGS have made smaller is made smaller first.
                if self.table.size_max() > self.allowed {
                    return Err(format!("a field in a table that is larger than {}", self.allowed));
                }
                fields.push(self.field(&mut rest, *first)?);
            }
        }
        Ok(fields)
    }

    fn resize(&mut self, size: usize) -> Result<(), String> {
        if size > self.allowed {
            return Err(format!("a table of {size} where {} is allowed", self.allowed));
        }
        self.table.resize(size);
        Ok(())
    }

    fn field(&mut self, rest: &mut &[u8], first: u8) -> Result<Field, String> {
        if first & 0x80 != 0 {
            return self.table.entry(take_integer(rest, 7)?);
        }
        let keeps = first & 0x40 != 0;
        let index = take_integer(rest, if keeps { 6 } else { 4 })?;
        let name = match index {
            0 => take_text(rest)?,
            index => self.table.entry(index)?.0,
        };
        let field = (name, take_text(rest)?);
        if keeps {
            self.table.insert(field.clone());
        }
        Ok(field)
    }
}

fn take_integer(rest: &mut &[u8], bits: u32) -> Result<usize, String> {
    let most = (1usize << bits) - 1;
    let (first, mut tail) = rest.split_first().ok_or("an integer is cut")?;
    let mut value = usize::from(*first) & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (octet, after) = tail.split_first().ok_or("an integer is cut")?;
            tail = after;
            if shift > 28 {
                return Err("an integer is too large".into());
            }
            value += usize::from(octet & 0x7f) << shift;
            shift += 7;
            if octet & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = tail;
    Ok(value)
}

fn take_text(rest: &mut &[u8]) -> Result<Vec<u8>, String> {
    let is_coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = take_integer(rest, 7)?;
    let octets = rest.get(..length).ok_or("a string is cut")?;
    *rest = &rest[length..];
    if is_coded { huffman::decode(octets) } else { Ok(octets.to_vec()) }
}

#[cfg(test)]
mod tests;
