//! Host patterns: exact names, `*.` wildcards, and the map from a host to everything whose pattern covers it.

use super::index::Edges;
use crate::config::value::HostWildcard;

/// One host pattern.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Pattern {
    /// Absent or `*`.
    Any,
    /// One name or address.
    Exact(Box<str>),
    /// `*.suffix`: labels before it, never none.
    Under(Box<str>),
}

/// A name's octets (RFC 1035 section 2.3.4), without the trailing dot.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

impl Pattern {
    /// Reads a pattern as the document writes it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        let (wild, rest) = name.strip_prefix("*.").map_or((false, name), |rest| (true, rest));
        check_name(rest, wild).map_err(|why| format!("bad host pattern \"{text}\": {why}"))?;
        Ok(if wild { Self::Under(rest.into()) } else { Self::Exact(rest.into()) })
    }

    /// Whether the pattern covers `host` (lower case, no port, no trailing dot).
    pub(crate) fn matches(&self, host: &str, labels: HostWildcard) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => **name == *host,
            Self::Under(suffix) => labels_before(host, suffix)
                .is_some_and(|before| !before.is_empty() && (labels == HostWildcard::Any || !before.contains('.'))),
        }
    }

    /// The name that a wildcard stands above and does not match; none for one without a dot, where no host is.
    pub(crate) fn apex(&self) -> Option<&str> {
        match self {
            Self::Under(suffix) if suffix.contains('.') => Some(suffix),
            _ => None,
        }
    }

    /// A host that it covers.
    pub(crate) fn sample(&self) -> String {
        match self {
            Self::Any => "any.invalid".to_owned(),
            Self::Exact(name) => name.to_string(),
            Self::Under(suffix) => format!("any.{suffix}"),
        }
    }

    /// Whether every host that `other` covers is covered by this.
    pub(crate) fn covers(&self, other: &Self, labels: HostWildcard) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) => false,
            (_, Self::Exact(name)) => self.matches(name, labels),
            (Self::Exact(_), Self::Under(_)) => false,
            (Self::Under(a), Self::Under(b)) if a == b => true,
            (Self::Under(a), Self::Under(b)) => labels == HostWildcard::Any && labels_before(b, a).is_some(),
        }
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::Under(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// What stands before `.suffix` in `host`.
fn labels_before<'h>(host: &'h str, suffix: &str) -> Option<&'h str> {
    host.strip_suffix(suffix)?.strip_suffix('.')
}

/// A name that a request's host can equal: labels of A-label form, or a bracketed IPv6 address.
fn check_name(name: &str, wild: bool) -> Result<(), &'static str> {
    if let Some(inner) = name.strip_prefix('[') {
        let address = inner.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
        return if wild || address.is_none() { Err("not an IPv6 address") } else { Ok(()) };
    }
    if name.contains('*') {
        return Err("`*` stands alone or as the first label");
    }
    if name.contains(':') {
        return Err("a port does not belong here");
    }
    if !name.is_ascii() {
        return Err("write international names as A-labels (xn--...)");
    }
    if name.is_empty() || name.len() > NAME_MAX {
        return Err("1 to 253 characters");
    }
    let label = |label: &str| !label.is_empty() && label.len() <= LABEL_MAX && label.bytes().all(is_label_octet);
    if name.split('.').all(label) { Ok(()) } else { Err("not a host name") }
}

/// Host and port of an authority without user information; the host as written.
pub(crate) fn authority(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
        _ => (text, None),
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    check_name(name, false).is_ok().then_some((host, port))
}

/// `_` is no host name's, yet names with it are in use.
fn is_label_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_')
}

/// From a host to the values of all patterns that cover it: one hash lookup for the exact name, one for each label of
/// the wildcards, which are a trie over reversed labels.
#[derive(Debug)]
pub(crate) struct HostMap {
    exact: Edges,
    labels: Edges,
    /// The value of the wildcard whose suffix ends at a trie node.
    nodes: Vec<Option<u32>>,
    any: Option<u32>,
    wildcard: HostWildcard,
}

impl HostMap {
    /// An empty map, in which `*` stands for `wildcard`.
    pub(crate) fn new(wildcard: HostWildcard) -> Self {
        Self { exact: Edges::default(), labels: Edges::default(), nodes: vec![None], any: None, wildcard }
    }

    /// The value of `pattern`, made by `new` if there is none yet.
    pub(crate) fn insert(&mut self, pattern: &Pattern, new: impl FnOnce() -> u32) -> u32 {
        match pattern {
            Pattern::Any => *self.any.get_or_insert_with(new),
            Pattern::Exact(name) => self.exact.insert(0, name.as_bytes(), new),
            Pattern::Under(suffix) => *self.node(suffix).get_or_insert_with(new),
        }
    }

    fn node(&mut self, suffix: &str) -> &mut Option<u32> {
        let mut at = 0;
        for label in suffix.rsplit('.') {
            let nodes = &mut self.nodes;
            at = self.labels.insert(at, label.as_bytes(), || {
                nodes.push(None);
                (nodes.len() - 1) as u32
            });
        }
        &mut self.nodes[at as usize]
    }

    /// Calls `each` with the value of every pattern that covers `host`.
    pub(crate) fn visit(&self, host: &str, mut each: impl FnMut(u32)) {
        if let Some(value) = self.exact.find(0, host.as_bytes()) {
            each(value);
        }
        self.visit_wildcards(host, &mut each);
        if let Some(value) = self.any {
            each(value);
        }
    }

