//! Path predicate: by segment, whole, by regex, or by octets.

use regex::bytes::Regex;

use crate::base::regex;
use crate::http::has_path_prefix;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) enum PathMatch {
    /// No path key.
    Any,
    /// Whole segments; one that ends in `/` is a plain prefix.
    Prefix(Box<[u8]>),
    Exact(Box<[u8]>),
    Regex(Regex),
    /// Octets.
    Raw(Box<[u8]>),
}

impl PathMatch {
    pub(crate) fn prefix(text: &str) -> Result<Self, String> {
        rooted("path_prefix", text).map(Self::Prefix)
    }

    pub(crate) fn exact(text: &str) -> Result<Self, String> {
        rooted("path_exact", text).map(Self::Exact)
    }

    pub(crate) fn raw(text: &str) -> Result<Self, String> {
        rooted("path_prefix_raw", text).map(Self::Raw)
    }

    pub(crate) fn pattern(text: &str) -> Result<Self, String> {
        regex(text).map(Self::Regex)
    }

    /// Whether the segment trie decides it.
    pub(crate) fn is_indexed(&self) -> bool {
        !matches!(self, Self::Regex(_) | Self::Raw(_))
    }

    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Prefix(prefix) => has_path_prefix(path, prefix),
            Self::Exact(exact) => path == &**exact,
            Self::Regex(regex) => regex.is_match(path),
            Self::Raw(prefix) => path.starts_with(prefix),
        }
    }

    /// Octets of a matching path that the prefix takes, up to a segment's end; 0 for every other kind.
    pub(crate) fn prefix_len(&self) -> usize {
        match self {
            Self::Prefix(prefix) => prefix.strip_suffix(b"/").unwrap_or(prefix).len(),
            Self::Raw(prefix) if **prefix != *b"/" => prefix.len(),
            Self::Any | Self::Exact(_) | Self::Regex(_) | Self::Raw(_) => 0,
        }
    }

    /// Whether it takes a prefix away: the kinds that `strip_prefix` and `replace_prefix` need.
    pub(crate) fn is_prefix(&self) -> bool {
        matches!(self, Self::Prefix(_) | Self::Raw(_))
    }

    /// Whether every path that `other` matches is matched; regexes are compared by their text, never guessed.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            // A fixed text can be tried.
            (_, Self::Exact(path)) => self.matches(path),
            (Self::Exact(_) | Self::Regex(_), _) | (_, Self::Any | Self::Regex(_)) => false,
            (Self::Raw(a), Self::Prefix(b) | Self::Raw(b)) => b.starts_with(a),
            (Self::Prefix(a), Self::Prefix(b)) => has_path_prefix(b, a),
            (Self::Prefix(a), Self::Raw(b)) => a.ends_with(b"/") && b.starts_with(a) || is_below(b, a),
        }
    }

    /// The document's key.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::Any => "path",
            Self::Prefix(_) => "path_prefix",
            Self::Exact(_) => "path_exact",
            Self::Regex(_) => "path_regex",
            Self::Raw(_) => "path_prefix_raw",
        }
    }
}

/// Equal if written alike.
impl PartialEq for PathMatch {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key() && self.to_string() == other.to_string()
    }
}

impl std::fmt::Display for PathMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Prefix(text) | Self::Exact(text) | Self::Raw(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::Regex(regex) => f.write_str(regex.as_str()),
        }
    }
}

fn rooted(key: &str, text: &str) -> Result<Box<[u8]>, String> {
    if text.starts_with('/') { Ok(text.as_bytes().into()) } else { Err(format!("{key} must start with \"/\"")) }
}

/// Whether `path` goes on below the segment where `prefix` ends.
fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    path.starts_with(prefix) && path.get(prefix.len()) == Some(&b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_go_by_segment() {
        let cases = [
            ("/api", "/api", true),
            ("/api", "/api/", true),
            ("/api", "/api/x", true),
            ("/api", "/apix", false),
            ("/api", "/ap", false),
            ("/api", "/api%2Fx", false),
            ("/api/", "/api", false),
            ("/api/", "/api/", true),
            ("/api/", "/api/x", true),
            ("/", "/", true),
            ("/", "/x", true),
            ("/", "*", false),
        ];
        for (prefix, path, expected) in cases {
            assert_eq!(PathMatch::prefix(prefix).unwrap().matches(path.as_bytes()), expected, "{prefix} {path}");
        }
        assert!(PathMatch::raw("/api").unwrap().matches(b"/apix"));
        assert!(PathMatch::pattern("x$").unwrap().matches(b"/apix"));
        assert_eq!(PathMatch::prefix("api").unwrap_err(), "path_prefix must start with \"/\"");
    }

    #[test]
    fn covering_agrees_with_matching() {
        let texts = ["/", "/a", "/a/", "/a/b", "/a/b/", "/ab", "/a//", "/b"];
        let kinds = [PathMatch::prefix, PathMatch::exact, PathMatch::raw];
        let matchers: Vec<PathMatch> =
            kinds.iter().flat_map(|kind| texts.iter().map(move |text| kind(text).unwrap())).collect();
        // Every text of up to five octets over three letters: long enough to tell any two of the matchers apart.
        let mut paths: Vec<Vec<u8>> = vec![b"/".to_vec()];
        for at in 0.. {
            if at >= paths.len() || paths[at].len() == 6 {
                break;
            }
            for octet in b"/ab" {
                let longer = [&paths[at][..], &[*octet]].concat();
                paths.push(longer);
            }
        }
        for a in &matchers {
            for b in &matchers {
                let all = paths.iter().filter(|path| b.matches(path)).all(|path| a.matches(path));
                assert_eq!(a.covers(b), all, "{} {a} over {} {b}", a.key(), b.key());
            }
        }
    }
}
