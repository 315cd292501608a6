//! Which routes are covered by earlier ones, piece by piece: a piece is one listener and one host pattern of a route.

use super::super::Table;
use super::super::host::Pattern;
use super::super::matcher::{Matcher, PathMatch};

/// What earlier routes leave of a route.
pub(super) enum Shadow {
    /// Everything, as far as can be told.
    None,
    /// Nothing: the route of this id has the same match.
    Duplicate(u32),
    /// Nothing: these ids take it all.
    Whole(Vec<u32>),
    /// Something: this id is broader and takes a part.
    Part(u32),
}

/// One listener and one host pattern.
#[derive(Clone, Copy)]
pub(super) struct Piece<'t> {
    pub(super) listener: usize,
    pub(super) host: &'t Pattern,
}

impl Table {
    pub(super) fn shadow(&self, rank: u32) -> Shadow {
        let pieces = self.pieces(rank);
        let mut covering: Vec<u32> = pieces.iter().filter_map(|piece| self.first_cover(rank, piece)).collect();
        let whole = !pieces.is_empty() && covering.len() == pieces.len();
        covering.sort_unstable();
        covering.dedup();
        let id = |rank: &u32| self.routes[*rank as usize].id;
        if !whole {
            return self.first_broader(rank, &pieces).map_or(Shadow::None, |rank| Shadow::Part(id(&rank)));
        }
        match &covering[..] {
            [one] if self.same_match(*one, rank) => Shadow::Duplicate(id(one)),
            all => Shadow::Whole(all.iter().map(id).collect()),
        }
    }

    fn pieces(&self, rank: u32) -> Vec<Piece<'_>> {
        let route = &self.routes[rank as usize];
        let any = &[Pattern::Any][..];
        let hosts = if route.matcher.hosts.is_empty() { any } else { &route.matcher.hosts };
        route.listeners.iter().flat_map(|&listener| hosts.iter().map(move |host| Piece { listener, host })).collect()
    }

    /// Ranks of the routes that the index has for all hosts of a piece and `path`, ascending.
    pub(super) fn ranks_over(&self, piece: &Piece<'_>, path: Option<&[u8]>) -> Vec<u32> {
        let mut ranks = Vec::new();
        self.listeners[piece.listener].index.visit_covering(piece.host, path, |rank| ranks.push(rank));
        ranks.sort_unstable();
        ranks.dedup();
        ranks
    }

    fn earlier(&self, rank: u32, piece: &Piece<'_>) -> impl Iterator<Item = u32> {
        let path = self.routes[rank as usize].matcher.path.text();
        self.ranks_over(piece, path).into_iter().take_while(move |other| *other < rank)
    }

    /// The first earlier route that takes every request of the piece.
    fn first_cover(&self, rank: u32, piece: &Piece<'_>) -> Option<u32> {
        let matcher = &self.routes[rank as usize].matcher;
        self.earlier(rank, piece).find(|other| {
            let other = &self.routes[*other as usize].matcher;
            place_covers(other, matcher, piece.host) && other.conditions_cover(matcher)
        })
    }

    /// The first earlier route with a broader host or path that takes a piece whole, or all but by its method.
    fn first_broader(&self, rank: u32, pieces: &[Piece<'_>]) -> Option<u32> {
        let matcher = &self.routes[rank as usize].matcher;
        let broader = |piece: &Piece<'_>| {
            self.earlier(rank, piece).find(|other| {
                let other = &self.routes[*other as usize].matcher;
                let wildcard = self.listeners[piece.listener].wildcard;
                let narrow_host = match &other.hosts[..] {
                    [] => *piece.host == Pattern::Any,
                    hosts => hosts.iter().any(|host| piece.host.covers(host, wildcard)),
                };
                let wider = !narrow_host || !matcher.path.covers(&other.path);
                wider && place_covers(other, matcher, piece.host) && other.conditions_meet_by_method(matcher)
            })
        };
        pieces.iter().filter_map(broader).min()
    }

    fn same_match(&self, one: u32, other: u32) -> bool {
        let (one, other) = (&self.routes[one as usize], &self.routes[other as usize]);
        let (a, b) = (&one.matcher, &other.matcher);
        let hosts = a.hosts.iter().all(|host| b.hosts.contains(host)) && b.hosts.iter().all(|h| a.hosts.contains(h));
        let regex = |matcher: &Matcher| matcher.host_regex.as_ref().map(|regex| regex.as_str().to_owned());
        hosts
            && regex(a) == regex(b)
            && a.path == b.path
            && a.conditions_cover(b)
            && b.conditions_cover(a)
            && one.listeners.iter().all(|listener| other.listeners.contains(listener))
    }
}

/// Whether `ours` takes every host of `host`, which is of `theirs`, and every path of `theirs`. That one of its patterns
/// covers the host, the index has said.
fn place_covers(ours: &Matcher, theirs: &Matcher, host: &Pattern) -> bool {
    let regex_holds = match (&ours.host_regex, &theirs.host_regex, host) {
        (None, ..) => true,
        (Some(ours), _, Pattern::Exact(name)) => ours.is_match(name.as_bytes()),
        (Some(ours), Some(theirs), _) => ours.as_str() == theirs.as_str(),
        (Some(_), None, _) => false,
    };
    regex_holds && ours.path.covers(&theirs.path)
}

impl PathMatch {
    /// The fixed text that every matching path begins with.
    pub(super) fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Any | Self::Regex(_) => None,
            Self::Prefix(text) | Self::Exact(text) | Self::Raw(text) => Some(text),
        }
    }
}
