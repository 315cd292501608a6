//! Active health: what a probe asks, when the next one is due, and when results change an endpoint's state.

use std::collections::VecDeque;
use std::time::Duration;

use super::live::State;
use crate::base::Instant;
use crate::config::raw::Health;
use crate::config::value::{HealthKind, HealthMethod, HealthStart, StatusRange};

/// Flips of a target that are kept.
pub const FLIPS_MAX: usize = 100;

/// How a target's endpoints are probed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What passes.
    pub probe: Probe,
    /// The port probed, if not the endpoint's own.
    pub port: Option<u16>,
    /// From one probe to the next, before jitter.
    pub interval: Duration,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
    /// Passed probes in a row that make it healthy.
    pub healthy: u32,
    /// Failed probes in a row that make it unhealthy.
    pub unhealthy: u32,
    /// What it is before.
    pub start: State,
}

/// What a probe asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Probe {
    /// A connection is enough.
    Tcp,
    /// A request; redirects are not followed.
    Http {
        /// GET or HEAD.
        method: HealthMethod,
        /// Origin form.
        path: Box<str>,
        /// The Host; `None`: the target's authority.
        host: Option<Box<str>>,
        /// Statuses that pass.
        status: Vec<StatusRange>,
    },
    /// grpc.health.v1.
    Grpc {
        /// The service asked about; empty: the server as a whole.
        service: Box<str>,
        /// The `:authority`; `None`: the target's.
        host: Option<Box<str>>,
    },
}

impl From<&Health> for Check {
    fn from(raw: &Health) -> Self {
        let probe = match raw.kind {
            HealthKind::Tcp => Probe::Tcp,
            HealthKind::Grpc => Probe::Grpc {
                service: raw.service.as_deref().unwrap_or_default().into(),
                host: raw.host.as_deref().map(Into::into),
            },
            HealthKind::Http => Probe::Http {
                method: raw.method,
                path: raw.path.as_str().into(),
                host: raw.host.as_deref().map(Into::into),
                status: raw.status.clone(),
            },
        };
        let start = match raw.start {
            HealthStart::Unknown => State::Unknown,
            HealthStart::Unhealthy => State::Unhealthy,
        };
        Self {
            probe,
            port: raw.port,
            interval: raw.interval,
            timeout: raw.timeout,
            healthy: raw.healthy,
            unhealthy: raw.unhealthy,
            start,
        }
    }
}

impl Check {
    /// Whether a probe's status passes.
    pub fn passes(&self, status: u16) -> bool {
        match &self.probe {
            Probe::Tcp | Probe::Grpc { .. } => true,
            Probe::Http { status: ranges, .. } => ranges.iter().any(|range| range.contains(status)),
        }
    }

    /// Time to the next probe: the interval, up to 10 % more or less, by a number drawn at random. Endpoints of many
    /// nodes then do not get their probes all at once.
    pub fn pause(&self, random: u64) -> Duration {
        let tenth = self.interval / 10;
        self.interval - tenth + spread(tenth * 2, random)
    }

    /// Time to an endpoint's first probe: spread over a tenth of the interval, so that a start is not a burst.
    pub fn first_pause(&self, random: u64) -> Duration {
        spread(self.interval / 10, random)
    }
}

fn spread(over: Duration, random: u64) -> Duration {
    // The upper 32 bits as a fraction.
    over.mul_f64((random >> 32) as f64 / f64::from(u32::MAX))
}

/// One endpoint's results in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Streak {
    state: State,
    passed: u32,
    failed: u32,
}

impl Streak {
    /// Before the first result.
    pub fn new(state: State) -> Self {
        Self { state, passed: 0, failed: 0 }
    }

    /// What the results say so far.
    pub fn state(&self) -> State {
        self.state
    }

