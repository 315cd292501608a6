//! Keys that seal sessions for resumption (RFC 5077, RFC 8446 section 4.6.1): the same for all workers of a process
//! and for the binary that takes over from it, made anew from time to time, the one before still accepted.
//!
//! A ticket is the key's name, a nonce, and the sealed session. Nonces are random, and AES-GCM-SIV (RFC 8452) forgives
//! that many are drawn under one key.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};

use super::resolver::unix_now;

const NAME_LEN: usize = 16;
const SECRET_LEN: usize = 32;
/// Octets of a session that are sealed; one with a longer chain of a client is not resumed.
const SESSION_MAX: usize = 16 << 10;

/// The keys of all listeners of the process, by the listener's name. They outlive configurations.
#[derive(Default)]
pub struct TicketBook {
    listeners: Mutex<HashMap<Arc<str>, Arc<Tickets>>>,
}

impl TicketBook {
    /// The keys of a listener, which from now on change so often.
    pub fn of(&self, listener: &str, rotation: Duration) -> Arc<Tickets> {
        let mut listeners = self.lock();
        let tickets = match listeners.get(listener) {
            Some(tickets) => tickets.clone(),
            None => {
                let tickets = Arc::new(Tickets::new(listener, Ring::default()));
                listeners.insert(listener.into(), tickets.clone());
                tickets
            }
        };
        tickets.rotate(Some(rotation), unix_now());
        tickets
    }

    /// Makes new keys where it is time to, and forgets those of listeners that are gone.
    pub fn turn(&self) {
        let mut listeners = self.lock();
        listeners.retain(|_, tickets| Arc::strong_count(tickets) > 1);
        listeners.values().for_each(|tickets| tickets.rotate(None, unix_now()));
    }

    /// All keys, for the binary that takes over: [`TicketBook::import`] reads it. Secret.
    pub fn export(&self) -> Vec<u8> {
        let listeners = self.lock();
        let kept = listeners.iter().map(|(name, tickets)| (name.to_string(), tickets.export()));
        serde_json::to_vec(&kept.collect::<HashMap<_, _>>()).unwrap_or_default()
    }

    /// Goes on with the keys of the binary that was here before; to be called before the first configuration. False if
    /// that is not what the octets are, which changes nothing.
    pub fn import(&self, exported: &[u8]) -> bool {
        let Ok(kept) = serde_json::from_slice::<HashMap<String, Vec<Kept>>>(exported) else { return false };
        let rings = kept.into_iter().map(|(name, keys)| Some((name, Ring::import(&keys)?)));
        let Some(rings) = rings.collect::<Option<Vec<_>>>() else { return false };
        let mut listeners = self.lock();
        for (name, ring) in rings {
            listeners.insert(name.as_str().into(), Arc::new(Tickets::new(&name, ring)));
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Tickets>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TicketBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketBook([redacted])")
    }
}

/// The keys of one listener.
pub struct Tickets {
    listener: Box<str>,
    ring: RwLock<Ring>,
}

/// The newest key first. The one before it opens tickets for as long again as it sealed them.
#[derive(Default)]
struct Ring {
    rotation: Duration,
    keys: Vec<Key>,
}

struct Key {
    name: [u8; NAME_LEN],
    secret: [u8; SECRET_LEN],
    /// In Unix seconds.
    made: i64,
    sealer: LessSafeKey,
}

/// A key as it is handed over.
#[derive(Serialize, Deserialize)]
struct Kept {
    name: String,
    secret: String,
    made: i64,
}

impl Tickets {
    fn new(listener: &str, ring: Ring) -> Self {
        Self { listener: listener.into(), ring: RwLock::new(ring) }
    }

    /// What seals the sessions of one way of asking for client certificates: a session that began under another one
    /// does not open.
    pub(super) fn sealer(self: &Arc<Self>, context: [u8; 32]) -> Arc<dyn ProducesTickets> {
        let bound = [self.listener.as_bytes(), &[0], &context].concat();
        Arc::new(Sealer { tickets: self.clone(), bound })
    }

