//! Floods as fast as this machine makes them.

#[path = "heavy/requests.rs"]
mod requests;
#[path = "heavy/weir.rs"]
mod weir;

use std::net::IpAddr;
use std::time::Duration;

use weir_tests::netns::{Pair, Sources};
use weir_tests::wait;

use crate::guard::Guard;
use crate::{ARMED, MODES};

/// How a client fares: of so many connections with one exchange each, those that succeeded, and the slowest but one in
/// a hundred of all.
fn fares(guard: &Guard, from: IpAddr, port: u16, connections: usize) -> (usize, Duration) {
    let mut times: Vec<_> = (0..connections).filter_map(|_| guard.exchange(from, port).ok()).collect();
    times.sort();
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or(Duration::MAX);
    (times.len(), p99)
}

/// Floods the guarded port while clients of all kinds connect.
fn survives(sources: Sources) {
    for mode in MODES {
        let guard = Guard::new(mode, ARMED);
        let [known, allowed, other] = [0, 1, 2].map(Pair::client_address);
        guard.know(known);
        guard.allow(allowed);
        let flood = guard.flood(sources);
        wait::until("the flood is being dropped", || guard.dropped() > 1000);
        let (known, p99) = fares(&guard, known, guard.web, 50);
        assert!(known >= 49, "{mode:?} {sources:?}: {known} of 50 exchanges of a known client");
        assert_eq!(fares(&guard, allowed, guard.web, 50).0, 50, "{mode:?} {sources:?}: the allowed client");
        assert_eq!(fares(&guard, other, guard.ssh, 20).0, 20, "{mode:?} {sources:?}: another port");
        let flooded = flood.stop();
        let rate = flooded.packets as f64 / flooded.time.as_secs_f64();
        println!("{mode:?} {sources:?}: {rate:.0} SYNs/s, p99 of a known client {p99:?}");
        let dropped = guard.dropped();
        // What passes is within the limits, whoever sends: the burst at first, then the rate.
        let most = (flooded.time.as_secs_f64() + 1.0) * 500.0 + 200.0;
        assert!(flooded.packets - dropped.min(flooded.packets) <= most as u64, "{flooded:?}, {dropped} dropped");
    }
}

#[test]
fn known_clients_and_others_ports_survive_a_flood_of_one_source() {
    survives(Sources::One([11, 0, 0, 1].into()));
}

#[test]
fn known_clients_and_others_ports_survive_a_flood_of_a_thousand_sources() {
    survives(Sources::Many(1000));
}

#[test]
fn known_clients_and_others_ports_survive_a_flood_of_a_hundred_thousand_sources() {
    survives(Sources::Many(100_000));
}

#[test]
fn known_clients_and_others_ports_survive_a_spoofed_flood() {
    survives(Sources::Spoofed);
}
