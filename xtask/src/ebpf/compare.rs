//! What the kernel will run, section by section and map by map.
//!
//! Line information is left out: it follows the source of core, while the code of two compilers is the same.

use std::collections::BTreeMap;
use std::path::Path;

use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection, ObjectSymbol, RelocationTarget, SectionFlags, SymbolIndex, elf};

use crate::run::Outcome;

/// What of an object counts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    sections: BTreeMap<String, Section>,
    maps: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Section {
    octets: Vec<u8>,
    /// Where, of which kind, to what.
    relocations: Vec<(u64, String, String)>,
}

impl Object {
    /// Reads and decodes a file.
    pub(super) fn read(path: &Path) -> Outcome<Self> {
        let octets = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Self::decode(&octets).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn decode(octets: &[u8]) -> Outcome<Self> {
        let file: ElfFile64<'_> = ElfFile64::parse(octets).map_err(|e| e.to_string())?;
        let mut sections = BTreeMap::new();
        for section in file.sections().filter(counts) {
            let name = section.name().map_err(|e| e.to_string())?.to_owned();
            let octets = section.data().map_err(|e| e.to_string())?.to_vec();
            sections.insert(name, Section { octets, relocations: relocations(&file, &section) });
        }
        Ok(Self { sections, maps: maps(octets)? })
    }

    /// One line for each section or map that is not the same in both.
    pub(super) fn differences(&self, built: &Self) -> Vec<String> {
        let sections = unequal(&self.sections, &built.sections).map(|name| format!("section {name}"));
        let maps = unequal(&self.maps, &built.maps).map(|name| format!("map {name}"));
        sections.chain(maps).collect()
    }
}

/// Code, constants and the license. An empty section is no code: the compiler leaves a `.text` behind.
fn counts<'a>(section: &impl ObjectSection<'a>) -> bool {
    let name = section.name().unwrap_or_default();
    let SectionFlags::Elf { sh_flags } = section.flags() else {
        return false;
    };
    let code = sh_flags & u64::from(elf::SHF_EXECINSTR) != 0;
    section.size() > 0 && (code || name == "license" || name.starts_with(".rodata"))
}

fn relocations<'a>(file: &ElfFile64<'a>, section: &impl ObjectSection<'a>) -> Vec<(u64, String, String)> {
    let one = |(offset, relocation): (u64, object::Relocation)| {
        let to = match relocation.target() {
            RelocationTarget::Symbol(symbol) => target(file, symbol),
            other => format!("{other:?}"),
        };
        (offset, format!("{:?} {:?}", relocation.flags(), relocation.addend()), to)
    };
    let mut all: Vec<_> = section.relocations().map(one).collect();
    all.sort();
    all
}

/// A map by its name; code and constants by their place, for their names carry the compiler's fingerprint.
fn target(file: &ElfFile64<'_>, symbol: SymbolIndex) -> String {
    let Ok(symbol) = file.symbol_by_index(symbol) else {
        return "nothing".into();
    };
    let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok());
    let section = section.and_then(|section| section.name().map(str::to_owned).ok()).unwrap_or_default();
    match section.as_str() {
        "maps" | ".maps" | "" => symbol.name().unwrap_or_default().to_owned(),
        _ => format!("{section}+{}", symbol.address()),
    }
}

/// Every map as its loader sees it, and as text.
fn maps(octets: &[u8]) -> Outcome<BTreeMap<String, String>> {
    let object = aya_obj::Object::parse(octets).map_err(|e| e.to_string())?;
    let shown = |map: &aya_obj::Map| {
        let (kind, key, value) = (map.map_type(), map.key_size(), map.value_size());
        let (entries, flags, pinning) = (map.max_entries(), map.map_flags(), map.pinning());
        format!("{kind} {key} {value} {entries} {flags} {pinning:?} {:02x?}", map.data())
    };
    Ok(object.maps.iter().map(|(name, map)| (name.clone(), shown(map))).collect())
}

/// The keys whose values differ, or stand on one side only.
fn unequal<'a, T: PartialEq>(
    a: &'a BTreeMap<String, T>,
    b: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = &'a String> {
    let gone = a.iter().filter(move |(name, value)| b.get(*name) != Some(value));
    let new = b.iter().filter(move |(name, _)| !a.contains_key(*name));
    gone.chain(new).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> Vec<u8> {
        std::fs::read(crate::run::root().join(crate::ebpf::OBJECT)).expect("the committed object")
    }

    #[test]
    fn an_object_equals_itself_and_has_code_and_maps() {
        let [a, b] = [Object::decode(&committed()), Object::decode(&committed())].map(|o| o.expect("an object"));
        assert_eq!(a.differences(&b), [""; 0]);
        assert!(a.sections.contains_key("license") && a.sections.len() > 4, "{:?}", a.sections.keys());
        assert!(a.maps.contains_key("FLOWS"), "{:?}", a.maps.keys());
    }

    #[test]
    fn a_changed_constant_in_code_is_named() {
        let mut octets = committed();
        let at = {
            let file: ElfFile64<'_> = ElfFile64::parse(&*octets).expect("an object");
            let section = file.section_by_name("xdp.frags").expect("a program");
            section.file_range().expect("octets").0 as usize
        };
        octets[at + 4] ^= 1;
        let [a, b] = [committed(), octets].map(|o| Object::decode(&o).expect("an object"));
        assert_eq!(a.differences(&b), ["section xdp.frags"]);
    }

    #[test]
    fn a_map_that_changed_came_or_went_is_named() {
        let object = |maps: &[(&str, &str)]| Object {
            sections: BTreeMap::new(),
            maps: maps.iter().map(|(name, map)| ((*name).to_owned(), (*map).to_owned())).collect(),
        };
        let a = object(&[("A", "1"), ("B", "1"), ("C", "1")]);
        let b = object(&[("A", "1"), ("B", "2"), ("D", "1")]);
        assert_eq!(a.differences(&b), ["map B", "map C", "map D"]);
    }
}