    fn visit_wildcards(&self, host: &str, each: &mut impl FnMut(u32)) {
        let mut rest = host;
        let mut at = 0;
        while !self.labels.is_empty() {
            // What covers `*.suffix` has at least one octet, so at least one label, before the dot.
            let Some((before, label)) = rest.rsplit_once('.') else { return };
            let Some(node) = self.labels.find(at, label.as_bytes()) else { return };
            if !before.is_empty() && (self.wildcard == HostWildcard::Any || !before.contains('.')) {
                self.nodes[node as usize].into_iter().for_each(&mut *each);
            }
            (rest, at) = (before, node);
        }
    }

    /// Calls `each` with the value of every pattern that covers all hosts of `pattern`.
    pub(crate) fn visit_covering(&self, pattern: &Pattern, mut each: impl FnMut(u32)) {
        match pattern {
            Pattern::Any => self.any.into_iter().for_each(each),
            Pattern::Exact(name) => self.visit(name, each),
            Pattern::Under(suffix) => {
                self.visit_suffixes(suffix, &mut each);
                self.any.into_iter().for_each(each);
            }
        }
    }

    fn visit_suffixes(&self, suffix: &str, each: &mut impl FnMut(u32)) {
        let mut at = 0;
        let mut labels = suffix.rsplit('.').peekable();
        while let Some(label) = labels.next() {
            let Some(node) = self.labels.find(at, label.as_bytes()) else { return };
            if self.wildcard == HostWildcard::Any || labels.peek().is_none() {
                self.nodes[node as usize].into_iter().for_each(&mut *each);
            }
            at = node;
        }
    }

    /// Whether any pattern covers `host`.
    pub(crate) fn contains(&self, host: &str) -> bool {
        let mut found = false;
        self.visit(host, |_| found = true);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::HostWildcard::{Any, One};
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn wildcard_covers_one_or_more_labels_never_the_apex() {
        let wild = pattern("*.example.com");
        assert!(wild.matches("m.example.com", Any) && wild.matches("a.b.example.com", Any));
        for host in ["example.com", "badexample.com", ".example.com"] {
            assert!(!wild.matches(host, Any) && !wild.matches(host, One), "{host}");
        }
        assert!(wild.matches("m.example.com", One) && !wild.matches("a.b.example.com", One));
    }

    #[test]
    fn patterns_are_normalised_and_checked() {
        assert_eq!(pattern("APP.Example.COM."), Pattern::Exact("app.example.com".into()));
        assert_eq!(pattern("*"), Pattern::Any);
        assert!(pattern("[::1]").matches("[::1]", Any));
        for bad in ["a.*.com", "*a.com", "*.", "", "a..b", "a.com:80", "bücher.de", "a/b", "[::1", "*.*.com", "**"] {
            assert!(Pattern::parse(bad).is_err(), "{bad} passed");
        }
        let why = Pattern::parse("a.*.com").unwrap_err();
        assert_eq!(why, "bad host pattern \"a.*.com\": `*` stands alone or as the first label");
    }

    #[test]
    fn authorities_are_split() {
        assert_eq!(authority("a.test:80"), Some(("a.test", Some(80))));
        assert_eq!(authority("[::1]"), Some(("[::1]", None)));
        assert_eq!(authority("[::1]:8080"), Some(("[::1]", Some(8080))));
        for bad in ["", "a:0", "a:x", "a:", "u@a", "::1", "a b", "*.a"] {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }

    #[test]
    fn covering_is_exact() {
        let cases = [
            ("*", "*.com", [true, true]),
            ("*.com", "*", [false, false]),
            ("*.example.com", "*.example.com", [true, true]),
            ("*.example.com", "*.a.example.com", [true, false]),
            ("*.example.com", "a.example.com", [true, true]),
            ("*.example.com", "a.b.example.com", [true, false]),
            ("*.example.com", "example.com", [false, false]),
            ("*.example.com", "*.badexample.com", [false, false]),
            ("a.com", "a.com", [true, true]),
            ("a.com", "*.com", [false, false]),
        ];
        for (a, b, expected) in cases {
            for (wildcard, expected) in [Any, One].into_iter().zip(expected) {
                let (a, b) = (pattern(a), pattern(b));
                assert_eq!(a.covers(&b, wildcard), expected, "{a} over {b}");
                let mut map = HostMap::new(wildcard);
                map.insert(&a, || 7);
                let mut found = false;
                map.visit_covering(&b, |value| found |= value == 7);
                assert_eq!(found, expected, "map: {a} over {b}");
            }
        }
    }

    #[test]
    fn map_finds_what_the_patterns_match() {
        let patterns = ["*", "a.com", "*.a.com", "*.com", "x.a.com", "*.b.a.com", "c.x.a.com"].map(pattern);
        let deep = format!("{}a.com", "l.".repeat(125));
        let hosts = [
            "a.com",
            "x.a.com",
            "c.x.a.com",
            "b.a.com",
            "z.b.a.com",
            "com",
            "",
            ".",
            ".com",
            "..a.com",
            "d.org",
            &deep,
        ];
        for wildcard in [Any, One] {
            let mut map = HostMap::new(wildcard);
            for (at, pattern) in patterns.iter().enumerate() {
                assert_eq!(map.insert(pattern, || at as u32), at as u32);
                assert_eq!(map.insert(pattern, || 99), at as u32);
            }
            for host in hosts {
                let mut found = Vec::new();
                map.visit(host, |value| found.push(value));
                found.sort_unstable();
                let matching = patterns.iter().enumerate().filter(|(_, pattern)| pattern.matches(host, wildcard));
                assert_eq!(found, matching.map(|(at, _)| at as u32).collect::<Vec<_>>(), "{host}");
            }
        }
    }
}
