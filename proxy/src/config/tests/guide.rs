//! Every configuration that the guide, the README and the welcome page show is valid and builds without a warning.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::*;
use crate::config::snapshot::{Environment, Snapshot};
use crate::config::tls::Kept;
use crate::policy::limit::Tables;
use crate::tls::testing::{Authority, Made, Word, after};

/// What an example without a listener stands behind: the guide says so.
const LISTENER: &str = "[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:8080\"\n\n";
/// Where examples have their files.
const FILES: &str = "/etc/weir/";

/// Compiles an example whole, its files made up in `directory`.
fn build(example: &str, page: &str, directory: &Path) {
    let listener = if example.contains("[[listener]]") { "" } else { LISTENER };
    for name in example.split(FILES).skip(1).filter_map(|rest| rest.split('"').next()) {
        std::fs::write(directory.join(name), made_up(name)).unwrap();
    }
    let text = format!("{listener}{example}").replace(FILES, &format!("{}/", directory.display()));
    let document = parse(&text, page).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    let mut problems = Problems::new();
    let snapshot = Snapshot::build(
        document,
        1,
        Environment { sticky_key: &[0; 32], limits: &Tables::default(), tls: &Kept::default() },
        &mut problems,
    );
    assert!(snapshot.is_some() && problems.is_empty(), "{page}: {problems}\n{text}");
}

/// What a file of this name holds.
fn made_up(name: &str) -> Vec<u8> {
    static MADE: LazyLock<(Authority, Made)> = LazyLock::new(|| {
        let authority = Authority::new("an example");
        let made = authority.issue(&["example.com", "*.example.com"]);
        (authority, made)
    });
    let (authority, made) = &*MADE;
    match name.rsplit_once('.').map(|(_, kind)| kind) {
        Some("pem") => made.chain.clone().into_bytes(),
        Some("key") => made.key.clone().into_bytes(),
        Some("crl") => authority.revoked(&[], 3600).into_bytes(),
        Some("der") => authority.says(Word::Good, 7, after(-60), Some(after(3600))),
        _ => b"# a file of an example, long enough for a key\n192.0.2.1\n".to_vec(),
    }
}

/// The blocks of a page that are said to be TOML.
fn examples(page: &str) -> Vec<&str> {
    page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = std::fs::read_dir(root.join("docs/guide")).unwrap().map(|entry| entry.unwrap().path());
    guide.chain([root.join("README.md"), root.join("docs/reference/match.md")]).collect()
}

#[test]
fn examples_of_the_guide_build_without_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let mut built = 0;
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        for example in examples(&page) {
            build(example, &path.display().to_string(), directory.path());
            built += 1;
        }
    }
    assert!(built >= 20, "{built}");
}

#[test]
fn example_on_the_welcome_page_builds() {
    let directory = tempfile::tempdir().unwrap();
    let page = DEFAULT.split_once("<pre>").and_then(|(_, rest)| rest.split_once("</pre>"));
    build(page.map_or("", |(example, _)| example), "default.toml", directory.path());
}
