//! One lookup: merges the rank lists that a host and path lead to, until a route's remaining predicates hold.

use super::super::Route;
use super::super::query::Query;
use super::{List, NO_RANK};

/// Lists with conditional routes merged at once; what is beyond is tested on the spot, which is as exact.
const CURSORS: usize = 16;

/// See the module.
pub(super) struct Search<'s> {
    routes: &'s [Route],
    query: &'s Query<'s>,
    ranks: &'s [u32],
    /// The lowest rank known to match.
    best: u32,
    cursors: [&'s [u32]; CURSORS],
    used: usize,
}

impl<'s> Search<'s> {
    pub(super) fn new(routes: &'s [Route], query: &'s Query<'s>, ranks: &'s [u32]) -> Self {
        Self { routes, query, ranks, best: NO_RANK, cursors: [&[]; CURSORS], used: 0 }
    }

    pub(super) fn add(&mut self, list: List) {
        self.best = self.best.min(list.last);
        if list.len == 0 {
            return;
        }
        let ranks = &self.ranks[list.start as usize..][..list.len as usize];
        if ranks[0] >= self.best {
            return;
        }
        if let Some(cursor) = self.cursors.get_mut(self.used) {
            *cursor = ranks;
            self.used += 1;
        } else if let Some(rank) = ranks.iter().take_while(|rank| **rank < self.best).find(|rank| self.holds(**rank)) {
            self.best = *rank;
        }
    }

    pub(super) fn finish(mut self) -> Option<u32> {
        let mut tested = NO_RANK;
        while let Some(rank) = self.next() {
            // A route with several hosts stands in several lists.
            if rank != tested && self.holds(rank) {
                return Some(rank);
            }
            tested = rank;
        }
        (self.best != NO_RANK).then_some(self.best)
    }

    /// Takes the lowest rank of all cursors, if it is below the best.
    fn next(&mut self) -> Option<u32> {
        let cursors = &mut self.cursors[..self.used];
        let lowest = cursors.iter_mut().filter(|ranks| !ranks.is_empty()).min_by_key(|ranks| ranks[0])?;
        let rank = lowest[0];
        *lowest = &lowest[1..];
        (rank < self.best).then_some(rank)
    }

    fn holds(&self, rank: u32) -> bool {
        self.routes[rank as usize].matcher.rest_holds(self.query)
    }
}
