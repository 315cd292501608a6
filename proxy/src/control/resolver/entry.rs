//! One name: what is known of it, and what an answer changes. No clock, no network.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::Settings;
use crate::base::Instant;
use crate::target::live::ADDRESSES_MAX;

/// Wait before a failed lookup is repeated: doubled each time, up to the last.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(30);

/// What a lookup brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Addresses, and how long they hold.
    Addresses { ips: Vec<IpAddr>, ttl: Duration },
    /// There is no such name, or it has no address.
    Absent,
    /// Nobody answered, or not to the question.
    Failed(String),
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    /// Addresses in use.
    pub(super) granted: Vec<IpAddr>,
    /// Addresses of the last answer that may not be used.
    pub(super) denied: Vec<IpAddr>,
    /// Until when the last answer holds.
    pub(super) fresh_until: Option<Instant>,
    /// Unix seconds of the last answer with addresses.
    pub(super) last_seen: Option<u64>,
    /// Why the last lookup brought none.
    pub(super) failure: Option<String>,
    /// The targets that use it.
    pub(super) used_by: Vec<String>,
    asked_at: Option<Instant>,
    absent_in_row: u32,
    failed_in_row: u32,
}

impl Entry {
    /// Whether a lookup has ended.
    pub(super) fn was_asked(&self) -> bool {
        self.asked_at.is_some()
    }

    /// Takes an answer; the new addresses if they have changed.
    pub(super) fn note(
        &mut self,
        answer: Answer,
        settings: &Settings,
        now: Instant,
        unix_seconds: u64,
    ) -> Option<Vec<IpAddr>> {
        self.asked_at = Some(now);
        match answer {
            Answer::Addresses { ips, ttl } => {
                self.fresh_until = Some(now + ttl.clamp(settings.ttl_min, settings.ttl_max));
                self.last_seen = Some(unix_seconds);
                (self.absent_in_row, self.failed_in_row, self.failure) = (0, 0, None);
                self.put(ips, settings)
            }
            Answer::Absent => self.absent(),
            Answer::Failed(why) => self.failed(why, settings, now),
        }
    }

    /// Replaces the addresses; in the answer's order, so that a rotating server moves nothing but the order.
    fn put(&mut self, ips: Vec<IpAddr>, settings: &Settings) -> Option<Vec<IpAddr>> {
        let (denied, mut granted): (Vec<_>, Vec<_>) =
            ips.into_iter().map(|ip| ip.to_canonical()).partition(|&ip| is_denied(ip, &settings.deny_ips));
        self.denied = denied;
        granted.sort_unstable();
        granted.dedup();
        granted.truncate(ADDRESSES_MAX);
        self.replace(granted)
    }

    /// One such answer may be a mistake on the way: only the second in a row empties.
    fn absent(&mut self) -> Option<Vec<IpAddr>> {
        self.absent_in_row += 1;
        self.failed_in_row += 1;
        self.failure = Some("no such name, or no address of it".to_owned());
        if self.absent_in_row < 2 {
            return None;
        }
        self.denied.clear();
        self.replace(Vec::new())
    }

    fn failed(&mut self, why: String, settings: &Settings, now: Instant) -> Option<Vec<IpAddr>> {
        self.absent_in_row = 0;
        self.failed_in_row += 1;
        self.failure = Some(why);
        let expired = self.fresh_until.is_some_and(|until| now >= until + settings.stale_max);
        if expired { self.replace(Vec::new()) } else { None }
    }

    fn replace(&mut self, granted: Vec<IpAddr>) -> Option<Vec<IpAddr>> {
        if self.granted == granted {
            return None;
        }
        self.granted.clone_from(&granted);
        Some(granted)
    }

    /// Judges the known addresses by other settings.
    pub(super) fn rejudge(&mut self, settings: &Settings) -> Option<Vec<IpAddr>> {
        let known = [std::mem::take(&mut self.denied), self.granted.clone()].concat();
        self.put(known, settings)
    }

    /// When to ask next.
    pub(super) fn due(&self, settings: &Settings) -> Instant {
        let asked_at = self.asked_at.unwrap_or_default();
        if self.failed_in_row == 0 {
            return self.fresh_until.unwrap_or(asked_at);
        }
        let backoff = RETRY_FIRST.saturating_mul(1 << (self.failed_in_row - 1).min(5)).min(RETRY_LAST);
        asked_at + backoff.max(settings.ttl_min)
    }

