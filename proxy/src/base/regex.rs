//! Patterns that operators write: linear time, bounded in size.

use regex::bytes::{Regex, RegexBuilder};

/// Octets of a compiled pattern.
const REGEX_SIZE_MAX: usize = 1 << 20;

/// Compiles a pattern of the document: linear time, unanchored, bounded in size; the document bounds the source.
///
/// # Errors
/// In words, for the operator.
pub fn regex(source: &str) -> Result<Regex, String> {
    RegexBuilder::new(source).size_limit(REGEX_SIZE_MAX).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the compiled regex is larger than 1 MiB".to_owned(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("bad regex \"{source}\": {}", last.strip_prefix("error: ").unwrap_or(last))
        }
    })
}
