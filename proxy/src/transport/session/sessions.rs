//! One worker's shared connections.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Lease, Session, Terms};
use crate::base::Instant;
use crate::base::hash::BuildMix;
use crate::target::EndpointId;
use crate::transport::pool::{Bounds, Key};

/// The connections that requests may share, by what makes them interchangeable.
#[derive(Default)]
pub struct Sessions {
    by_key: HashMap<Key, Vec<Rc<Session>>, BuildMix>,
    evicted: u64,
}

/// What there is for a request.
pub enum Found {
    /// A stream.
    Lease(Lease),
    /// A connection that may have one soon: see [`Session::changed`].
    Young(Rc<Session>),
    /// A connection that has none left.
    Full(Rc<Session>),
    /// No connection.
    Nothing,
}

impl Sessions {
    /// A stream of the newest connection that has one; of those opened at `after` or later, if that is given.
    pub fn find(&mut self, key: &Key, terms: &Terms, after: Option<Instant>) -> Found {
        let Some(sessions) = self.by_key.get_mut(key) else { return Found::Nothing };
        sessions.retain(|session| !session.is_over());
        let usable = || sessions.iter().rev().filter(|session| after.is_none_or(|after| session.born >= after));
        if let Some(lease) = usable().find_map(|session| session.lease(terms)) {
            return Found::Lease(lease);
        }
        match (usable().find(|session| session.is_young()), usable().next()) {
            (Some(young), _) => Found::Young(young.clone()),
            (None, Some(full)) => Found::Full(full.clone()),
            (None, None) => Found::Nothing,
        }
    }

    /// Enters a new connection.
    pub fn enter(&mut self, session: Rc<Session>) {
        self.by_key.entry(session.key().clone()).or_default().push(session);
    }

    /// Whether a connection to this endpoint has a stream, or may have one soon.
    pub fn has_room(&self, endpoint: EndpointId) -> bool {
        let has = |session: &Rc<Session>| session.endpoint == endpoint && (session.has_room() || session.is_young());
        self.by_key.values().flatten().any(has)
    }

    /// Forgets what is over; ends those without an exchange that exceed a bound, the longest idle first.
    pub fn sweep(&mut self, bounds: Bounds) {
        let Self { by_key, evicted } = self;
        by_key.retain(|_, sessions| {
            sessions.retain(|session| !session.is_over());
            *evicted += retire_oldest(sessions.iter(), bounds.idle_max);
            !sessions.is_empty()
        });
        *evicted += retire_oldest(by_key.values().flatten(), bounds.idle_total_max);
    }

    /// How many are without an exchange.
    pub fn idle(&self) -> usize {
        self.by_key.values().flatten().filter(|session| session.is_idle()).count()
    }

    /// How many were ended over a bound since the last call.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }
}

/// Ends the longest idle ones so that no more than `max` remain; 0: any number.
fn retire_oldest<'s>(sessions: impl Iterator<Item = &'s Rc<Session>>, max: usize) -> u64 {
    let mut idle: Vec<_> = sessions.filter(|session| session.is_idle()).collect();
    if max == 0 || idle.len() <= max {
        return 0;
    }
    let over = idle.len() - max;
    idle.sort_by_key(|session| session.idle_since.get());
    idle[..over].iter().for_each(|session| session.retire());
    over as u64
}

impl Session {
    /// Ends it if no exchange is on it and somebody waits for a place on its endpoint that it holds.
    pub(in crate::transport) fn yield_place(&self, connections_max: u32) {
        // Who waits here uses this one.
        let wanted = self.place.borrow().as_ref().is_some_and(|place| place.is_wanted_elsewhere(connections_max));
        if wanted && self.is_idle() {
            self.retire();
        }
    }
}