    /// Whether the addresses in use are older than their TTL.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        !self.granted.is_empty() && self.failure.is_some() && self.fresh_until.is_some_and(|until| until <= now)
    }
}

/// Whether an address is barred. An IPv4 address in IPv6 clothes (RFC 4291 section 2.5.5.2) is judged as what it is.
pub(super) fn is_denied(ip: IpAddr, deny: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    deny.iter().any(|net| net.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000_000);

    fn settings() -> Settings {
        Settings {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            ttl_min: Duration::from_secs(1),
            ttl_max: Duration::from_secs(3_600),
            stale_max: Duration::from_secs(600),
            allow: Vec::new(),
            deny_ips: ["169.254.0.0/16".parse().expect("a network"), "::/128".parse().expect("a network")].into(),
        }
    }

    fn addresses(ips: &[&str], ttl_seconds: u64) -> Answer {
        let ips = ips.iter().map(|ip| ip.parse().expect("an address")).collect();
        Answer::Addresses { ips, ttl: Duration::from_secs(ttl_seconds) }
    }

    fn at(seconds: u64) -> Instant {
        START + Duration::from_secs(seconds)
    }

    fn note(entry: &mut Entry, answer: Answer, seconds: u64) -> Option<usize> {
        entry.note(answer, &settings(), at(seconds), 0).map(|ips| ips.len())
    }

    #[test]
    fn an_answer_holds_for_its_ttl_within_the_bounds() {
        let mut entry = Entry::default();
        assert_eq!(note(&mut entry, addresses(&["192.0.2.1"], 30), 0), Some(1));
        assert_eq!(entry.due(&settings()), at(30));
        assert_eq!(note(&mut entry, addresses(&["192.0.2.1"], 0), 30), None);
        assert_eq!(entry.due(&settings()), at(31));
        note(&mut entry, addresses(&["192.0.2.1"], 1 << 30), 31);
        assert_eq!(entry.due(&settings()), at(31 + 3_600));
    }

    #[test]
    fn a_failure_keeps_the_last_answer_until_it_is_too_stale() {
        let mut entry = Entry::default();
        note(&mut entry, addresses(&["192.0.2.1"], 10), 0);
        assert_eq!(note(&mut entry, Answer::Failed(String::new()), 10), None);
        assert!(entry.is_stale(at(10)));
        assert_eq!(entry.due(&settings()), at(11));
        assert_eq!(note(&mut entry, Answer::Failed(String::new()), 11), None);
        assert_eq!(entry.due(&settings()), at(13));
        assert_eq!(note(&mut entry, Answer::Failed(String::new()), 609), None);
        assert_eq!(note(&mut entry, Answer::Failed(String::new()), 610), Some(0));
    }

    #[test]
    fn only_the_second_absence_in_a_row_empties() {
        let mut entry = Entry::default();
        note(&mut entry, addresses(&["192.0.2.1"], 10), 0);
        assert_eq!(note(&mut entry, Answer::Absent, 10), None);
        assert_eq!(note(&mut entry, Answer::Failed(String::new()), 11), None);
        assert_eq!(note(&mut entry, Answer::Absent, 12), None);
        assert_eq!(note(&mut entry, Answer::Absent, 13), Some(0));
        assert_eq!(note(&mut entry, addresses(&["192.0.2.1"], 10), 14), Some(1));
    }

    #[test]
    fn denied_addresses_are_withheld_in_either_spelling() {
        let mut entry = Entry::default();
        let answer = addresses(&["169.254.169.254", "::ffff:169.254.1.1", "::", "192.0.2.1"], 10);
        assert_eq!(note(&mut entry, answer, 0), Some(1));
        assert_eq!(entry.denied.len(), 3);
    }

    #[test]
    fn at_most_64_addresses_are_used_and_their_order_does_not_matter() {
        let many: Vec<String> = (0..100).map(|n| format!("192.0.2.{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let mut entry = Entry::default();
        assert_eq!(note(&mut entry, addresses(&many, 10), 0), Some(64));
        let rotated: Vec<&str> = many[50..].iter().chain(&many[..50]).copied().collect();
        assert_eq!(note(&mut entry, addresses(&rotated, 10), 10), None);
    }
}
