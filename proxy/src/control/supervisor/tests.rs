//! Signals, reloads and news, as workers get to see them.

use std::time::Duration;

use super::*;
use crate::control::testing::{Mailbox, Remembering, clock, document, forwarding, loaded, until};
use crate::target::Observed;

/// A supervisor with two workers, on the test's runtime.
struct Bench {
    facts: Arc<Facts>,
    process: Arc<Remembering>,
    workers: [Arc<Mailbox>; 2],
    signals: mpsc::Sender<Signal>,
    dns: mpsc::Sender<DnsUpdate>,
    reports: Reports,
    seen: Seen,
}

impl Bench {
    fn start(first: Document) -> Self {
        let facts = Arc::new(Facts::new(2));
        let process = Arc::<Remembering>::default();
        let workers = [Arc::<Mailbox>::default(), Arc::<Mailbox>::default()];
        let (signals, signal_events) = mpsc::channel(4);
        // Names resolve as the test says, not as a server would.
        let (dns_of_resolver, _) = mpsc::channel(4);
        let (dns, dns_events) = mpsc::channel(64);
        let (probes_out, probes) = mpsc::channel(64);
        let (reports, report_events) = mpsc::channel(64);
        let parts = Parts {
            facts: Arc::clone(&facts),
            clock,
            process: Arc::clone(&process) as Arc<dyn Process<u64>>,
            outboxes: workers.iter().map(|worker| Outbox::new(Box::new(Arc::clone(worker)))).collect(),
            resolver: Arc::new(Resolver::start(Arc::clone(&facts), clock, dns_of_resolver)),
            prober: Prober::new(probes_out),
        };
        let (supervisor, seen) = Supervisor::new(parts, loaded(first, 1));
        tokio::spawn(supervisor.run(signal_events, Events { dns: dns_events, probes, reports: report_events }));
        Self { facts, process, workers, signals, dns, reports: Reports(reports), seen }
    }

    async fn signal(&self, signal: Signal) {
        self.signals.send(signal).await.expect("the supervisor lives");
    }

    async fn resolve(&self, name: &str, ip: [u8; 4]) {
        let update = DnsUpdate { hostname: name.into(), addresses: vec![ip.into()] };
        self.dns.send(update).await.expect("the supervisor lives");
    }
}

#[tokio::test]
async fn the_first_configuration_reaches_every_worker_at_once() {
    let bench = Bench::start(forwarding("http://192.0.2.1", ""));
    assert_eq!(bench.workers.each_ref().map(|worker| worker.generation()), [1, 1]);
    assert_eq!(bench.facts.published().0, 1);
    assert_eq!(bench.workers[0].endpoints(), [("192.0.2.1:80".to_owned(), "unknown")]);
}

#[tokio::test]
async fn addresses_reach_the_workers_without_a_new_generation() {
    let bench = Bench::start(forwarding("http://app.test", ""));
    assert!(bench.workers[1].endpoints().is_empty());
    bench.resolve("app.test", [192, 0, 2, 5]).await;
    until(|| bench.workers[1].endpoints() == [("192.0.2.5:80".to_owned(), "unknown")]).await;
    assert_eq!(bench.workers[1].generation(), 1);
    assert_eq!(bench.seen.standing().live.endpoints().count(), 1);
}

#[tokio::test]
async fn a_full_mailbox_gets_the_newest_once_it_has_room() {
    let bench = Bench::start(forwarding("http://app.test", ""));
    bench.workers[0].full.store(true, Ordering::SeqCst);
    for last in 1..=20 {
        bench.resolve("app.test", [192, 0, 2, last]).await;
    }
    until(|| bench.workers[1].endpoints() == [("192.0.2.20:80".to_owned(), "unknown")]).await;
    assert!(bench.workers[0].endpoints().is_empty());
    bench.workers[0].full.store(false, Ordering::SeqCst);
    until(|| bench.workers[0].endpoints() == [("192.0.2.20:80".to_owned(), "unknown")]).await;
    let tables = bench.workers[0].taken.lock().expect("no panic").len();
    assert_eq!(tables, 2, "older tables were kept for it");
}

#[tokio::test]
async fn reports_of_workers_eject_an_endpoint() {
    let more = "[route.outlier]\nenabled = true\nconnect = 1\nmax_percent = 100";
    let bench = Bench::start(forwarding("http://192.0.2.1", more));
    let live = bench.seen.standing().live;
    let endpoint = live.endpoints().next().expect("an endpoint").1.cells.id();
    assert!(bench.reports.send(Report { endpoint, observed: Observed::ConnectFailed }));
    until(|| bench.workers[0].endpoints() == [("192.0.2.1:80".to_owned(), "ejected")]).await;
    until(|| bench.seen.ejections.made.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test]
async fn a_reload_that_builds_is_put_in_force_and_one_that_does_not_changes_nothing() {
    let bench = Bench::start(forwarding("http://192.0.2.1", ""));
    bench.signal(Signal::Reload).await;
    until(|| bench.facts.reload_refused().is_some()).await;
    assert_eq!(bench.workers[0].generation(), 1);
    *bench.process.next.lock().expect("no panic") = Some(forwarding("http://192.0.2.2", ""));
    bench.signal(Signal::Reload).await;
    until(|| bench.workers[1].generation() == 2).await;
    assert_eq!(bench.workers[1].endpoints(), [("192.0.2.2:80".to_owned(), "unknown")]);
    until(|| bench.facts.reload_refused().is_none() && bench.facts.published().0 == 2).await;
}

#[tokio::test]
async fn the_first_stop_drains_and_the_second_ends_it_now() {
    let mut first = document("[drain]\ntimeout = \"50s\"\n");
    first.drain.delay = Duration::ZERO;
    let bench = Bench::start(first);
    bench.signal(Signal::Stop).await;
    until(|| bench.workers.iter().all(|worker| worker.drains().len() == 1)).await;
    assert!(bench.facts.draining());
    let left = bench.workers[0].drains()[0].since(clock());
    assert!(left > Duration::from_secs(20) && left <= Duration::from_secs(50), "{left:?}");
    bench.signal(Signal::Reload).await;
    bench.signal(Signal::Stop).await;
    until(|| bench.workers.iter().all(|worker| worker.drains().len() == 2)).await;
    assert!(bench.workers[1].drains()[1] <= clock());
    assert_eq!(bench.process.generation.load(Ordering::SeqCst), 0, "a reload during a drain");
}

#[tokio::test]
async fn a_delay_keeps_accepting_while_not_ready() {
    let bench = Bench::start(document("[drain]\ndelay = \"300ms\"\n"));
    let before = std::time::Instant::now();
    bench.signal(Signal::Stop).await;
    until(|| bench.facts.draining()).await;
    assert!(bench.workers[0].drains().is_empty());
    until(|| bench.workers[0].drains().len() == 1).await;
    assert!(before.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn what_is_unbound_is_tried_again_until_it_is_bound() {
    let bench = Bench::start(document(""));
    let unbound = crate::control::facts::ListenerFact {
        name: "web".into(),
        address: "0.0.0.0:80".into(),
        error: Some("in use".into()),
    };
    bench.facts.set_listeners(vec![unbound]);
    until(|| bench.process.bound.load(Ordering::SeqCst) >= 2).await;
}
