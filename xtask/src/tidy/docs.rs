//! Every config key, reason and metric stands in the reference.

use super::{Finding, Source, Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut page = |path: &str, what: &str, names: Vec<String>| match tree.source(path) {
        None => findings.push(Finding::error(path, 0, "is missing")),
        Some(page) => findings.extend(absent(page, what, &names)),
    };
    page("docs/reference/reasons.md", "reason", reasons(tree));
    page("docs/reference/metrics.md", "metric", metrics(tree));
    page("docs/reference/config.md", "config key", keys(tree));
    page("docs/reference/lexicon.md", "term", Vec::new());
    findings
}

fn absent(page: &Source, what: &str, names: &[String]) -> Vec<Finding> {
    let words: std::collections::HashSet<&str> =
        page.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let missing = names.iter().filter(|name| !words.contains(name.as_str()));
    missing.map(|name| Finding::error(&page.path, 0, format!("{what} {name} is not documented"))).collect()
}

/// The tokens of the table in `base/reason.rs`: `Name, "token", status, ..`.
fn reasons(tree: &Tree) -> Vec<String> {
    let Some(source) = tree.source("proxy/src/base/reason.rs") else {
        return Vec::new();
    };
    let rows = source.text.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_uppercase()));
    rows.filter_map(|row| row.trim_start().split_once(", \"")?.1.split_once("\", "))
        .map(|row| row.0.to_owned())
        .collect()
}

/// Every `"weir_..."` literal outside of tests and of config, where such a name is a default.
fn metrics(tree: &Tree) -> Vec<String> {
    let mut names = Vec::new();
    for (_, source) in tree.proxy().filter(|(module, source)| *module != "config" && !source.code.is_empty()) {
        // `code` has its strings blanked and ends where the tests begin.
        let text: Vec<_> = source.text.lines().take(source.code.lines().count()).collect();
        for line in text.iter().filter(|line| !line.trim_start().starts_with("//")) {
            for piece in line.split("\"weir_").skip(1) {
                let end = piece.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(piece.len());
                names.push(format!("weir_{}", &piece[..end]));
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

/// The rows of every `config_table!` of the raw document: `name: Type`, `field as "name": Type`.
fn keys(tree: &Tree) -> Vec<String> {
    let mut keys = Vec::new();
    for (_, source) in tree.proxy().filter(|(_, source)| source.path.starts_with("proxy/src/config/raw")) {
        let mut inside = false;
        for line in source.text.lines() {
            match line {
                "config_table! {" => inside = true,
                "}" => inside = false,
                _ if inside => keys.extend(key(line.trim_start())),
                _ => {}
            }
        }
    }
    keys.sort();
    keys.dedup();
    keys
}

fn key(row: &str) -> Option<String> {
    let (name, _) = row.split_once(": ")?;
    let name = match name.split_once(" as ") {
        Some((_, name)) => name.trim_matches('"'),
        None => name,
    };
    let is_key = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    name.bytes().all(is_key).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|finding| format!("{} {}", finding.path, finding.text)).collect()
    }

    const PAGES: [(&str, &str); 4] = [
        ("docs/reference/reasons.md", "`ok`"),
        ("docs/reference/metrics.md", "`weir_ready`"),
        ("docs/reference/config.md", "`bind`"),
        ("docs/reference/lexicon.md", ""),
    ];

    #[test]
    fn what_is_not_documented_is_caught() {
        let code = [
            ("proxy/src/base/reason.rs", "    Ok, \"ok\", 0, Us, \"--\", \"no\";\n    No, \"no_route\", 404, Us;\n"),
            ("proxy/src/control/metrics.rs", "\"weir_ready\" \"weir_lost_total\"\n#[cfg(test)]\nmod t { \"weir_x\" }"),
            (
                "proxy/src/config/raw.rs",
                "config_table! {\n    pub struct L: \"l\" {\n        bind: X;\n        b as \"backlog\": Y = 1;\n    }\n}\n",
            ),
        ];
        let found = texts(&[&PAGES[..], &code[..]].concat());
        assert_eq!(
            found,
            [
                "docs/reference/reasons.md reason no_route is not documented",
                "docs/reference/metrics.md metric weir_lost_total is not documented",
                "docs/reference/config.md config key backlog is not documented",
            ]
        );
    }

    #[test]
    fn a_missing_page_is_caught() {
        assert_eq!(texts(&[]).len(), 4);
        assert!(texts(&PAGES).is_empty());
    }
}
