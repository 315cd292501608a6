//! Who has talked to the management API of late: an operator must not be shut out by what an operator does.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::Instant;

/// How long a client counts as one of late.
const RECENT: Duration = Duration::from_secs(3600);
/// Addresses that are remembered; of more, those that were silent longest are forgotten.
const CLIENTS_MAX: usize = 1024;

/// Addresses, and when they last connected.
#[derive(Default)]
pub(super) struct Clients(Mutex<HashMap<IpAddr, Instant>>);

impl Clients {
    /// An address has connected.
    pub(super) fn note(&self, address: IpAddr, now: Instant) {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.insert(address.to_canonical(), now);
        while clients.len() > CLIENTS_MAX {
            let Some(oldest) = clients.iter().min_by_key(|(_, last)| **last).map(|(address, _)| *address) else {
                return;
            };
            clients.remove(&oldest);
        }
    }

    /// Those that have connected within the hour.
    pub(super) fn recent(&self, now: Instant) -> Vec<IpAddr> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|_, last| now.since(*last) < RECENT);
        clients.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn clients_count_for_an_hour() {
        let clients = Clients::default();
        let [a, b] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        clients.note(a, at(0));
        clients.note(b, at(10));
        clients.note(a, at(20));
        assert_eq!(clients.recent(at(3611)), [a]);
        assert!(clients.recent(at(3620)).is_empty());
    }

    #[test]
    fn the_longest_silent_is_forgotten_first() {
        let clients = Clients::default();
        for n in 0..=1024_u32 {
            clients.note(IpAddr::V4(n.into()), at(u64::from(n)));
        }
        let kept = clients.recent(at(1024));
        assert_eq!((kept.len(), kept.contains(&IpAddr::V4(0.into()))), (1024, false));
    }
}
