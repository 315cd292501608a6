//! Samples of dropped packets: read as they come, handed on to whoever makes findings of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use weir_common::abi::Plain;
use weir_common::abi::drop::{Action, Cause, Sample};

use super::deny::RuleName;
use super::rules::Rules;

/// Samples that may wait to be made findings of.
const SAMPLES_MAX: usize = 8192;

/// A packet that was dropped, or would have been.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EarlyDrop {
    /// Where it came from.
    pub source: SocketAddr,
    /// Where it went to.
    pub destination: SocketAddr,
    /// Why.
    pub cause: Cause,
    /// What became of it.
    pub action: Action,
    /// The rule or ban behind it, if one is.
    pub rule: Option<RuleName>,
}

/// The way of samples out of the kernel half.
#[derive(Clone)]
pub struct Samples {
    out: mpsc::Sender<EarlyDrop>,
    lost: Arc<AtomicU64>,
}

impl Samples {
    /// Makes the way, and its end.
    pub fn channel() -> (Self, mpsc::Receiver<EarlyDrop>) {
        let (out, samples) = mpsc::channel(SAMPLES_MAX);
        (Self { out, lost: Arc::default() }, samples)
    }

    /// Samples that found no room on the way.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Reads a ring until its task is aborted.
    pub(super) async fn read(self, ring: RingBuf<MapData>, rules: Arc<Rules>) {
        #[expect(unsafe_code, reason = "the runtime cannot see that the ring keeps its descriptor")]
        // SAFETY: the ring owns its descriptor, gives the same one each time, and lives as long as the registration.
        let registered = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        let Ok(mut ring) = registered else { return };
        loop {
            match ring.readable().await {
                Ok(mut guard) => guard.clear_ready(),
                Err(_) => return,
            }
            while let Some(record) = ring.get_mut().next() {
                if let Some(sample) = Sample::from_slice(&record).and_then(|sample| decode(&sample, &rules)) {
                    self.hand_on(sample);
                }
            }
        }
    }

    fn hand_on(&self, sample: EarlyDrop) {
        if self.out.try_send(sample).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn decode(sample: &Sample, rules: &Rules) -> Option<EarlyDrop> {
    Some(EarlyDrop {
        source: SocketAddr::new(sample.src.into(), sample.sport),
        destination: SocketAddr::new(sample.dst.into(), sample.dport),
        cause: Cause::of(sample.cause)?,
        action: Action::of(sample.action)?,
        rule: rules.name(sample.rule),
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn sample_is_told_with_its_rules_name() {
        let rules = Rules::default();
        let login = RuleName { table: "rate_limit", name: "login".into() };
        let number = rules.number(&login);
        let address = |last| IpAddr::from([192, 0, 2, last]).into();
        let sample = Sample {
            ts: 5,
            src: address(1),
            dst: address(2),
            sport: 4000,
            dport: 80,
            rule: number,
            ifindex: 3,
            len: 60,
            cause: Cause::Ban as u8,
            action: Action::WouldDrop as u8,
            ..Sample::default()
        };
        let drop = decode(&sample, &rules).expect("known");
        assert_eq!(
            (drop.source, drop.destination),
            ("192.0.2.1:4000".parse().unwrap(), "192.0.2.2:80".parse().unwrap())
        );
        assert_eq!((drop.cause, drop.action, drop.rule), (Cause::Ban, Action::WouldDrop, Some(login)));
        assert_eq!(decode(&Sample { cause: 99, ..sample }, &rules), None);
        assert_eq!(decode(&Sample { rule: 0, ..sample }, &rules).and_then(|drop| drop.rule), None);
    }
}
