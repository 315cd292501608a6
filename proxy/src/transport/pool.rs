//! Idle upstream connections of one worker, newest first.
//!
//! Generic over the connection, so that its rules are tested against an oracle without a network.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::base::Instant;
use crate::base::hash::BuildMix;
use crate::tls::Outgoing;

/// What makes two connections interchangeable; compared in full.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// The endpoint's address.
    pub address: SocketAddr,
    /// HTTP/2 is spoken on it.
    pub http2: bool,
    /// What its TLS goes by; none without TLS.
    pub tls: Option<Arc<Outgoing>>,
    /// The number of the client connection that it was announced for, and serves alone; 0: it serves any.
    pub client: u64,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ip = match self.address.ip() {
            std::net::IpAddr::V4(ip) => u128::from(u32::from(ip)),
            std::net::IpAddr::V6(ip) => u128::from(ip),
        };
        #[expect(clippy::cast_possible_truncation, reason = "both halves are folded in")]
        state.write_u64((ip >> 64) as u64 ^ (ip as u64) ^ u64::from(self.address.port()).rotate_left(40) ^ self.client);
        // How TLS is spoken seldom differs at one address: comparison tells it apart.
    }
}

/// What the socket of an idle connection has seen since it was parked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Nothing: it can be used.
    Nothing,
    /// Octets that no request asked for: it must not be used.
    Data,
    /// The end of the stream or an error.
    End,
}

/// A connection that can lie in the pool.
pub trait Parked {
    /// What arrived while it lay there.
    fn seen(&self) -> Seen;

    /// The number of the endpoint whose room it takes.
    fn endpoint(&self) -> u64;
}

impl<C: Parked> Parked for Box<C> {
    fn seen(&self) -> Seen {
        (**self).seen()
    }

    fn endpoint(&self) -> u64 {
        (**self).endpoint()
    }
}

/// Bounds of a pool; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Idle connections to one key.
    pub idle_max: usize,
    /// Idle connections of this worker.
    pub idle_total_max: usize,
}

/// Connections that left the pool unused, by cause.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    /// Octets arrived while idle.
    pub unexpected_data: u64,
    /// The peer closed.
    pub closed: u64,
    /// Idle for too long.
    pub expired: u64,
    /// Over a bound.
    pub evicted: u64,
}

struct Idle<C> {
    connection: C,
    until: Instant,
    parked: u64,
}

/// The pool of one worker.
pub struct Pool<C> {
    by_key: HashMap<Key, VecDeque<Idle<C>>, BuildMix>,
    /// Keys of connections that serve one client alone, by its number.
    own: HashMap<u64, SmallVec<[Key; 1]>, BuildMix>,
    tally: Tally,
    parked: u64,
    dropped: Dropped,
}

/// How many lie in a pool, in all and of each endpoint.
#[derive(Default)]
struct Tally {
    total: usize,
    by_endpoint: HashMap<u64, usize, BuildMix>,
}

impl Tally {
    fn comes(&mut self, endpoint: u64) {
        self.total += 1;
        *self.by_endpoint.entry(endpoint).or_default() += 1;
    }

    fn goes(&mut self, endpoint: u64) {
        self.total -= 1;
        if let Entry::Occupied(mut left) = self.by_endpoint.entry(endpoint) {
            *left.get_mut() -= 1;
            if *left.get() == 0 {
                left.remove();
            }
        }
    }
}

impl<C: Parked> Default for Pool<C> {
    fn default() -> Self {
        let (by_key, own, tally) = (HashMap::default(), HashMap::default(), Tally::default());
        Self { by_key, own, tally, parked: 0, dropped: Dropped::default() }
    }
}

impl<C: Parked> Pool<C> {
    /// The newest usable connection to `key`; unusable ones met on the way are closed and counted.
    pub fn take(&mut self, key: &Key, now: Instant) -> Option<C> {
        let idle = self.by_key.get_mut(key)?;
        while let Some(newest) = idle.pop_back() {
            self.tally.goes(newest.connection.endpoint());
            match newest.unusable(now, &mut self.dropped) {
                true => drop(newest),
                false => return Some(newest.connection),
            }
        }
        None
    }