    /// Makes a new key if the newest is old enough by now, and forgets those that are too old.
    fn rotate(&self, rotation: Option<Duration>, now: i64) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.rotation = rotation.unwrap_or(ring.rotation);
        let period = i64::try_from(ring.rotation.as_secs()).unwrap_or(i64::MAX);
        // A clock that was set back makes a key that seems to be of the future; it is replaced.
        let young = |key: &Key| (0..period).contains(&now.saturating_sub(key.made));
        if !ring.keys.first().is_some_and(young)
            && let Some(key) = Key::generate(now)
        {
            ring.keys.insert(0, key);
            ring.keys.truncate(2);
            ring.keys.retain(|key| now.saturating_sub(key.made) < period.saturating_mul(2));
        }
    }

    fn export(&self) -> Vec<Kept> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        ring.keys.iter().map(Key::export).collect()
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets([redacted])")
    }
}

impl Ring {
    fn import(kept: &[Kept]) -> Option<Self> {
        let keys = kept.iter().map(Key::import).collect::<Option<_>>()?;
        Some(Self { keys, ..Self::default() })
    }
}

impl Key {
    fn new(name: [u8; NAME_LEN], secret: [u8; SECRET_LEN], made: i64) -> Option<Self> {
        let sealer = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, &secret).ok()?);
        Some(Self { name, secret, made, sealer })
    }

    /// None if there are no random numbers to be had.
    fn generate(now: i64) -> Option<Self> {
        Self::new(random()?, random()?, now)
    }

    fn export(&self) -> Kept {
        Kept { name: BASE64.encode(self.name), secret: BASE64.encode(self.secret), made: self.made }
    }

    fn import(kept: &Kept) -> Option<Self> {
        let name = BASE64.decode(&kept.name).ok()?.try_into().ok()?;
        let secret = BASE64.decode(&kept.secret).ok()?.try_into().ok()?;
        Self::new(name, secret, kept.made)
    }

    fn seal(&self, bound: &[u8], session: &[u8]) -> Option<Vec<u8>> {
        let nonce = random::<NONCE_LEN>()?;
        let mut sealed = session.to_vec();
        let (aad, unique) = (Aad::from(bound), Nonce::assume_unique_for_key(nonce));
        self.sealer.seal_in_place_append_tag(unique, aad, &mut sealed).ok()?;
        Some([&self.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, bound: &[u8], nonce: [u8; NONCE_LEN], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut octets = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.sealer.open_in_place(nonce, Aad::from(bound), &mut octets).ok()?.len();
        octets.truncate(length);
        Some(octets)
    }
}

/// Seals and opens for one listener and one way of asking for client certificates.
struct Sealer {
    tickets: Arc<Tickets>,
    /// What a ticket must have been sealed with beside the key.
    bound: Vec<u8>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer([redacted])")
    }
}

impl Sealer {
    /// The keys of the moment. Whoever makes new ones waits for those who seal or open, microseconds each.
    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.tickets.ring.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProducesTickets for Sealer {
    fn enabled(&self) -> bool {
        true
    }

    /// A ticket is sealed at any time of its key's life, and opens for one more life at least.
    fn lifetime(&self) -> u32 {
        u32::try_from(self.ring().rotation.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        if session.len() > SESSION_MAX {
            return None;
        }
        self.ring().keys.first()?.seal(&self.bound, session)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        if sealed.len() > SESSION_MAX + AES_256_GCM_SIV.tag_len() {
            return None;
        }
        // The name is no secret: it went over the wire.
        self.ring().keys.iter().find(|key| key.name == *name)?.open(&self.bound, *nonce, sealed)
    }
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).ok()?;
    Some(octets)
}

#[cfg(test)]
mod tests;
