//! weir itself under floods of SYNs, with the kernel's limits and without: how a returning client fares. Run alone and
//! with `--nocapture` it reports the figures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use weir_tests::netns::edge::{ask, group, kernel};
use weir_tests::netns::flood::Running;
use weir_tests::netns::pair::WIRE;
use weir_tests::netns::{Edge, Flood, Pair, Sources};
use weir_tests::{Client, Origin, Weir, wait};

/// What an operator under attack would arm.
const ON: &str = "[kernel]\nmode = \"enforce\"\n[kernel.syn]\nrate = 100\ntotal = 500\n";
const OFF: &str = "[kernel]\nmode = \"off\"\n";

/// SYNs per second: what one core's wire carries with room to spare. Past it the wire itself loses the client's packets,
/// which no program at its end can mend, and the same in both runs, so that they compare.
const RATE: u64 = 100_000;

/// Requests of the client, each on a connection of its own.
const REQUESTS: usize = 100;

/// How long requests took that were answered, shortest first.
fn fares(edge: &Edge, weir: &Weir) -> Vec<Duration> {
    let one = || {
        let start = Instant::now();
        let stream = edge.connect(Pair::CLIENT, weir.web(), Duration::from_secs(3)).ok()?;
        let mut client = Client::of(stream);
        ask(&mut client, "/", &[]).ok().filter(|response| response.status == 200).map(|_| start.elapsed())
    };
    let mut times: Vec<_> = (0..REQUESTS).filter_map(|_| one()).collect();
    times.sort();
    times
}

fn p99(times: &[Duration]) -> Duration {
    times.get(times.len() * 99 / 100).copied().unwrap_or(Duration::MAX)
}

fn flood(edge: &Edge, weir: &Weir, sources: Sources) -> Running {
    let SocketAddr::V4(target) = weir.web() else { panic!("an IPv4 address") };
    let flood = Flood { target, sources, packets_max: 50_000_000, time_max: Duration::from_secs(60), rate: RATE };
    flood.start(&edge.pair.client, WIRE)
}

fn dropped(weir: &Weir) -> u64 {
    let kernel = kernel(weir);
    let rows = kernel["packets"].as_array().cloned().unwrap_or_default();
    rows.iter().filter(|row| row["action"] == "drop").filter_map(|row| row["packets"].as_u64()).sum()
}

/// The client's times under a flood, once the kernel knows the client and the flood runs.
fn under(tables: &str, sources: Sources) -> Vec<Duration> {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let weir = edge.config(&origin.url()).tables(tables).start();
    let on = tables == ON;
    if on {
        wait::until("the program is at the wire", || group(&weir, "drop")["state"] == "attached");
    }
    assert_eq!(edge.get(Pair::CLIENT, &weir, "/", &[]).status, 200, "seen before the flood");
    let flood = flood(&edge, &weir, sources);
    if on {
        wait::until("the flood is being dropped", || dropped(&weir) > 1000);
    }
    let times = fares(&edge, &weir);
    let flooded = flood.stop();
    println!(
        "{sources:?}, limits {}: {:.0} SYNs/s; {} of {REQUESTS} answered, p50 {:?}, p99 {:?}",
        if on { "on" } else { "off" },
        flooded.packets as f64 / flooded.time.as_secs_f64(),
        times.len(),
        times.get(times.len() / 2).copied().unwrap_or(Duration::MAX),
        p99(&times),
    );
    times
}

/// With limits the client is served, and in bounded time. Without them its fate is reported and not judged: it is the
/// kernel's own.
fn bounded(sources: Sources) {
    under(OFF, sources);
    let times = under(ON, sources);
    assert!(times.len() * 100 >= REQUESTS * 99, "{} of {REQUESTS} answered", times.len());
    assert!(p99(&times) < Duration::from_millis(500), "{:?}", p99(&times));
}

#[test]
fn a_returning_client_is_served_in_bounded_time_under_a_flood_of_one_source() {
    bounded(Sources::One([11, 0, 0, 1].into()));
}

#[test]
fn a_returning_client_is_served_in_bounded_time_under_a_flood_of_a_hundred_sources() {
    bounded(Sources::Many(100));
}

#[test]
fn a_returning_client_is_served_in_bounded_time_under_a_flood_of_a_hundred_thousand_sources() {
    bounded(Sources::Many(100_000));
}
