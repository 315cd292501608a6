//! The certificates of listeners: read again when a file changes, given to the workers, watched as they grow old.

mod watch;

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as cell;

use super::Facts;
use super::audit::Audit;
use super::port::Process;
use super::supervisor::Seen;
use crate::base::Reason;
use crate::config::tls::{Kept, Shown, files, stamps, unix_now};
use crate::config::value::Protocol;
use crate::config::{Document, Problem, Problems};
use crate::policy::finding::{Denial, Kind};
use crate::tls::{Certificate, Offer, Stores};
use watch::Folders;

/// From one look at time to the next.
const TICK: Duration = Duration::from_secs(1);
/// From one look at the files to the next, though no news of them came: some file systems tell none.
const LOOK: Duration = Duration::from_secs(10);
/// How soon a full mailbox is offered again what it did not take.
const AGAIN: Duration = Duration::from_millis(20);
/// A certificate that ends so soon should have been renewed, or after a fifth of its life if that is less.
const EXPIRING_S: i64 = 14 * 86_400;
/// Certificates that `/metrics` shows, those that end first; the rest are one series.
const SERIES_MAX: usize = 10_000;
const OTHER: &str = "_other";

/// Readiness warnings.
const REJECTED: &str = "TLS_MATERIAL_REJECTED";
const EXPIRING: &str = "CERT_EXPIRING";
const KEYLOG: &str = "KEYLOG_ON";

/// What the listeners show, for those who look.
pub(super) struct Certificates {
    kept: Arc<Kept>,
    stores: cell::Sender<Arc<Stores>>,
}

/// Who keeps it, for the process.
pub(super) struct Parts {
    pub(super) kept: Arc<Kept>,
    pub(super) facts: Arc<Facts>,
    pub(super) audit: Arc<Audit>,
    pub(super) process: Arc<dyn Process>,
}

impl Certificates {
    /// Follows the files of the configuration in force.
    pub(super) fn follow(seen: &Seen, parts: Parts) -> Arc<Self> {
        let shown = seen.standing().adopted.snapshot.tls.clone();
        let own = Arc::new(Self { kept: parts.kept.clone(), stores: cell::Sender::new(shown.stores.clone()) });
        let owed = vec![false; parts.facts.workers().len()];
        let follower = Follower {
            parts,
            own: own.clone(),
            generation: 0,
            document: seen.standing().adopted.snapshot.document.clone(),
            shown,
            late: HashSet::new(),
            owed,
        };
        tokio::spawn(follower.run(seen.clone()));
        own
    }

    /// Seconds until each certificate ends, by its file; 0 for one that has ended.
    pub(super) fn expiries(&self) -> Vec<(String, u64)> {
        let now = unix_now();
        let mut ends = BTreeMap::new();
        for offer in offers(&self.stores.borrow()) {
            ends.insert(offer.source.to_string(), left(&offer.certificate, now).max(0).cast_unsigned());
        }
        fold(ends.into_iter().collect(), SERIES_MAX)
    }

    /// How often an OCSP response was left out, by why.
    pub(super) fn unstapled(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.kept.unstapled().map(|(why, times)| (why.token(), times))
    }

    /// Lines of key logs that were lost.
    pub(super) fn key_log_lost(&self) -> u64 {
        self.kept.key_log_lost()
    }
}

struct Follower {
    parts: Parts,
    own: Arc<Certificates>,
    generation: u64,
    document: Arc<Document>,
    shown: Shown,
    /// Certificates whose OCSP response is not stapled for its time, as was told.
    late: HashSet<Arc<str>>,
    /// By worker: the newest stores are on their way.
    owed: Vec<bool>,
}

