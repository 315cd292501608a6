//! The shape of files: a first line that says what a module is for, no `mod.rs`, no file that should be two.

use super::{Finding, Source, Tree};

const LINES_WARNED: usize = 500;
const LINES_MAX: usize = 800;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let rust = tree.sources.iter().filter(|source| source.path.ends_with(".rs"));
    let mut findings: Vec<_> = rust.flat_map(of_file).collect();
    for path in ["README.md", "docs/CHANGELOG.md"] {
        if !tree.has(path) && !tree.has(path.trim_start_matches("docs/")) {
            findings.push(Finding::error(path, 0, "is missing"));
        }
    }
    findings
}

fn of_file(source: &Source) -> Vec<Finding> {
    let Source { path, text, .. } = source;
    let mut findings = Vec::new();
    let first = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
    if first.strip_prefix("//! ").is_none_or(|said| said.trim().is_empty()) {
        findings.push(Finding::error(path, 1, "the first line says what the module is for: //! ..."));
    }
    if path.ends_with("/mod.rs") {
        findings.push(Finding::error(path, 0, "name.rs stands beside name/, never mod.rs"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::error(path, 0, format!("{lines} lines, more than {LINES_MAX}: split it")));
    } else if lines > LINES_WARNED {
        findings.push(Finding::warning(path, 0, format!("{lines} lines, more than {LINES_WARNED}")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &str, text: &str) -> Vec<(String, bool)> {
        of_file(Tree::of(&[(path, text)]).source(path).expect("the sample"))
            .into_iter()
            .map(|finding| (finding.text, finding.warning))
            .collect()
    }

    #[test]
    fn a_module_without_a_first_line_is_caught() {
        assert_eq!(texts("proxy/src/a.rs", "use b;\n").len(), 1);
        assert_eq!(texts("proxy/src/a.rs", "//!\n").len(), 1);
        assert!(texts("proxy/src/a.rs", "//! What it is for.\n").is_empty());
    }

    #[test]
    fn mod_rs_is_caught() {
        assert_eq!(texts("proxy/src/a/mod.rs", "//! A.\n").len(), 1);
    }

    #[test]
    fn long_files_warn_then_fail() {
        let lines = |n: usize| format!("//! A.\n{}", "\n".repeat(n));
        assert!(texts("a.rs", &lines(400)).is_empty());
        assert!(texts("a.rs", &lines(600))[0].1);
        assert!(!texts("a.rs", &lines(900))[0].1);
    }

    #[test]
    fn a_missing_changelog_is_caught() {
        let paths: Vec<_> = check(&Tree::of(&[("README.md", "")])).into_iter().map(|finding| finding.path).collect();
        assert_eq!(paths, ["docs/CHANGELOG.md"]);
    }
}
