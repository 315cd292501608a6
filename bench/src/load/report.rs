//! What a load has met: counts that add up, latencies in a histogram, text and JSON of both.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::connection::Received;
use crate::stream::Unopened;

/// Why a request has no response.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Failure {
    Connect,
    Handshake,
    Write,
    Read,
    Reset,
    /// EOF within, or before, a response.
    Closed,
    Malformed,
}

impl Failure {
    fn token(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Write => "write",
            Self::Read => "read",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Malformed => "malformed",
        }
    }
}

impl From<Unopened> for Failure {
    fn from(unopened: Unopened) -> Self {
        match unopened {
            Unopened::Connect => Self::Connect,
            Unopened::Handshake => Self::Handshake,
        }
    }
}

/// Counts of one executor, or of all.
pub(crate) struct Tally {
    pub(crate) elapsed: Duration,
    /// Still under way when time was up: neither good nor bad.
    pub(crate) unfinished: u64,
    /// Of an asked count, those that time did not suffice for.
    pub(crate) timeouts: u64,
    responses: u64,
    octets: u64,
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<Failure, u64>,
    latency_ns: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            elapsed: Duration::ZERO,
            unfinished: 0,
            timeouts: 0,
            responses: 0,
            octets: 0,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            // 1 us to 10 min, three digits.
            latency_ns: Histogram::new_with_bounds(1000, 600_000_000_000, 3).expect("the bounds are valid"),
        }
    }
}

impl Tally {
    pub(super) fn response(&mut self, received: &Received, latency: Duration) {
        self.responses += 1;
        self.octets += received.octets;
        *self.statuses.entry(received.status).or_default() += 1;
        self.latency_ns.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn failure(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    /// Requests that have ended, well or badly.
    pub(super) fn finished(&self) -> u64 {
        self.responses + self.failures.values().sum::<u64>()
    }

    /// Requests without a 2xx or 3xx.
    pub(super) fn errors(&self) -> u64 {
        let bad: u64 = self.statuses.iter().filter(|(status, _)| **status >= 400).map(|(_, n)| n).sum();
        bad + self.failures.values().sum::<u64>() + self.timeouts
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.elapsed = self.elapsed.max(other.elapsed);
        self.unfinished += other.unfinished;
        self.timeouts += other.timeouts;
        self.responses += other.responses;
        self.octets += other.octets;
        for (status, n) in &other.statuses {
            *self.statuses.entry(*status).or_default() += n;
        }
        for (failure, n) in &other.failures {
            *self.failures.entry(*failure).or_default() += n;
        }
        self.latency_ns.add(&other.latency_ns).expect("all histograms have the same bounds");
    }

    fn rate(&self) -> f64 {
        self.responses as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn quantile_us(&self, quantile: f64) -> f64 {
        self.latency_ns.value_at_quantile(quantile) as f64 / 1000.0
    }

    pub(super) fn json(&self) -> Value {
        let statuses: BTreeMap<_, _> = self.statuses.iter().map(|(s, n)| (s.to_string(), *n)).collect();
        let failures: BTreeMap<_, _> = self.failures.iter().map(|(f, n)| (f.token(), *n)).collect();
        json!({
            "responses": self.responses,
            "errors": self.errors(),
            "unfinished": self.unfinished,
            "timeouts": self.timeouts,
            "statuses": statuses,
            "failures": failures,
            "octets": self.octets,
            "seconds": self.elapsed.as_secs_f64(),
            "per_second": self.rate(),
            "latency_us": {
                "mean": self.latency_ns.mean() / 1000.0,
                "p50": self.quantile_us(0.5),
                "p90": self.quantile_us(0.9),
                "p99": self.quantile_us(0.99),
                "p999": self.quantile_us(0.999),
                "max": self.latency_ns.max() as f64 / 1000.0,
            },
        })
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let seconds = self.elapsed.as_secs_f64();
        let _ = writeln!(text, "{} responses in {seconds:.2} s, {:.0} per second", self.responses, self.rate());
        let mib = self.octets as f64 / f64::from(1 << 20);
        let _ = writeln!(text, "{mib:.1} MiB, {:.1} MiB per second", mib / seconds.max(1e-9));
        let quantile = |q| self.quantile_us(q);
        let (p50, p99, p999) = (quantile(0.5), quantile(0.99), quantile(0.999));
        let _ = writeln!(text, "latency: p50 {p50:.0} us, p99 {p99:.0} us, p99.9 {p999:.0} us");
        for (status, n) in &self.statuses {
            let _ = writeln!(text, "status {status}: {n}");
        }
        for (failure, n) in &self.failures {
            let _ = writeln!(text, "failure {}: {n}", failure.token());
        }
        let _ =
            writeln!(text, "{} errors, {} out of time, {} unfinished", self.errors(), self.timeouts, self.unfinished);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let mut one = Tally::default();
        one.response(&Received { status: 200, octets: 10 }, Duration::from_micros(100));
        one.response(&Received { status: 503, octets: 10 }, Duration::from_micros(300));
        let mut two = Tally { timeouts: 1, ..Tally::default() };
        two.failure(Failure::Reset);
        two.add(&one);
        let json = two.json();
        assert_eq!((json["responses"].as_u64(), json["errors"].as_u64()), (Some(2), Some(3)));
        assert_eq!(json["statuses"]["503"], 1);
        assert_eq!(json["failures"]["reset"], 1);
        assert!((90.0..110.0).contains(&json["latency_us"]["p50"].as_f64().expect("a number")));
    }
}