    /// Takes a result; `Some`: the state is another now.
    pub fn note(&mut self, passed: bool, check: &Check) -> Option<State> {
        (self.passed, self.failed) =
            if passed { (self.passed.saturating_add(1), 0) } else { (0, self.failed.saturating_add(1)) };
        let next = match passed {
            true if self.passed >= check.healthy => State::Healthy,
            false if self.failed >= check.unhealthy => State::Unhealthy,
            _ => return None,
        };
        (std::mem::replace(&mut self.state, next) != next).then_some(next)
    }
}

/// A change of an endpoint's state, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flip {
    /// When.
    pub at: Instant,
    /// The endpoint's address.
    pub address: Box<str>,
    /// From.
    pub from: State,
    /// To.
    pub to: State,
    /// The probe's last result in a word or two: `status 503`, `connect refused`, `timeout`, `passed`.
    pub cause: Box<str>,
}

/// A target's last flips, oldest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Flips(VecDeque<Flip>);

impl Flips {
    /// Keeps a flip, and drops the oldest beyond [`FLIPS_MAX`].
    pub fn push(&mut self, flip: Flip) {
        if self.0.len() == FLIPS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(flip);
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Flip> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(healthy: u32, unhealthy: u32) -> Check {
        Check {
            probe: Probe::Tcp,
            port: None,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            healthy,
            unhealthy,
            start: State::Unknown,
        }
    }

    #[test]
    fn state_agrees_with_a_look_at_the_whole_history() {
        let mut rng = fastrand::Rng::with_seed(20);
        for _ in 0..200 {
            let check = check(rng.u32(1..5), rng.u32(1..5));
            let start = [State::Unknown, State::Unhealthy][rng.usize(..2)];
            let (mut streak, mut history, mut oracle) = (Streak::new(start), Vec::new(), start);
            for _ in 0..200 {
                let passed = rng.bool();
                history.push(passed);
                let run = history.iter().rev().take_while(|&&result| result == passed).count() as u32;
                let next = match passed {
                    true if run >= check.healthy => State::Healthy,
                    false if run >= check.unhealthy => State::Unhealthy,
                    _ => oracle,
                };
                let flip = (next != oracle).then_some(next);
                oracle = next;
                assert_eq!(streak.note(passed, &check), flip);
                assert_eq!(streak.state(), oracle);
            }
        }
    }

    #[test]
    fn pauses_stay_within_a_tenth() {
        let (check, mut rng) = (check(1, 1), fastrand::Rng::with_seed(21));
        for random in (0..1_000).map(|_| rng.u64(..)).chain([0, u64::MAX]) {
            let pause = check.pause(random);
            assert!(pause >= Duration::from_secs(9) && pause <= Duration::from_secs(11), "{pause:?}");
            assert!(check.first_pause(random) <= Duration::from_secs(1));
        }
        assert_ne!(check.pause(0), check.pause(u64::MAX));
    }

    #[test]
    fn statuses_pass_by_range() {
        let ranges = |texts: &[(u16, u16)]| texts.iter().map(|&(low, high)| StatusRange { low, high }).collect();
        let probe = Probe::Http {
            method: HealthMethod::Get,
            path: "/".into(),
            host: None,
            status: ranges(&[(200, 399), (404, 404)]),
        };
        let check = Check { probe, ..check(1, 1) };
        for (status, passes) in [(199, false), (200, true), (399, true), (400, false), (404, true), (503, false)] {
            assert_eq!(check.passes(status), passes, "{status}");
        }
    }

    #[test]
    fn the_last_hundred_flips_are_kept() {
        let mut flips = Flips::default();
        for n in 0..150 {
            let (address, cause) = ("10.0.0.1:80".into(), "passed".into());
            flips.push(Flip { at: Instant::from_nanos(n), address, from: State::Unknown, to: State::Healthy, cause });
        }
        let kept: Vec<u64> = flips.iter().map(|flip| flip.at.nanos()).collect();
        assert_eq!((kept.len(), kept[0], kept[99]), (100, 50, 149));
    }
}