    /// Parks a connection for at most `idle_for`; closes the oldest ones that exceed a bound.
    pub fn put(&mut self, key: Key, connection: C, now: Instant, idle_for: Duration, bounds: Bounds) {
        self.parked += 1;
        if key.client != 0 {
            let keys = self.own.entry(key.client).or_default();
            if !keys.contains(&key) {
                keys.push(key.clone());
            }
        }
        self.tally.comes(connection.endpoint());
        let idle = self.by_key.entry(key).or_default();
        idle.push_back(Idle { connection, until: now + idle_for, parked: self.parked });
        if bounds.idle_max != 0
            && idle.len() > bounds.idle_max
            && let Some(oldest) = idle.pop_front()
        {
            self.tally.goes(oldest.connection.endpoint());
            self.dropped.evicted += 1;
        }
        if bounds.idle_total_max != 0 && self.tally.total > bounds.idle_total_max {
            self.evict_oldest();
        }
    }

    /// Closes what serves this client alone: it is gone.
    pub fn forget(&mut self, client: u64) {
        for key in self.own.remove(&client).into_iter().flatten() {
            for idle in self.by_key.remove(&key).into_iter().flatten() {
                self.tally.goes(idle.connection.endpoint());
            }
        }
    }

    /// Closes a connection to this endpoint, so that there is room for another; whether there was one.
    pub fn evict(&mut self, endpoint: u64) -> bool {
        if !self.holds(endpoint) {
            return false;
        }
        let of = |one: &Idle<C>| one.connection.endpoint() == endpoint;
        let found = self.by_key.values_mut().find_map(|idle| idle.iter().position(of).and_then(|at| idle.remove(at)));
        if found.is_some() {
            self.tally.goes(endpoint);
            self.dropped.evicted += 1;
        }
        found.is_some()
    }

    /// Closes what has expired, ended or received octets since.
    pub fn sweep(&mut self, now: Instant) {
        let (dropped, tally) = (&mut self.dropped, &mut self.tally);
        self.by_key.retain(|_, idle| {
            idle.retain(|one| {
                let stays = !one.unusable(now, dropped);
                if !stays {
                    tally.goes(one.connection.endpoint());
                }
                stays
            });
            !idle.is_empty()
        });
    }

    /// Closes all.
    pub fn clear(&mut self) {
        self.by_key.clear();
        self.own.clear();
        self.tally = Tally::default();
    }

    /// Whether a connection to this endpoint lies here.
    pub fn holds(&self, endpoint: u64) -> bool {
        self.tally.by_endpoint.contains_key(&endpoint)
    }

    /// How many lie here.
    pub fn len(&self) -> usize {
        self.tally.total
    }

    /// Whether none lies here.
    pub fn is_empty(&self) -> bool {
        self.tally.total == 0
    }

    /// What was closed unused since the last call, by cause.
    pub fn take_dropped(&mut self) -> Dropped {
        std::mem::take(&mut self.dropped)
    }

    fn evict_oldest(&mut self) {
        let oldest = self.by_key.values_mut().filter(|idle| !idle.is_empty()).min_by_key(|idle| idle[0].parked);
        if let Some(oldest) = oldest.and_then(VecDeque::pop_front) {
            self.tally.goes(oldest.connection.endpoint());
            self.dropped.evicted += 1;
        }
    }
}

