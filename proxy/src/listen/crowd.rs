//! How much each client has at once, counted by all workers together: a table of cells that nobody locks.
//!
//! A cell is one word: what tells the client from others of its set, and its count. It belongs to a client while that
//! has something, and is empty again afterwards, so there are never more cells in use than things counted. A client is
//! an IPv4 address or the /64 of an IPv6 address.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// Cells of a set: a cache line. A client's cells are in one of two sets.
const SET: usize = 8;
/// Sets that are allocated together, when one of them is first needed: a page.
const CHUNK: usize = 64;
/// Bits of a cell's count; the others tell clients apart.
const COUNT_BITS: u32 = 24;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
/// Things counted that the largest table has room for.
const ROOM_MAX: usize = 1 << 20;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// Connections of a peer.
    Connections,
    /// Connections of a peer that have not brought a whole head.
    Handshakes,
    /// Requests in flight of a client.
    Requests,
}

/// All clients and what they have. Clones are the same crowd: one for each worker, so that what holds a place there
/// writes nothing that other workers hold.
#[derive(Clone)]
pub struct Crowd(Arc<Shared>);

struct Shared {
    hasher: RandomState,
    tables: [Cells; 3],
}

/// A client, as the crowd looks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member(u64);

/// The client has as much as it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crowded;

impl Crowd {
    /// A crowd that can count so many things of each kind.
    pub fn new(room: usize) -> Self {
        let tables = std::array::from_fn(|_| Cells::new(room));
        Self(Arc::new(Shared { hasher: RandomState::new(), tables }))
    }

    /// Finds out which client an address belongs to. The hash is keyed: nobody can choose addresses that share a cell.
    pub fn member(&self, ip: IpAddr) -> Member {
        const PREFIX_V6: u32 = 64;
        Member(match ip.to_canonical() {
            IpAddr::V4(ip) => self.0.hasher.hash_one((4_u8, u64::from(ip.to_bits()))),
            IpAddr::V6(ip) => self.0.hasher.hash_one((6_u8, (ip.to_bits() >> PREFIX_V6) as u64)),
        })
    }

    /// Counts one more thing of a client, for as long as the place is held. `max` 0 is no limit. Threads that find the
    /// client without a cell at the same moment may each take one, and each of them but one may then let in one thing
    /// too many. None: there is no room to count it.
    ///
    /// # Errors
    /// The client has `max` already.
    pub fn enter(self: &Rc<Self>, share: Counted, member: Member, max: u64) -> Result<Option<Place>, Crowded> {
        let at = self.0.tables[share as usize].enter(member, max)?;
        Ok(at.map(|at| Place { crowd: Rc::clone(self), share, at }))
    }
}

/// One thing of one client, counted until this is dropped.
pub struct Place {
    crowd: Rc<Crowd>,
    share: Counted,
    at: At,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.0.tables[self.share as usize].leave(self.at);
    }
}

/// Number of a set, and of a cell in it.
type At = (usize, usize);

#[repr(align(64))]
#[derive(Default)]
struct Set([AtomicU64; SET]);

struct Cells {
    chunks: Box<[OnceLock<Box<[Set; CHUNK]>>]>,
}

/// What a look at a client's sets found.
#[derive(Default)]
struct Look {
    total: u64,
    /// A cell of the client, and what it held.
    own: Option<(At, u64)>,
    /// An empty cell of the emptier set, and how many that has.
    empty: Option<(At, usize)>,
}

impl Cells {
    /// Twice as many cells as things: of two sets that are half full, hardly ever both are full.
    fn new(room: usize) -> Self {
        let sets = (room.clamp(CHUNK * SET / 2, ROOM_MAX) * 2 / SET).next_power_of_two();
        Self { chunks: (0..sets / CHUNK).map(|_| OnceLock::new()).collect() }
    }

    fn enter(&self, member: Member, max: u64) -> Result<Option<At>, Crowded> {
        let tag = member.0 >> COUNT_BITS;
        loop {
            let look = self.look(member, tag);
            if max != 0 && look.total >= max {
                return Err(Crowded);
            }
            let empty = look.empty.map(|(at, _)| (at, 0));
            let Some((at, before)) = look.own.or(empty) else { return Ok(None) };
            if before & COUNT_MAX == COUNT_MAX {
                return Ok(None);
            }
            let after = if before == 0 { tag << COUNT_BITS | 1 } else { before + 1 };
            if self.cell(at).compare_exchange(before, after, Relaxed, Relaxed).is_ok() {
                return Ok(Some(at));
            }
        }
    }

    fn look(&self, member: Member, tag: u64) -> Look {
        let mut look = Look::default();
        for set in self.sets(member) {
            let mut empty = None;
            for (place, cell) in self.set(set).0.iter().enumerate() {
                match cell.load(Relaxed) {
                    0 => empty = Some((empty.map_or(place, |(first, _)| first), empty.map_or(1, |(_, n)| n + 1))),
                    word if word >> COUNT_BITS == tag => {
                        look.total += word & COUNT_MAX;
                        look.own = look.own.or(Some(((set, place), word)));
                    }
                    _ => {}
                }
            }
            let emptier = |n: usize| look.empty.is_none_or(|(_, most)| n > most);
            if let Some((place, n)) = empty.filter(|(_, n)| emptier(*n)) {
                look.empty = Some(((set, place), n));
            }
        }
        look
    }

