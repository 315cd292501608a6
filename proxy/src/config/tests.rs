//! Whole documents: what they read as, and what is said of wrong ones.

use super::*;

const MINIMAL: &str = r#"
[[listener]]
name = "web"
bind = "0.0.0.0:80"

[[route]]
id = 10
listener = "web"
path_prefx = "/api"

[[route.target]]
url = "http://127.0.0.1:3000"
"#;

#[test]
fn default_document_is_valid() {
    let document = default_document().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(document.listeners.len(), 1);
}

#[test]
fn unknown_key_is_reported_as_the_page_shows() {
    let problems = parse(MINIMAL, "weir.toml").unwrap_err();
    assert_eq!(problems.to_string(), "weir.toml:9: route 10: unknown key \"path_prefx\"; nearest: \"path_prefix\"\n");
}
