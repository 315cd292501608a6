//! Words that may not stand in the tree: unfinished work, references that readers cannot follow, vague names.

use super::{Finding, Source, Tree};

/// Marks of unfinished work.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX", "HACK"];

/// Beginnings and ends of vague names, after the keyword that declares them.
const VAGUE: &[&str] = &["Manager", "Helper", "Util", "Utils"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    // This file is the one that must spell the words.
    let sources =
        tree.sources.iter().filter(|source| source.path != "xtask/src/tidy/words.rs" && is_ours(&source.path));
    sources.flat_map(of_file).collect()
}

fn is_ours(path: &str) -> bool {
    [".rs", ".md", ".toml", ".sh", ".cfg", ".conf"].iter().any(|end| path.ends_with(end)) || path == ".ci/run"
}

fn of_file(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let mut tell = |text: String| findings.push(Finding::error(&source.path, number + 1, text));
        if let Some(word) = UNFINISHED.iter().find(|word| has_word(line, word)) {
            tell(format!("unfinished: {word}"));
        }
        if cites_issue(line) {
            tell("cites an issue by number".into());
        }
    }
    for (number, line) in source.code.lines().enumerate() {
        if let Some(name) = declared(line).filter(|name| is_vague(name)) {
            findings.push(Finding::error(&source.path, number + 1, format!("vague name: {name}")));
        }
    }
    findings
}

fn has_word(line: &str, word: &str) -> bool {
    let outside = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    line.match_indices(word)
        .any(|(at, _)| outside(line[..at].chars().next_back()) && outside(line[at + word.len()..].chars().next()))
}

/// `issue 12`, `issue #12`, `issues/12`, in any case.
fn cites_issue(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    ["issue ", "issue #", "issues/"].iter().any(|word| {
        line.match_indices(word).any(|(at, _)| line[at + word.len()..].starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// The name that a line declares.
fn declared(line: &str) -> Option<&str> {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_').skip_while(|word| {
        matches!(*word, "" | "pub" | "crate" | "super" | "in" | "async" | "const" | "unsafe" | "extern")
    });
    matches!(words.next()?, "fn" | "struct" | "enum" | "trait" | "mod" | "type").then(|| words.next())?
}

fn is_vague(name: &str) -> bool {
    name.starts_with("get_") || name.ends_with("_impl") || VAGUE.iter().any(|word| name.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn unfinished_work_is_caught() {
        assert_eq!(count("proxy/src/a.rs", "// TODO: later"), 1);
        assert_eq!(count("docs/a.md", "FIXME"), 1);
        assert_eq!(count("docs/a.md", "XXXL"), 0);
    }

    #[test]
    fn issue_numbers_are_caught() {
        assert_eq!(count("docs/a.md", "see Issue #12"), 1);
        assert_eq!(count("proxy/src/a.rs", "// as in issue 3"), 1);
        assert_eq!(count("docs/a.md", "an issue of taste"), 0);
    }

    #[test]
    fn vague_names_are_caught() {
        assert_eq!(count("proxy/src/a.rs", "pub(crate) struct PoolManager {"), 1);
        assert_eq!(count("proxy/src/a.rs", "    pub async fn get_route() {}"), 1);
        assert_eq!(count("proxy/src/a.rs", "fn dispatch_impl() {}"), 1);
        assert_eq!(count("proxy/src/a.rs", "pub fn get(&self) {}"), 0);
    }
}
