//! Nanoseconds per route lookup, for documents of 10 and of 10,000 routes: `cargo run --release --example route_bench`.

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use weir::config;
use weir::route::{Query, Table};

/// Lookups timed at once, and how often; the best counts, since noise only adds.
const LOOKUPS: usize = 1 << 16;
const ROUNDS: usize = 25;

type Requests = Vec<(String, String)>;

/// One exact host, one prefix each: a lookup meets a different route each time.
fn by_host(n: usize) -> (String, Requests) {
    let route = |i| format!("host = \"h{i}.example.com\"\npath_prefix = \"/\"\n");
    (document(n, route), (0..n).map(|i| (format!("h{i}.example.com"), "/index.html".to_owned())).collect())
}

/// One host with a prefix for each route.
fn by_path(n: usize) -> (String, Requests) {
    let route = |i| format!("host = \"a.test\"\npath_prefix = \"/api/v1/s{i}\"\n");
    (document(n, route), (0..n).map(|i| ("a.test".to_owned(), format!("/api/v1/s{i}/users/7"))).collect())
}

/// A wildcard each, a method predicate, and a broad route behind all.
fn by_wildcard(n: usize) -> (String, Requests) {
    let route = |i| match i {
        0 => "path_prefix = \"/\"\npriority = 999\n".to_owned(),
        _ => format!("host = \"*.h{i}.test\"\nmethod = [\"GET\"]\n"),
    };
    (document(n, route), (0..n).map(|i| (format!("a.b.h{i}.test"), "/x/y".to_owned())).collect())
}

fn document(n: usize, route: impl Fn(usize) -> String) -> String {
    let mut text = "[[listener]]\nname = \"w\"\nbind = \"127.0.0.1:0\"\n".to_owned();
    for i in 0..n {
        write!(text, "[[route]]\nlistener = \"w\"\n{}", route(i)).expect("a string takes everything");
    }
    text
}

/// Best time of one lookup, the requests in an order that no predictor knows.
fn time(table: &Table, requests: &Requests) -> f64 {
    let mut rng = fastrand::Rng::with_seed(1);
    let order: Vec<usize> = (0..LOOKUPS).map(|_| rng.usize(..requests.len())).collect();
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for at in &order {
            let (host, path) = &requests[*at];
            let query =
                Query { host, route_path: path.as_bytes(), method: b"GET", query: None, client: None, fields: &() };
            assert!(black_box(table.find(0, black_box(&query))).is_some());
        }
        best = best.min(start.elapsed());
    }
    best.as_nanos() as f64 / LOOKUPS as f64
}

fn main() {
    type Make = fn(usize) -> (String, Requests);
    let kinds: [(&str, Make); 3] = [("exact host", by_host), ("path prefix", by_path), ("wildcard host", by_wildcard)];
    println!("{:14} {:>10} {:>10} {:>10}", "ns per lookup", 10, 1_000, 10_000);
    for (name, make) in kinds {
        let times = [10, 1_000, 10_000].map(|n| {
            let (text, requests) = make(n);
            let (document, mut problems) = config::read(&text, "bench");
            let table = Table::build(&document.expect("the document is TOML"), &mut problems);
            assert!(!problems.is_fatal(), "{problems}");
            time(&table, &requests)
        });
        println!("{name:14} {:>10.0} {:>10.0} {:>10.0}", times[0], times[1], times[2]);
    }
}
