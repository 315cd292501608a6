//! The tree as the rules see it: text as written, and Rust code without comments, strings and tests.

use std::collections::BTreeSet;
use std::path::Path;

use crate::run::Outcome;

/// Every file that the rules look at, by its path from the workspace's directory.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) sources: Vec<Source>,
    paths: BTreeSet<String>,
}

/// One file.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    /// `text` with comments, strings and tests blanked out; lines stay where they are. Empty if it is not Rust.
    pub(super) code: String,
}

impl Tree {
    /// Reads the workspace.
    pub(super) fn read(root: &Path) -> Outcome<Self> {
        let mut tree = Self::default();
        tree.walk(root, "")?;
        Ok(tree)
    }

    /// A tree of samples, for the rules' tests.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.add((*path).to_owned(), (*text).to_owned());
        }
        tree
    }

    /// The file at a path.
    pub(super) fn source(&self, path: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.path == path)
    }

    /// Whether there is such a file.
    pub(super) fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// Rust files of the proxy, with the top module that each belongs to.
    pub(super) fn proxy(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.sources.iter().filter_map(|source| {
            let inner = source.path.strip_prefix("proxy/src/")?;
            let module = inner.split('/').next()?;
            Some((module.strip_suffix(".rs").unwrap_or(module), source)).filter(|_| inner.ends_with(".rs"))
        })
    }

    fn walk(&mut self, dir: &Path, prefix: &str) -> Outcome {
        let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if matches!(name.as_str(), "target" | ".git" | "node_modules" | "corpus" | "proptest-regressions") {
                continue;
            }
            let path = format!("{prefix}{name}");
            if entry.path().is_dir() {
                self.walk(&entry.path(), &format!("{path}/"))?;
            } else if let Ok(text) = std::fs::read_to_string(entry.path()) {
                self.add(path, text);
            }
        }
        Ok(())
    }

    fn add(&mut self, path: String, text: String) {
        let code = if path.ends_with(".rs") && !is_test(&path) { code(&text) } else { String::new() };
        self.paths.insert(path.clone());
        self.sources.push(Source { path, text, code });
    }
}

/// A file that only tests are made of.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Rust without comments, strings and the test module, which by the tree's style ends its file.
fn code(text: &str) -> String {
    let bare = blank(text);
    match bare.find("#[cfg(test)]\nmod ") {
        Some(at) => bare[..at].to_owned(),
        None => bare,
    }
}

/// Replaces comments and the insides of strings and character literals by spaces. Newlines stay.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = token(rest);
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        out.extend(rest[..skipped].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[skipped..];
    }
    out
}

/// The length of the comment, string or character literal that starts here; 0 if none does.
fn token(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |at| at + 2);
    }
    if let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = hashes + 2;
            return rest[inside..].find(&end).map_or(rest.len(), |at| inside + at + end.len());
        }
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    // A lifetime has no closing quote right after its first character.
    let mut chars = rest.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('\''), Some('\\'), _) => quoted(rest, '\''),
        (Some('\''), Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_strings_and_tests_are_no_code() {
        let text = "use a; // crate::b\nlet s = \"crate::c\"; let r = r#\"crate::\"d\"#; '\\''; 'x'\n\
            fn f<'a>() {}\n#[cfg(test)]\nmod tests { crate::e }\n";
        let code = code(text);
        assert!(!code.contains("crate::"), "{code}");
        assert!(code.contains("fn f<'a>() {}"), "{code}");
        assert_eq!(code.lines().count(), 3);
    }

    #[test]
    fn files_of_the_proxy_know_their_module() {
        let tree = Tree::of(&[("proxy/src/http.rs", ""), ("proxy/src/http/h1.rs", ""), ("bench/src/main.rs", "")]);
        let modules: Vec<_> = tree.proxy().map(|(module, _)| module).collect();
        assert_eq!(modules, ["http", "http"]);
    }
}
