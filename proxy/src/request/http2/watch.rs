//! What must happen on a connection, and by when: no clock, no I/O.

use std::time::Duration;

use crate::base::Instant;
use crate::wire::Wire;

/// How long a client that was told goodbye may take to say it too, once nothing is under way.
const GRACE: Duration = Duration::from_secs(1);
/// A connection that moves so many octets in a period is alive.
const MOVED_MIN: u64 = 16 * 1024;

/// What is awaited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// The next request.
    Request,
    /// The rest of a request's head.
    Head,
    /// That what was sent leaves.
    Progress,
    /// The client's end of it.
    Goodbye,
}

/// How a connection stands. Durations of zero are no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) now: Instant,
    pub(super) head: Duration,
    pub(super) keepalive: Duration,
    pub(super) send: Duration,
    pub(super) requests: u32,
    pub(super) idle_since: Option<Instant>,
    pub(super) head_since: Option<Instant>,
    pub(super) unsent: bool,
}

/// A connection's deadlines.
pub(super) struct Watch {
    /// Since when it takes no more requests.
    going: Option<Instant>,
    /// When progress is looked at, and where it stood.
    progress: Option<(Instant, u64)>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { going: None, progress: None }
    }

    /// It takes no more requests.
    pub(super) fn going(&mut self, now: Instant) {
        self.going.get_or_insert(now);
    }

    /// What is due next, and when.
    pub(super) fn due(&mut self, facts: &Facts) -> Option<(Instant, Due)> {
        self.progress = match facts.unsent && !facts.send.is_zero() {
            true => Some(self.progress.unwrap_or((facts.now + facts.send, 0))),
            false => None,
        };
        let head = self.end_of_head(facts);
        let progress = self.progress.map(|(at, _)| (at, Due::Progress));
        let next = [self.end_of_silence(facts), head, progress];
        next.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The first head's clock began with the connection (http.md section 5).
    fn end_of_head(&self, facts: &Facts) -> Option<(Instant, Due)> {
        let since = facts.head_since.filter(|_| !facts.head.is_zero())?;
        let began = facts.idle_since.filter(|_| facts.requests == 0);
        Some((since.earliest(began) + facts.head, Due::Head))
    }

    fn end_of_silence(&self, facts: &Facts) -> Option<(Instant, Due)> {
        // Who is within a head is not silent: that has a clock of its own.
        let since = facts.idle_since.filter(|_| facts.head_since.is_none() || facts.head.is_zero())?;
        if let Some(going) = self.going {
            return Some((going.max(since) + GRACE, Due::Goodbye));
        }
        // As with HTTP/1, the first request has no more time than a head.
        let head = Some(facts.head).filter(|limit| facts.requests == 0 && !limit.is_zero());
        let keepalive = Some(facts.keepalive).filter(|limit| !limit.is_zero());
        let limit = head.into_iter().chain(keepalive).min()?;
        // A head that has begun is what is awaited.
        Some((since + limit, if facts.head_since.is_some() { Due::Head } else { Due::Request }))
    }

    /// Whether enough has left since this was last asked. The first period only sets the mark.
    pub(super) fn moves(&mut self, wire: &Wire, facts: &Facts) -> bool {
        let Some((_, before)) = self.progress else { return true };
        let now = wire.acknowledged().unwrap_or_else(|| wire.sent());
        self.progress = Some((facts.now + facts.send, now));
        now.saturating_sub(before) >= MOVED_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn facts() -> Facts {
        Facts {
            now: at(100),
            head: Duration::from_secs(10),
            keepalive: Duration::from_secs(60),
            send: Duration::from_secs(30),
            requests: 1,
            idle_since: None,
            head_since: None,
            unsent: false,
        }
    }

    #[test]
    fn nothing_is_due_while_requests_are_under_way() {
        assert_eq!(Watch::new().due(&facts()), None);
    }

    #[test]
    fn silence_ends_by_how_much_was_asked_before() {
        let idle = Facts { idle_since: Some(at(90)), ..facts() };
        assert_eq!(Watch::new().due(&idle), Some((at(150), Due::Request)));
        assert_eq!(Watch::new().due(&Facts { requests: 0, ..idle }), Some((at(100), Due::Request)));
        let begun = Facts { requests: 0, head_since: Some(at(91)), ..idle };
        assert_eq!(Watch::new().due(&begun), Some((at(100), Due::Head)), "no more time for having begun");
        let hasty = Facts { requests: 0, keepalive: Duration::from_secs(2), ..idle };
        assert_eq!(Watch::new().due(&hasty), Some((at(92), Due::Request)));
        assert_eq!(Watch::new().due(&Facts { keepalive: Duration::ZERO, ..idle }), None);
    }

    #[test]
    fn who_was_told_goodbye_has_a_moment_after_its_last_request() {
        let mut watch = Watch::new();
        watch.going(at(95));
        watch.going(at(99));
        assert_eq!(watch.due(&facts()), None);
        assert_eq!(watch.due(&Facts { idle_since: Some(at(90)), ..facts() }), Some((at(96), Due::Goodbye)));
        assert_eq!(watch.due(&Facts { idle_since: Some(at(98)), ..facts() }), Some((at(99), Due::Goodbye)));
    }

    #[test]
    fn who_is_within_a_head_is_not_silent() {
        let within = Facts { idle_since: Some(at(90)), head_since: Some(at(99)), ..facts() };
        assert_eq!(Watch::new().due(&within), Some((at(109), Due::Head)));
        assert_eq!(Watch::new().due(&Facts { requests: 0, ..within }), Some((at(100), Due::Head)));
        let mut watch = Watch::new();
        watch.going(at(95));
        assert_eq!(watch.due(&within), Some((at(109), Due::Head)));
    }

    #[test]
    fn the_earliest_comes_first() {
        let both = Facts { idle_since: Some(at(99)), head_since: Some(at(95)), unsent: true, ..facts() };
        assert_eq!(Watch::new().due(&both), Some((at(105), Due::Head)));
        let mut watch = Watch::new();
        let unsent = Facts { unsent: true, ..facts() };
        assert_eq!(watch.due(&unsent), Some((at(130), Due::Progress)));
        assert_eq!(watch.due(&Facts { now: at(110), ..unsent }), Some((at(130), Due::Progress)), "it stays");
        assert_eq!(watch.due(&Facts { unsent: false, ..unsent }), None);
        assert_eq!(watch.due(&Facts { now: at(120), ..unsent }), Some((at(150), Due::Progress)), "it begins anew");
    }
}
