//! The line before an endpoint at its limit: in order, bounded in length and time, and no freed slot is lost.

use std::sync::{Arc, Mutex};

use weir_tests::exchange::bytes;
use weir_tests::origin::ok;
use weir_tests::{Client, Config, Gate, Origin, Weir, wait};

/// An origin that answers each request once its gate is open.
struct Held {
    origin: Origin,
    gates: Arc<Mutex<Vec<(String, Gate)>>>,
}

impl Held {
    fn new() -> Self {
        let gates = Arc::new(Mutex::new(Vec::new()));
        let open = gates.clone();
        let origin = Origin::scripted(move |mut conn, _| {
            while let Some(request) = conn.request() {
                let gate = Gate::new();
                open.lock().expect("gates").push((request.target.clone(), gate.clone()));
                gate.pass();
                if !conn.send(ok(&request.target)) {
                    return;
                }
            }
        });
        Self { origin, gates }
    }

    fn let_go(&self, target: &str) {
        let gates = self.gates.clone();
        let gate = wait::value(&format!("{target} at the origin"), || {
            gates.lock().expect("gates").iter().find(|(name, _)| name == target).map(|(_, gate)| gate.clone())
        });
        gate.open();
    }

    /// What has reached the origin, in order.
    fn seen(&self) -> Vec<String> {
        self.gates.lock().expect("gates").iter().map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gates.lock().expect("gates").iter().for_each(|(_, gate)| gate.open());
    }
}

/// weir with one slot at the origin, and these limits.
fn narrow(held: &Held, limits: &str) -> Weir {
    let limits = format!("[route.limits]\ninflight_max = 1\n{limits}");
    Config::forwarding(held.origin.url()).with(&limits).start()
}

fn waiting(weir: &Weir) -> f64 {
    weir.metrics().sum("weir_limit_hits_total", &["limit=\"endpoint_requests\""])
}

/// Sends a request, and waits until it stands in line as the `n`th that ever did.
fn line_up(weir: &Weir, target: &str, n: usize) -> Client {
    let client = weir.client();
    client.write(bytes("GET", target, &[], b""));
    wait::until(&format!("{target} stands in line"), || waiting(weir) >= n as f64);
    client
}

#[test]
fn requests_wait_in_order_for_a_slot() {
    let held = Held::new();
    let weir = narrow(&held, "queue_timeout = \"60s\"");
    let mut first = weir.client();
    first.write(bytes("GET", "/0", &[], b""));
    wait::until("the slot is taken", || held.seen() == ["/0"]);
    let mut others: Vec<_> = (1..5).map(|n| line_up(&weir, &format!("/{n}"), n)).collect();
    assert_eq!(held.seen(), ["/0"], "one at a time");
    held.let_go("/0");
    assert_eq!(first.response().text(), "/0");
    for (n, client) in others.iter_mut().enumerate() {
        let target = format!("/{}", n + 1);
        held.let_go(&target);
        assert_eq!(client.response().text(), target);
        assert!(held.seen().len() <= n + 3, "more than one in flight: {:?}", held.seen());
    }
    assert_eq!(held.seen(), ["/0", "/1", "/2", "/3", "/4"]);
    let line = weir.wait_log("a request that waited", |line| line["path"] == "/4");
    assert_eq!((&line["status"], &line["attempts"]), (&200.into(), &1.into()), "{line}");
}

#[test]
fn a_full_line_is_503_at_once() {
    let held = Held::new();
    let weir = narrow(&held, "queue_max = 1\nqueue_timeout = \"60s\"");
    let mut first = weir.client();
    first.write(bytes("GET", "/first", &[], b""));
    wait::until("the slot is taken", || held.seen().len() == 1);
    let mut second = line_up(&weir, "/second", 1);
    let response = weir.get("/third");
    assert_eq!((response.status, response.fields.first("retry-after")), (503, Some("1")));
    assert!(response.text().contains("upstream_queue_full"), "{}", response.text());
    weir.wait_reason("upstream_queue_full", 1);
    assert!(weir.metrics().sum("weir_limit_hits_total", &["limit=\"queue_max\""]) >= 1.0);
    held.let_go("/first");
    held.let_go("/second");
    assert_eq!((first.response().status, second.response().status), (200, 200));
    assert!(!held.seen().contains(&"/third".to_owned()));
}