impl<C: Parked> Idle<C> {
    fn unusable(&self, now: Instant, dropped: &mut Dropped) -> bool {
        let cause = match self.connection.seen() {
            Seen::Data => &mut dropped.unexpected_data,
            Seen::End => &mut dropped.closed,
            Seen::Nothing if self.until <= now => &mut dropped.expired,
            Seen::Nothing => return false,
        };
        *cause += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    struct Fake {
        id: u64,
        endpoint: u64,
        seen: Rc<Cell<Seen>>,
    }

    impl Parked for Fake {
        fn seen(&self) -> Seen {
            self.seen.get()
        }

        fn endpoint(&self) -> u64 {
            self.endpoint
        }
    }

    struct Oracle {
        key: u8,
        id: u64,
        until: u64,
        seen: Rc<Cell<Seen>>,
    }

    fn key(n: u8) -> Key {
        Key { address: ([10, 0, 0, n], 80).into(), http2: false, tls: None, client: u64::from(n / 3) }
    }

    /// Of keys 0 to 5, the first three serve any client, the others serve client 1; two share an endpoint.
    fn endpoint(key: u8) -> u64 {
        u64::from(key / 2)
    }

    /// The plain form of the rules: one list, oldest first.
    fn oracle_put(list: &mut Vec<Oracle>, one: Oracle, bounds: Bounds) {
        let number = one.key;
        list.push(one);
        if list.iter().filter(|o| o.key == number).count() > bounds.idle_max {
            let oldest = list.iter().position(|o| o.key == number).expect("counted");
            list.remove(oldest);
        }
        if list.len() > bounds.idle_total_max {
            list.remove(0);
        }
    }

    fn oracle_take(list: &mut Vec<Oracle>, key: u8, now: u64) -> Option<u64> {
        while let Some(at) = list.iter().rposition(|o| o.key == key) {
            let one = list.remove(at);
            if one.seen.get() == Seen::Nothing && one.until > now {
                return Some(one.id);
            }
        }
        None
    }

    #[test]
    fn pool_equals_its_oracle_under_random_use() {
        for seed in 0..50 {
            let mut random = fastrand::Rng::with_seed(seed);
            let bounds = Bounds { idle_max: random.usize(1..6), idle_total_max: random.usize(1..12) };
            let (mut pool, mut list) = (Pool::default(), Vec::new());
            for now in 0..2_000_u64 {
                let number = random.u8(..6);
                match random.u8(..14) {
                    0..5 => {
                        let (seen, idle) = (Rc::new(Cell::new(Seen::Nothing)), random.u64(1..50));
                        let fake = Fake { id: now, endpoint: endpoint(number), seen: seen.clone() };
                        pool.put(key(number), fake, Instant::from_nanos(now), Duration::from_nanos(idle), bounds);
                        oracle_put(&mut list, Oracle { key: number, id: now, until: now + idle, seen }, bounds);
                    }
                    5..=9 => {
                        let taken = pool.take(&key(number), Instant::from_nanos(now)).map(|fake| fake.id);
                        assert_eq!(taken, oracle_take(&mut list, number, now), "seed {seed} step {now}");
                    }
                    10 => {
                        pool.forget(1);
                        list.retain(|o| o.key < 3);
                    }
                    11 => {
                        let before: Vec<_> = list.iter().map(|o| o.id).collect();
                        let evicted = pool.evict(endpoint(number));
                        assert_eq!(evicted, list.iter().any(|o| endpoint(o.key) == endpoint(number)));
                        let left: Vec<_> = pool.by_key.values().flatten().map(|idle| idle.connection.id).collect();
                        list.retain(|o| left.contains(&o.id));
                        let gone: Vec<_> = before.iter().filter(|id| !left.contains(id)).collect();
                        assert_eq!(gone.len(), usize::from(evicted), "seed {seed} step {now}");
                    }
                    _ if random.bool() && !list.is_empty() => {
                        let what = if random.bool() { Seen::Data } else { Seen::End };
                        random.choice(&list).expect("not empty").seen.set(what);
                    }
                    _ => {
                        pool.sweep(Instant::from_nanos(now));
                        list.retain(|o| o.seen.get() == Seen::Nothing && o.until > now);
                    }
                }
                assert_eq!(pool.len(), list.len(), "seed {seed} step {now}");
                for one in 0..3 {
                    let held = list.iter().any(|o| endpoint(o.key) == one);
                    assert_eq!(pool.holds(one), held, "seed {seed} step {now}");
                }
            }
        }
    }

    #[test]
    fn unexpected_data_is_counted_and_never_handed_out() {
        let mut pool = Pool::default();
        let seen = Rc::new(Cell::new(Seen::Nothing));
        let bounds = Bounds { idle_max: 4, idle_total_max: 4 };
        let now = Instant::from_nanos(1);
        pool.put(key(1), Fake { id: 1, endpoint: 0, seen: seen.clone() }, now, Duration::from_secs(1), bounds);
        seen.set(Seen::Data);
        assert!(pool.take(&key(1), now).is_none());
        assert_eq!(pool.take_dropped(), Dropped { unexpected_data: 1, ..Dropped::default() });
    }
}
