//! The committed eBPF object belongs to the sources beside it: their digest is recorded with it.

use sha2::{Digest, Sha256};

use super::{Finding, Tree};
use crate::ebpf::{RECORD, Record};
use crate::run::{Outcome, root};

/// What the object is made of. The record itself is no input, the object is no text.
fn is_input(path: &str) -> bool {
    path != RECORD && (path.starts_with("ebpf/") || path.starts_with("common/src/") || path == "common/Cargo.toml")
}

/// SHA-256 of the workspace's inputs to the eBPF object.
pub(crate) fn digest() -> Outcome<String> {
    Ok(of(&Tree::read(&root())?))
}

/// Over each path, its file's length and its text, in the order of paths: whichever way a tree came about, it is the
/// same for the same tree.
fn of(tree: &Tree) -> String {
    let mut inputs: Vec<_> = tree.sources.iter().filter(|source| is_input(&source.path)).collect();
    inputs.sort_by(|a, b| a.path.cmp(&b.path));
    let mut hash = Sha256::new();
    for source in inputs {
        hash.update(format!("{}\0{}\0", source.path, source.text.len()));
        hash.update(&source.text);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    if !tree.sources.iter().any(|source| is_input(&source.path)) {
        return Vec::new();
    }
    let recorded = tree.source(RECORD).and_then(|record| Record::parse(&record.text));
    match recorded {
        None => vec![Finding::error(RECORD, 0, "is missing or not readable: run `cargo xtask ebpf`")],
        Some(record) if record.inputs != of(tree) => {
            vec![Finding::error(RECORD, 0, "the eBPF object is not of these sources: run `cargo xtask ebpf`")]
        }
        Some(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(inputs: &str) -> String {
        let record = Record { inputs: inputs.to_owned(), rustc: "r".into(), linker: "l".into() };
        record.to_string()
    }

    #[test]
    fn a_source_that_changed_after_the_build_is_caught() {
        let before = [("common/src/lib.rs", "a"), ("ebpf/src/main.rs", "b"), ("ebpf/Cargo.lock", "c")];
        let recorded = record(&of(&Tree::of(&before)));
        let with = |path, text| check(&Tree::of(&[&before[..2], &[(path, text), (RECORD, &recorded)]].concat()));
        assert_eq!(with("ebpf/Cargo.lock", "c"), []);
        assert_eq!(with("ebpf/Cargo.lock", "d").len(), 1);
        assert_eq!(with("ebpf/src/c.rs", "c").len(), 1);
    }

    #[test]
    fn neither_order_nor_other_files_change_the_digest() {
        let [a, b, c] = [("ebpf/a.rs", "a"), ("common/src/b.rs", "b"), ("proxy/src/c.rs", "c")];
        assert_eq!(of(&Tree::of(&[a, b])), of(&Tree::of(&[b, a, c])));
    }

    #[test]
    fn a_missing_record_is_caught() {
        assert_eq!(check(&Tree::of(&[("ebpf/src/main.rs", "")])).len(), 1);
        assert_eq!(check(&Tree::of(&[])), []);
    }
}
