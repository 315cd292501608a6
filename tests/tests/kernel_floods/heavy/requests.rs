//! weir under floods of requests, from one machine and from a hundred: 429 alone, and 429 with the kernel behind it. Run
//! alone and with `--nocapture` it reports the figures.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use weir_tests::netns::edge::{ask, denied, group};
use weir_tests::netns::pair::WIRE;
use weir_tests::netns::{Edge, Pair};
use weir_tests::{Client, Origin, Weir, wait};

/// Ten requests a second, and dropped by the kernel after a hundred denials.
const RULE: &str = "[[rate_limit]]\nname = \"ten\"\nlimit = 600\nwindow = \"60s\"\nburst = 20\n\
                    kernel = { after = 100, within = \"1m\", ttl = \"5m\" }\n";
/// Requests of the client: slower than its limit.
const REQUESTS: usize = 15;
/// Threads that flood, each from every so-manieth source in turn.
const THREADS: usize = 4;
/// Requests that are sent without waiting for answers.
const AT_ONCE: usize = 50;
/// How often that is done before the next source has its turn.
const BURSTS: usize = 20;

/// 10.77.1.1 and on.
fn source(n: usize) -> IpAddr {
    IpAddr::from([10, 77, 1 + (n / 250) as u8, 1 + (n % 250) as u8])
}

/// Sends requests from sources in turn until told to stop.
fn flood(edge: &Edge, to: SocketAddr, sources: &[IpAddr], stop: &AtomicBool, answered: &AtomicU64) {
    let burst = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(AT_ONCE);
    for from in sources.iter().cycle() {
        if stop.load(Relaxed) {
            return;
        }
        // Who is dropped is left soon: the others go on.
        let Ok(mut stream) = edge.connect(*from, to, Duration::from_millis(20)) else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
        let mut answers = [0; 64 << 10];
        for _ in 0..BURSTS {
            if stop.load(Relaxed) || stream.write_all(&burst).is_err() {
                break;
            }
            let Ok(octets @ 1..) = stream.read(&mut answers) else { break };
            let heads = answers[..octets].windows(9).filter(|octets| octets == b"HTTP/1.1 ").count();
            answered.fetch_add(heads as u64, Relaxed);
        }
    }
}

/// The client's times, shortest first, and how many answers the flood got in a second.
fn under(mode: &str, sources: usize) -> (Vec<Duration>, f64) {
    let edge = Edge::new();
    let origin = Origin::ok("hello");
    let addresses = |n| format!("address add {}/16 dev {WIRE}\n", source(n));
    edge.pair.client.ip(&(0..sources).map(addresses).collect::<String>());
    edge.pair.server.ip(&format!("route add 10.77.0.0/16 dev {WIRE}"));
    let tables = format!("{RULE}[kernel]\nmode = \"{mode}\"\n");
    let weir = edge.config(&origin.url()).tables(&tables).start();
    let on = mode == "enforce";
    wait::until("the program is at the wire", || !on || group(&weir, "drop")["state"] == "attached");
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let all: Vec<_> = (0..sources).map(source).collect();
    std::thread::scope(|scope| {
        for share in all.chunks(sources.div_ceil(THREADS)) {
            scope.spawn(|| flood(&edge, weir.web(), share, &stop, &answered));
        }
        let settled = || !on || denied(&weir).len() == sources;
        let settled = wait::holds_within(Duration::from_secs(20), settled);
        let before = (answered.load(Relaxed), Instant::now());
        let times = if settled { fares(&edge, &weir) } else { Vec::new() };
        let rate = (answered.load(Relaxed) - before.0) as f64 / before.1.elapsed().as_secs_f64();
        stop.store(true, Relaxed);
        assert!(settled, "{} of {sources} sources are denied", denied(&weir).len());
        (times, rate)
    })
}

fn fares(edge: &Edge, weir: &Weir) -> Vec<Duration> {
    let mut times: Vec<_> = (0..REQUESTS)
        .filter_map(|_| {
            let start = Instant::now();
            let mut client = Client::of(edge.connect(Pair::CLIENT, weir.web(), Duration::from_secs(3)).ok()?);
            ask(&mut client, "/", &[]).ok().filter(|response| response.status == 200).map(|_| start.elapsed())
        })
        .collect();
    times.sort();
    times
}

fn compare(sources: usize) {
    for mode in ["off", "enforce"] {
        let (times, rate) = under(mode, sources);
        let worst = times.last().copied().unwrap_or(Duration::MAX);
        let median = times.get(times.len() / 2).copied().unwrap_or(Duration::MAX);
        println!(
            "{sources} sources, kernel {mode}: flood gets {rate:.0} answers/s; {} of {REQUESTS} of the client's answered, \
             p50 {median:?}, slowest {worst:?}",
            times.len()
        );
        if mode == "enforce" {
            assert_eq!(times.len(), REQUESTS);
            assert!(rate < 50.0, "the flood still gets {rate:.0} answers a second");
            assert!(worst < Duration::from_millis(500), "{worst:?}");
        }
    }
}

#[test]
fn a_flood_of_requests_from_one_machine_ends_in_the_kernel() {
    compare(1);
}

#[test]
fn a_flood_of_requests_from_a_hundred_machines_ends_in_the_kernel() {
    compare(100);
}
