//! Per listener, from host and path to the candidate routes, lowest rank first.
//!
//! A rank is a route's position in the order (priority, id). A host leads to the roots of all patterns that cover it,
//! a root and a path to the rank lists of the path's segments; each list is cut after its first unconditional route,
//! since nothing behind that can win. A lookup visits as many lists as the document has hosts and prefixes above this
//! one path, however many routes there are, and allocates nothing.

mod edges;
mod search;

pub(crate) use edges::Edges;

use super::Route;
use super::host::{HostMap, Pattern};
use super::matcher::PathMatch;
use super::query::Query;
use crate::config::value::HostWildcard;
use search::Search;

/// No rank: later than every route.
const NO_RANK: u32 = u32::MAX;

/// See the module.
#[derive(Debug)]
pub(crate) struct Index {
    hosts: HostMap,
    roots: Vec<Root>,
    edges: Edges,
    nodes: Vec<Node>,
    ranks: Vec<u32>,
}

/// The routes of one host pattern.
#[derive(Clone, Copy, Debug, Default)]
struct Root {
    /// Those that the trie cannot hold: no path key, a regex, a raw prefix.
    rest: List,
    /// Where the trie of the others begins.
    node: u32,
}

/// The routes whose path ends at one segment.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// The path ends here or goes on below.
    prefix: List,
    /// The path goes on below.
    below: List,
    /// The path ends here.
    exact: List,
}

/// Conditional ranks, ascending, and the rank of the unconditional route that ends the list.
#[derive(Clone, Copy, Debug)]
struct List {
    start: u32,
    len: u32,
    last: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { start: 0, len: 0, last: NO_RANK }
    }
}

impl Index {
    /// The index of the routes that `ranks` (ascending) names.
    pub(crate) fn build(routes: &[Route], ranks: impl Iterator<Item = u32>, wildcard: HostWildcard) -> Self {
        let hosts = HostMap::new(wildcard);
        let mut builder = Builder { hosts, roots: Vec::new(), edges: Edges::default(), nodes: Vec::new() };
        for rank in ranks {
            builder.add(rank, &routes[rank as usize]);
        }
        builder.freeze()
    }

    /// The first route in rank order that matches.
    pub(crate) fn find(&self, routes: &[Route], query: &Query<'_>) -> Option<u32> {
        let mut search = Search::new(routes, query, &self.ranks);
        self.hosts
            .visit(query.host, |root| self.visit_path(self.roots[root as usize], query.route_path, |l| search.add(l)));
        search.finish()
    }

    /// Calls `each` with the ranks listed for all hosts of `pattern` and the place of `path`, in no order; what the tries
    /// do not decide is untested.
    pub(crate) fn visit_covering(&self, pattern: &Pattern, path: Option<&[u8]>, mut each: impl FnMut(u32)) {
        self.hosts.visit_covering(pattern, |root| {
            let root = self.roots[root as usize];
            match path {
                Some(path) => self.visit_path(root, path, |list| self.visit_list(list, &mut each)),
                None => self.visit_list(root.rest, &mut each),
            }
        });
    }

    /// Calls `each` with the ranks that a lookup of `host` and `path` would test, and those that end its lists.
    pub(crate) fn visit_at(&self, host: &str, path: &[u8], mut each: impl FnMut(u32)) {
        self.hosts.visit(host, |root| {
            self.visit_path(self.roots[root as usize], path, |list| self.visit_list(list, &mut each));
        });
    }

    fn visit_list(&self, list: List, each: &mut impl FnMut(u32)) {
        self.ranks[list.start as usize..][..list.len as usize].iter().for_each(|rank| each(*rank));
        Some(list.last).filter(|last| *last != NO_RANK).into_iter().for_each(each);
    }

