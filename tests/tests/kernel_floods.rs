//! The XDP program on a wire under floods, native and generic: whom it drops, and whom never.

#[path = "kernel_floods/guard.rs"]
mod guard;
#[path = "kernel_floods/heavy.rs"]
mod heavy;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use aya::programs::XdpMode;
use guard::Guard;
use weir_common::abi::drop::{Cause, Conf, Limit, arm};
use weir_tests::netns::Pair;
use weir_tests::wait;

const MODES: [XdpMode; 2] = [XdpMode::Driver, XdpMode::Skb];

/// So many SYNs a second, and as many at once.
const fn rate(per_second: u64) -> Limit {
    let t = 1_000_000_000 / per_second;
    Limit { t, tolerance: (per_second - 1) * t }
}

/// What an operator under attack would arm: sources, their neighbours, and everybody unknown together.
const ARMED: Conf = Conf {
    armed: arm::SOURCE | arm::PARENT | arm::TOTAL | arm::ALLOW4 | arm::DENY,
    dry_run: 0,
    source: rate(100),
    parent: rate(1600),
    total: rate(500),
    seeds: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210],
    ..Conf::IDLE
};

#[test]
fn a_dry_run_counts_as_many_and_drops_none() {
    for mode in MODES {
        let guard = Guard::new(mode, Conf { dry_run: 1, ..ARMED });
        guard.deny(Pair::CLIENT, u64::MAX);
        assert!(guard.exchange(Pair::CLIENT, guard.web).is_ok());
        assert!(guard.would_drop(Cause::Deny) > 0);
        assert_eq!(guard.dropped(), 0);
    }
}

#[test]
fn a_denied_source_reaches_other_ports_and_nothing_else_until_its_time_ends() {
    for mode in MODES {
        let guard = Guard::new(mode, ARMED);
        let expires = guard::now() + 1_500_000_000;
        guard.deny(Pair::CLIENT, expires);
        assert!(guard.exchange(Pair::CLIENT, guard.ssh).is_ok());
        assert!(guard.exchange(Pair::client_address(1), guard.web).is_ok(), "somebody else");
        // The SYN is said again after a second, and that comes too early as well.
        assert!(guard.connect(Pair::CLIENT, guard.web, Duration::from_millis(1200)).is_err());
        assert!(guard.drops(Cause::Deny) >= 2);
        // The program's clock goes in steps of some milliseconds.
        wait::until("it ends by itself", || guard::now() > expires + 20_000_000);
        assert!(guard.exchange(Pair::CLIENT, guard.web).is_ok());
    }
}

#[test]
fn a_connection_that_was_open_is_cut_off_too() {
    let guard = Guard::new(XdpMode::Driver, ARMED);
    let stream: TcpStream = guard.connect(Pair::CLIENT, guard.web, wait::SOON).unwrap();
    assert!(guard.talk(&stream).is_ok());
    guard.deny(Pair::CLIENT, u64::MAX);
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(guard.talk(&stream).is_err());
}

#[test]
fn large_frames_pass_whole() {
    for mode in MODES {
        let guard = Guard::with_mtu(mode, ARMED, 9000);
        let start = Instant::now();
        assert_eq!(guard.upload(Pair::CLIENT, 5_000_000).unwrap(), 5_000_000, "{mode:?}");
        assert!(start.elapsed() < wait::SOON);
    }
}
