//! Tests of texts.

use memchr::memmem::Finder;
use regex::bytes::Regex;

use crate::config::value::{HostPattern, HostWildcard};
use crate::http::has_path_prefix;

/// What a text must be. Octets are compared; case matters.
#[derive(Clone, Debug)]
pub(super) enum TextTest {
    /// Anything, as long as it is there.
    Present,
    Equals(Box<[u8]>),
    In(Box<[Box<[u8]>]>),
    Prefix(Box<[u8]>),
    /// Whole segments of a path.
    Segments(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<Finder<'static>>),
    Matches(Regex),
    Host(HostPattern),
    Any(Box<[TextTest]>),
}

impl TextTest {
    /// A test for a part in the middle.
    pub(super) fn contains(part: &str) -> Self {
        Self::Contains(Box::new(Finder::new(part).into_owned()))
    }

    /// A test for one of these.
    pub(super) fn one_of(mut texts: Vec<Box<[u8]>>) -> Self {
        texts.sort_unstable();
        texts.dedup();
        match texts.len() {
            1 => texts.pop().map_or(Self::Any([].into()), Self::Equals),
            _ => Self::In(texts.into()),
        }
    }

    /// Whether any of several tests holds.
    pub(super) fn any(mut tests: Vec<Self>) -> Self {
        match (tests.len(), tests.pop()) {
            (1, Some(only)) => only,
            (_, last) => Self::Any(tests.into_iter().chain(last).collect()),
        }
    }

    #[inline]
    pub(super) fn holds(&self, text: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Equals(other) => *text == **other,
            Self::In(texts) => is_one_of(texts, text),
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Segments(prefix) => has_path_prefix(text, prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Contains(part) => part.find(text).is_some(),
            Self::Matches(regex) => regex.is_match(text),
            Self::Host(pattern) => covers(pattern, text),
            Self::Any(tests) => tests.iter().any(|test| test.holds(text)),
        }
    }

    /// How long it takes, roughly: cheap tests are asked first.
    pub(super) fn weight(&self) -> u32 {
        match self {
            Self::Present => 0,
            Self::Equals(_) | Self::Prefix(_) | Self::Segments(_) | Self::Suffix(_) | Self::Host(_) => 1,
            Self::In(_) => 2,
            Self::Contains(_) => 4,
            Self::Matches(_) => 20,
            Self::Any(tests) => tests.iter().map(Self::weight).sum(),
        }
    }
}

/// Few texts are compared one by one, most of them by their length alone.
fn is_one_of(sorted: &[Box<[u8]>], text: &[u8]) -> bool {
    const FEW: usize = 8;
    match sorted.len() {
        ..=FEW => sorted.iter().any(|one| **one == *text),
        _ => sorted.binary_search_by(|one| (**one).cmp(text)).is_ok(),
    }
}

/// Whether a pattern covers a host; `*` stands for one label or more.
pub(super) fn covers(pattern: &HostPattern, host: &[u8]) -> bool {
    std::str::from_utf8(host).is_ok_and(|host| pattern.matches(host, HostWildcard::Any))
}

impl std::fmt::Display for TextTest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = |op: &str, text: &[u8]| write!(f, "{op} \"{}\"", text.escape_ascii());
        match self {
            Self::Present => f.write_str("present"),
            Self::Equals(other) => text("equals", other),
            Self::Prefix(prefix) | Self::Segments(prefix) => text("prefix", prefix),
            Self::Suffix(suffix) => text("suffix", suffix),
            Self::Contains(part) => text("contains", part.needle()),
            Self::Matches(regex) => text("matches", regex.as_str().as_bytes()),
            Self::Host(pattern) => text("pattern", pattern.to_string().as_bytes()),
            Self::In(texts) => {
                let texts: Vec<_> = texts.iter().map(|text| format!("\"{}\"", text.escape_ascii())).collect();
                write!(f, "in [{}]", texts.join(", "))
            }
            Self::Any(tests) => f.write_str(&tests.iter().map(Self::to_string).collect::<Vec<_>>().join(" or ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_texts_are_searched_as_few_are() {
        let texts: Vec<Box<[u8]>> = (0..40).map(|n| format!("v{n}").into_bytes().into()).collect();
        let test = TextTest::one_of(texts);
        assert!(test.holds(b"v0") && test.holds(b"v17") && test.holds(b"v39"));
        assert!(!test.holds(b"v40") && !test.holds(b"") && !test.holds(b"v"));
    }
}
