//! `ebpf/weir.bpf.toml`: what the committed object was made from, and with what.

use std::fmt;

/// The record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// SHA-256 of the sources.
    pub(crate) inputs: String,
    /// The compiler that built it.
    pub(crate) rustc: String,
    /// The linker that built it.
    pub(crate) linker: String,
}

impl Record {
    /// Reads what `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let row = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
            Some(row.strip_prefix('"')?.strip_suffix('"')?.to_owned())
        };
        Some(Self { inputs: value("inputs")?, rustc: value("rustc")?, linker: value("linker")? })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Written by `cargo xtask ebpf` together with weir.bpf.o.")?;
        writeln!(f, "# inputs: SHA-256 over ebpf/, common/src/ and common/Cargo.toml.")?;
        let Self { inputs, rustc, linker } = self;
        writeln!(f, "inputs = \"{inputs}\"\nrustc = \"{rustc}\"\nlinker = \"{linker}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let record = Record { inputs: "00ff".into(), rustc: "rustc 1 (a b)".into(), linker: "bpf-linker 1".into() };
        assert_eq!(Record::parse(&record.to_string()), Some(record));
        assert_eq!(Record::parse("inputs = \"00\"\n"), None);
    }
}
