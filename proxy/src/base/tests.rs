//! Pages of docs/reference that derive from a table in the code: a test fails while one is stale.

use std::path::Path;

use super::{Party, Reason};

/// Fails unless the page holds exactly `text`; with `WEIR_WRITE_REFERENCE` set, writes it.
pub(crate) fn check_reference(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(page);
    if std::env::var_os("WEIR_WRITE_REFERENCE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a page has a folder")).expect("the folder can be made");
        std::fs::write(&path, text).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/reference/{page} is stale: run the tests once with WEIR_WRITE_REFERENCE=1");
}

fn party(party: Party) -> &'static str {
    match party {
        Party::Client => "client",
        Party::Upstream => "upstream",
        Party::Policy => "policy",
        Party::Us => "weir",
    }
}

#[test]
fn the_reference_of_reasons_is_the_table() {
    let mut page = String::from(
        "# Reasons\n\nEvery request ends with exactly one. The access log, the metrics, error pages and `explain` name \
         it by its token.\nWithout a status the connection ends without an answer; an origin's own status stays with \
         `ok`. `term` holds HAProxy's\ntwo letters: who ended it, and in which phase.\n\n\
         | reason | status | at fault | term | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for reason in Reason::ALL {
        let status = if reason.status() == 0 { String::new() } else { reason.status().to_string() };
        let (token, fault, term, text) = (reason.token(), party(reason.party()), reason.term(), reason.text());
        page += &format!("| `{token}` | {status} | {fault} | `{term}` | {text} |\n");
    }
    check_reference("reasons.md", &page);
}