#[test]
fn without_a_line_nobody_waits() {
    for limits in ["queue_max = 0", "queue_timeout = 0"] {
        let held = Held::new();
        let weir = narrow(&held, limits);
        let mut first = weir.client();
        first.write(bytes("GET", "/first", &[], b""));
        wait::until("the slot is taken", || held.seen().len() == 1);
        let response = weir.get("/second");
        assert_eq!(response.status, 503, "{limits}");
        assert!(response.text().contains("upstream_queue_full"), "{limits}: {}", response.text());
        held.let_go("/first");
        assert_eq!(first.response().status, 200);
    }
}

#[test]
fn a_wait_ends_at_its_timeout() {
    let held = Held::new();
    let weir = narrow(&held, "queue_timeout = \"300ms\"");
    let mut first = weir.client();
    first.write(bytes("GET", "/first", &[], b""));
    wait::until("the slot is taken", || held.seen().len() == 1);
    let began = std::time::Instant::now();
    let response = weir.get("/second");
    let took = began.elapsed();
    assert_eq!((response.status, response.fields.first("retry-after")), (503, Some("1")));
    assert!(response.text().contains("upstream_queue_timeout"), "{}", response.text());
    assert!(took.as_millis() >= 290, "after {took:?}");
    held.let_go("/first");
    assert_eq!(first.response().status, 200);
    // The slot is free again, and the origin never saw who gave up.
    let mut third = weir.client();
    third.write(bytes("GET", "/third", &[], b""));
    held.let_go("/third");
    assert_eq!(third.response().status, 200);
    assert_eq!(held.seen(), ["/first", "/third"]);
}

#[test]
fn a_client_that_goes_away_leaves_the_line() {
    let held = Held::new();
    let weir = narrow(&held, "queue_timeout = \"60s\"");
    let mut first = weir.client();
    first.write(bytes("GET", "/first", &[], b""));
    wait::until("the slot is taken", || held.seen().len() == 1);
    let gone = line_up(&weir, "/gone", 1);
    let mut last = line_up(&weir, "/last", 2);
    gone.reset();
    weir.wait_reason("client_cancelled", 1);
    held.let_go("/first");
    assert_eq!(first.response().status, 200);
    held.let_go("/last");
    assert_eq!(last.response().status, 200);
    assert_eq!(held.seen(), ["/first", "/last"]);
}

#[test]
fn the_limit_holds_over_workers_and_each_is_served() {
    let most = Arc::new(Mutex::new((0_usize, 0_usize)));
    let count = most.clone();
    let origin = Origin::scripted(move |mut conn, _| {
        while conn.request().is_some() {
            {
                let mut now = count.lock().expect("count");
                now.0 += 1;
                now.1 = now.1.max(now.0);
            }
            // Long enough that others come meanwhile, whatever order the threads run in.
            (0..100).for_each(|_| std::thread::yield_now());
            count.lock().expect("count").0 -= 1;
            if !conn.send(ok("x")) {
                return;
            }
        }
    });
    let limits = "[route.limits]\ninflight_max = 2\nqueue_timeout = \"60s\"\nqueue_max = 1000";
    let weir = Config::forwarding(origin.url()).workers(3).with(limits).start();
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let mut client = weir.client();
                (0..25).for_each(|_| assert_eq!(client.exchange(bytes("GET", "/", &[], b"")).status, 200));
            });
        }
    });
    assert_eq!(most.lock().expect("count").1, 2, "requests in flight at once");
    assert!(waiting(&weir) > 0.0, "nobody had to wait");
}

#[test]
fn another_endpoint_with_room_is_taken_before_waiting() {
    let (held, free) = (Held::new(), Origin::ok("free"));
    let weir = Config::new()
        .route(1, "path_prefix = \"/\"", &[&held.origin.url(), &free.url()])
        .with("[route.limits]\ninflight_max = 1")
        .start();
    let clients: Vec<_> = (0..2)
        .map(|n| {
            let client = weir.client();
            client.write(bytes("GET", &format!("/{n}"), &[], b""));
            client
        })
        .collect();
    wait::until("one is held", || held.seen().len() == 1);
    for _ in 0..6 {
        assert_eq!(weir.get("/more").text(), "free");
    }
    drop(clients);
}