    fn visit_path(&self, root: Root, path: &[u8], mut each: impl FnMut(List)) {
        each(root.rest);
        let Some(mut rest) = path.strip_prefix(b"/") else { return };
        let mut at = root.node;
        each(self.nodes[at as usize].below);
        loop {
            let end = memchr::memchr(b'/', rest);
            let Some(child) = self.edges.find(at, &rest[..end.unwrap_or(rest.len())]) else { return };
            let node = self.nodes[child as usize];
            each(node.prefix);
            let Some(end) = end else { return each(node.exact) };
            each(node.below);
            (at, rest) = (child, &rest[end + 1..]);
        }
    }
}

/// An index whose lists still grow.
struct Builder {
    hosts: HostMap,
    roots: Vec<(Growing, u32)>,
    edges: Edges,
    nodes: Vec<[Growing; 3]>,
}

#[derive(Clone, Default)]
struct Growing {
    ranks: Vec<u32>,
    last: Option<u32>,
}

/// Places in a node of the builder.
const PREFIX: usize = 0;
const BELOW: usize = 1;
const EXACT: usize = 2;

impl Growing {
    /// Ranks come ascending, so what follows an unconditional route is never reached.
    fn push(&mut self, rank: u32, unconditional: bool) {
        match self.last {
            Some(_) => {}
            None if unconditional => self.last = Some(rank),
            // One route may name the same place by two of its patterns.
            None if self.ranks.last() == Some(&rank) => {}
            None => self.ranks.push(rank),
        }
    }

    fn freeze(self, all: &mut Vec<u32>) -> List {
        let list = List { start: all.len() as u32, len: self.ranks.len() as u32, last: self.last.unwrap_or(NO_RANK) };
        all.extend(self.ranks);
        list
    }
}

impl Builder {
    fn add(&mut self, rank: u32, route: &Route) {
        let any = [Pattern::Any];
        let hosts = if route.matcher.hosts.is_empty() { &any[..] } else { &route.matcher.hosts };
        for host in hosts {
            let (roots, nodes) = (&mut self.roots, &mut self.nodes);
            let root = self.hosts.insert(host, || {
                nodes.push(Default::default());
                roots.push((Growing::default(), (nodes.len() - 1) as u32));
                (roots.len() - 1) as u32
            });
            let unconditional = route.matcher.is_unconditional();
            self.list(root as usize, &route.matcher.path).push(rank, unconditional);
        }
    }

    fn list(&mut self, root: usize, path: &PathMatch) -> &mut Growing {
        let node = self.roots[root].1;
        match path {
            PathMatch::Any | PathMatch::Regex(_) | PathMatch::Raw(_) => &mut self.roots[root].0,
            PathMatch::Exact(path) => {
                let at = self.node(node, &path[1..]);
                &mut self.nodes[at][EXACT]
            }
            PathMatch::Prefix(prefix) => match prefix.strip_suffix(b"/") {
                Some(b"") => &mut self.nodes[node as usize][BELOW],
                Some(above) => {
                    let at = self.node(node, &above[1..]);
                    &mut self.nodes[at][BELOW]
                }
                None => {
                    let at = self.node(node, &prefix[1..]);
                    &mut self.nodes[at][PREFIX]
                }
            },
        }
    }

    fn node(&mut self, root: u32, path: &[u8]) -> usize {
        let mut at = root;
        for segment in path.split(|&octet| octet == b'/') {
            let nodes = &mut self.nodes;
            at = self.edges.insert(at, segment, || {
                nodes.push(Default::default());
                (nodes.len() - 1) as u32
            });
        }
        at as usize
    }

    fn freeze(self) -> Index {
        let mut ranks = Vec::new();
        let roots = self.roots.into_iter().map(|(rest, node)| Root { rest: rest.freeze(&mut ranks), node }).collect();
        let nodes = self.nodes.into_iter().map(|[prefix, below, exact]| Node {
            prefix: prefix.freeze(&mut ranks),
            below: below.freeze(&mut ranks),
            exact: exact.freeze(&mut ranks),
        });
        let nodes = nodes.collect();
        Index { hosts: self.hosts, roots, edges: self.edges, nodes, ranks }
    }
}