    fn leave(&self, at: At) {
        // The last thing of a client empties its cell. The cell is the client's until then, so nobody else's is taken.
        let less = |word: u64| Some(if word & COUNT_MAX <= 1 { 0 } else { word - 1 });
        let _ = self.cell(at).fetch_update(Relaxed, Relaxed, less);
    }

    fn sets(&self, member: Member) -> [usize; 2] {
        let mask = self.chunks.len() * CHUNK - 1;
        let other = member.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let first = member.0 as usize & mask;
        let second = other as usize & mask;
        // The same set twice would count its cells twice.
        [first, if second == first { first ^ 1 } else { second }]
    }

    fn set(&self, set: usize) -> &Set {
        &self.chunks[set / CHUNK].get_or_init(|| Box::new(std::array::from_fn(|_| Set::default())))[set % CHUNK]
    }

    fn cell(&self, (set, place): At) -> &AtomicU64 {
        &self.set(set).0[place]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const C: Counted = Counted::Connections;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn used(crowd: &Crowd) -> usize {
        let chunks = crowd.0.tables[C as usize].chunks.iter().filter_map(OnceLock::get);
        chunks.flat_map(|chunk| chunk.iter()).flat_map(|set| &set.0).filter(|cell| cell.load(Relaxed) != 0).count()
    }

    #[test]
    fn a_client_is_an_address_or_a_64() {
        let crowd = Crowd::new(1);
        let same = |a: &str, b: &str| crowd.member(ip(a)) == crowd.member(ip(b));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1") && same("2001:db8::1", "2001:db8::ffff:0:0:1"));
        assert!(!same("192.0.2.1", "192.0.2.2") && !same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(!same("0.0.0.1", "::"));
    }

    #[test]
    fn count_follows_what_is_held_and_ends_with_it() {
        let crowd = Rc::new(Crowd::new(1));
        let member = crowd.member(ip("192.0.2.1"));
        let held: Vec<_> = (0..3).map(|_| crowd.enter(C, member, 3).expect("room").expect("counted")).collect();
        assert!(crowd.enter(C, member, 3).is_err());
        assert!(crowd.enter(Counted::Requests, member, 1).is_ok());
        assert!(crowd.enter(C, crowd.member(ip("192.0.2.2")), 3).is_ok());
        assert!(crowd.enter(C, member, 0).is_ok());
        drop(held);
        assert_eq!(used(&crowd), 0);
        assert!(crowd.enter(C, member, 1).is_ok());
    }

    #[test]
    fn crowd_agrees_with_a_plain_count_and_forgets_all() {
        let crowd = Rc::new(Crowd::new(2000));
        let mut random = fastrand::Rng::with_seed(7);
        let (mut plain, mut held) = (HashMap::<u32, u64>::new(), Vec::new());
        for _ in 0..100_000 {
            if held.len() < 2000 && random.bool() {
                let client = random.u32(..1000);
                let entered = crowd.enter(C, crowd.member(IpAddr::V4(client.into())), 3);
                let count = plain.entry(client).or_default();
                assert_eq!(entered.is_ok(), *count < 3);
                if let Ok(place) = entered {
                    held.push((client, place.expect("room for twice as many")));
                    *count += 1;
                }
            } else if !held.is_empty() {
                let (client, place) = held.swap_remove(random.usize(..held.len()));
                drop(place);
                *plain.get_mut(&client).expect("counted") -= 1;
            }
        }
        held.clear();
        assert_eq!(used(&crowd), 0);
    }

    #[test]
    fn a_full_table_counts_no_more_and_refuses_nobody() {
        let crowd = Rc::new(Crowd::new(1));
        let cells = CHUNK * SET;
        let enter = |n: usize| crowd.enter(C, crowd.member(IpAddr::V4((n as u32).into())), 1).expect("not refused");
        let held: Vec<_> = (0..cells * 4).filter_map(enter).collect();
        assert!(held.len() > cells * 9 / 10 && held.len() <= cells, "{} of {cells}", held.len());
    }

    #[test]
    fn threads_together_stay_within_the_bound() {
        crush(true, 50);
    }

    #[test]
    fn threads_that_begin_together_exceed_the_bound_by_less_than_one_each() {
        crush(false, 50 + THREADS - 1);
    }

    const THREADS: u64 = 4;

    /// Has threads take all they can of 50 places, again and again, and sees that `most` of them are held at once. The
    /// client always has a cell if it `stays`.
    fn crush(stays: bool, most: u64) {
        const MAX: u64 = 50;
        let crowd = Crowd::new(1000);
        let inside = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let crowd = Rc::new(crowd.clone());
                    let member = crowd.member(ip("192.0.2.1"));
                    let _stays = stays.then(|| crowd.enter(C, member, 0));
                    for _ in 0..20_000 {
                        let held: Vec<_> = (0..30).map_while(|_| crowd.enter(C, member, MAX).ok()).collect();
                        let now = inside.fetch_add(held.len() as u64, Relaxed) + held.len() as u64;
                        assert!(now <= most, "{now}");
                        inside.fetch_sub(held.len() as u64, Relaxed);
                    }
                });
            }
        });
        assert_eq!(used(&crowd), 0);
    }
}
