//! Pages of docs/reference that derive from a table in the code: a test fails while one is stale.

use std::path::Path;

/// Fails unless the page holds exactly `text`; with `WEIR_WRITE_REFERENCE` set, writes it.
pub(crate) fn check(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(page);
    if std::env::var_os("WEIR_WRITE_REFERENCE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a page has a folder")).expect("the folder can be made");
        std::fs::write(&path, text).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/reference/{page} is stale: run the tests once with WEIR_WRITE_REFERENCE=1");
}
