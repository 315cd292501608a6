//! The map from a host to everything whose pattern covers it.

use super::index::Edges;
use crate::config::value::HostWildcard;
pub(crate) use crate::config::value::{HostPattern as Pattern, authority};

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
