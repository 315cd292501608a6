//! Texts that are no documents, and documents with something changed: read without a panic, and in bounded time.

use proptest::prelude::*;

use super::*;

/// Pieces that TOML and weir's formats are made of, which random letters seldom hit.
const PIECES: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    "\n",
    "\"",
    "'''",
    "\"\"\"",
    ".",
    "#",
    "0",
    "-1",
    "1e400",
    "nan",
    "true",
    "1979-05-27",
    "[[route]]",
    "[route.target]",
    "[[route.target]]",
    "listener",
    "static",
    "limits.",
    "\"5xx\"",
    "unix:",
    "\"9223372036854775807s\"",
    "\"18446744073709551615TiB\"",
    "9223372036854775807",
    "\\u0000",
    "\u{feff}",
    "é",
    "\r",
];

fn judge(text: &str) {
    let (document, problems) = read(text, "weir.toml");
    assert!(document.is_some() || problems.is_fatal());
    let lines = text.lines().count().max(1) + 1;
    for problem in problems.iter() {
        assert!((problem.line as usize) <= lines, "{problem}");
        assert!(!problem.to_string().contains('\n'), "{problem:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_judged(text in any::<String>()) {
        judge(&text);
    }

    #[test]
    fn any_pieces_are_judged(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60)) {
        judge(&pieces.concat());
    }

    #[test]
    fn any_change_of_a_document_is_judged(
        at in 0..FULL.len(),
        cut in 0..40_usize,
        piece in prop::sample::select(PIECES),
    ) {
        judge(&format!("{}{piece}{}", &FULL[..at], &FULL[(at + cut).min(FULL.len())..]));
    }

    #[test]
    fn any_value_of_any_key_is_judged(line in 0..FULL.lines().count(), value in prop::sample::select(PIECES)) {
        let changed = FULL.lines().enumerate().map(|(n, text)| match text.split_once(" = ") {
            Some((key, _)) if n == line => format!("{key} = {value}\n"),
            _ => format!("{text}\n"),
        });
        judge(&changed.collect::<String>());
    }
}

#[test]
fn largest_document_is_read_in_bounded_time() {
    let mut text = String::from("[[listener]]\nname = \"web\"\nbind = \"0.0.0.0:80\"\n");
    let mut routes = 0;
    while text.len() < DOCUMENT_SIZE_MAX - 200 {
        routes += 1;
        text.push_str(
            "[[route]]\nlistener = \"web\"\npath_prefix = \"/\"\n[[route.target]]\nurl = \"http://a.test\"\n",
        );
    }
    let begin = std::time::Instant::now();
    assert_eq!(valid(&text).routes.len(), routes);
    // Quadratic work would take minutes.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}