impl Follower {
    /// Works until the runtime ends.
    async fn run(mut self, mut seen: Seen) {
        let mut folders = Folders::new();
        let mut look_at = tokio::time::Instant::now();
        loop {
            if self.adopt(&seen) || look_at <= tokio::time::Instant::now() {
                look_at = tokio::time::Instant::now() + LOOK;
                self.look(&mut folders).await;
            }
            self.tick();
            self.deliver();
            let pause = if self.owed.contains(&true) { AGAIN } else { TICK };
            tokio::select! {
                changed = seen.standing.changed() => if changed.is_err() { return },
                () = folders.news() => look_at = tokio::time::Instant::now(),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes over what a new configuration has read. Whether there is one.
    fn adopt(&mut self, seen: &Seen) -> bool {
        let snapshot = Arc::clone(&seen.standing().adopted.snapshot);
        if self.generation == snapshot.generation {
            return false;
        }
        self.generation = snapshot.generation;
        self.document = Arc::clone(&snapshot.document);
        self.owed.fill(false);
        self.take(snapshot.tls.clone());
        self.parts.facts.warn(REJECTED, None);
        true
    }

    fn take(&mut self, shown: Shown) {
        // What was unfit when it was read has been told then.
        let now = unix_now();
        let unfit = offers(&shown.stores).filter(|offer| offer.certificate.unstapled(now).is_some());
        self.late = unfit.map(|offer| offer.source.clone()).collect();
        self.own.stores.send_replace(Arc::clone(&shown.stores));
        self.shown = shown;
    }

    /// Reads the files again if one is not as it was.
    async fn look(&mut self, folders: &mut Folders) {
        let (document, before, kept) = (self.document.clone(), self.shown.clone(), self.parts.kept.clone());
        let mut own = std::mem::take(folders);
        // A file system may take its time.
        let read = tokio::task::spawn_blocking(move || {
            // Before the files are looked at: what changes from then on is news.
            own.watch(files(&document));
            (own, again(&document, &before, &kept))
        });
        let Ok((watched, read)) = read.await else { return };
        *folders = watched;
        if let Some((shown, problems)) = read {
            self.judge(shown, &problems);
        }
    }

    fn judge(&mut self, shown: Shown, problems: &Problems) {
        for warning in problems.warnings() {
            tracing::warn!(problem = %warning, "a certificate is of little use");
        }
        let wrong: Vec<_> = problems.iter().filter(|problem| !problem.warning).collect();
        wrong.iter().for_each(|problem| self.reject(problem));
        let hint = wrong.first().map(|problem| format!("the certificates before are shown: {problem}"));
        self.parts.facts.warn(REJECTED, hint);
        tracing::info!(rejected = wrong.len(), "certificates read again");
        self.take(shown);
        self.owed.fill(true);
    }

    fn reject(&self, problem: &Problem) {
        tracing::error!(%problem, "the certificates before are shown: a file cannot be used");
        let listeners = &self.document.listeners;
        let listener = listeners.iter().find(|one| problem.path.starts_with(&format!("{}.", one.at.path())));
        let rule = problem.path.rsplit('.').next().unwrap_or_default();
        self.parts.audit.found(&Denial {
            listener: listener.map_or("", |one| one.name.as_str()),
            reason: Kind::TlsMaterialRejected.token(),
            status: 0,
            proto: None,
            ..Denial::new(Kind::TlsMaterialRejected, "tls", rule, Reason::Ok)
        });
    }

    /// Looks at what time has done.
    fn tick(&mut self) {
        self.parts.kept.tickets.turn();
        let stores = Arc::clone(&self.own.stores.borrow());
        let now = unix_now();
        for offer in offers(&stores) {
            let Some(why) = offer.certificate.unstapled(now) else { continue };
            if self.late.insert(offer.source.clone()) {
                self.parts.kept.left_out(why);
                tracing::warn!(cert = &*offer.source, why = why.text(), "an OCSP response is left out");
            }
        }
        let facts = &self.parts.facts;
        facts.warn(EXPIRING, expiring(&stores, now));
        facts.warn(KEYLOG, key_log(&self.document));
        let makeshift = stores.all().filter(|(_, store)| store.is_makeshift()).map(|(name, _)| name.to_string());
        facts.set_no_certificate(makeshift.min().map(|name| format!("listener {name}")));
    }

    fn deliver(&mut self) {
        let stores = Arc::clone(&self.own.stores.borrow());
        for (worker, owed) in self.owed.iter_mut().enumerate().filter(|(_, owed)| **owed) {
            *owed = !self.parts.process.show(worker, self.generation, &stores);
        }
    }
}

/// What the files say now, if one is not as it was. Blocks.
fn again(document: &Document, before: &Shown, kept: &Kept) -> Option<(Shown, Problems)> {
    if stamps(document) == before.stamps {
        return None;
    }
    let mut problems = Problems::new();
    let shown = before.read_again(document, kept, &mut problems)?;
    Some((shown, problems))
}

fn offers(stores: &Stores) -> impl Iterator<Item = &Offer> {
    stores.all().flat_map(|(_, store)| store.offers())
}

/// Seconds until it ends.
fn left(certificate: &Certificate, now: i64) -> i64 {
    certificate.valid().end().saturating_sub(now)
}

/// The `max` that end first, and of the rest the first as one.
fn fold(mut ends: Vec<(String, u64)>, max: usize) -> Vec<(String, u64)> {
    if ends.len() > max {
        ends.sort_by_key(|(_, left)| *left);
        let first = ends.split_off(max).into_iter().next();
        ends.extend(first.map(|(_, left)| (OTHER.to_owned(), left)));
    }
    ends
}

/// Whether who is valid in this time should have a successor by now.
fn is_ending(valid: &RangeInclusive<i64>, now: i64) -> bool {
    let life = valid.end().saturating_sub(*valid.start());
    valid.end().saturating_sub(now) < EXPIRING_S.min(life / 5)
}

fn expiring(stores: &Stores, now: i64) -> Option<String> {
    let mut found: Vec<_> = offers(stores).filter(|offer| is_ending(offer.certificate.valid(), now)).collect();
    found.sort_by_key(|offer| left(&offer.certificate, now));
    let first = found.first()?;
    let left = left(&first.certificate, now);
    let when = match left {
        ..0 => "has ended".to_owned(),
        0..172_800 => format!("ends in {} h", left / 3600),
        _ => format!("ends in {} d", left / 86_400),
    };
    let more = if found.len() > 1 { format!(", and {} more", found.len() - 1) } else { String::new() };
    Some(format!("renew {}: it {when}{more}", first.source))
}

fn key_log(document: &Document) -> Option<String> {
    let on = |one: &&crate::config::raw::Listener| one.enabled && one.protocol == Protocol::Https;
    let path = document.listeners.iter().filter(on).find_map(|one| one.tls.keylog.as_ref())?;
    Some(format!("secrets of sessions are written to {}: whoever reads it reads the traffic", path.display()))
}

#[cfg(test)]
mod tests;
