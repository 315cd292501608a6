//! Signals, reloads and news, as workers get to see them.

use std::time::Duration;

use super::*;
use crate::control::state::StateDir;
use crate::control::testing::{Remembering, clock, document, forwarding, until};
use crate::target::Observed;

/// A supervisor with two workers, on the test's runtime.
struct Bench {
    facts: Arc<Facts>,
    process: Arc<Remembering>,
    signals: mpsc::Sender<Signal>,
    dns: mpsc::Sender<DnsUpdate>,
    reports: Reports,
    seen: Seen,
    phase: watch::Sender<Phase>,
    wishes: mpsc::Receiver<()>,
}

impl Bench {
    fn start(first: Document) -> Self {
        let facts = Arc::new(Facts::new(2));
        let process = Arc::<Remembering>::default();
        let (signals, signal_events) = mpsc::channel(4);
        // Names resolve as the test says, not as a server would.
        let (dns_of_resolver, _) = mpsc::channel(4);
        let (dns, dns_events) = mpsc::channel(64);
        let (probes_out, probes) = mpsc::channel(64);
        let (reports, Reported(report_events)) = Reports::channel();
        let (phase, phases) = watch::channel(Phase::Serving);
        let (upgrades, wishes) = mpsc::channel(1);
        let parts = Parts {
            facts: Arc::clone(&facts),
            clock,
            process: Arc::clone(&process) as Arc<dyn Process>,
            resolver: Arc::new(Resolver::start(Arc::clone(&facts), clock, dns_of_resolver, Box::new(|_| ()))),
            prober: Prober::new(probes_out),
            bans: BanList::load(Arc::new(StateDir::none("a test")), Arc::clone(&facts), clock),
            geoip: GeoFiles::new(Arc::clone(&facts)),
            notify: Arc::new(Notify::none()),
            upgrades,
        };
        let (supervisor, seen) = Supervisor::new(parts, first).unwrap_or_else(|refusal| panic!("{refusal}"));
        let events = Events { phase: phases, dns: dns_events, probes, reports: report_events };
        tokio::spawn(supervisor.run(signal_events, events));
        Self { facts, process, signals, dns, reports, seen, phase, wishes }
    }

    fn drains(&self) -> [usize; 2] {
        [0, 1].map(|worker| self.process.worker(worker).drains.len())
    }

    async fn signal(&self, signal: Signal) {
        self.signals.send(signal).await.expect("the supervisor lives");
    }

    async fn resolve(&self, name: &str, ip: [u8; 4]) {
        let update = DnsUpdate { hostname: name.into(), addresses: vec![ip.into()] };
        self.dns.send(update).await.expect("the supervisor lives");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_configuration_reaches_every_worker_at_once() {
    let bench = Bench::start(forwarding("http://192.0.2.1", ""));
    assert_eq!([0, 1].map(|worker| bench.process.worker(worker).generation), [1, 1]);
    assert_eq!(bench.process.endpoints(0), [("192.0.2.1:80".to_owned(), "unknown")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_reach_the_workers_without_a_new_generation() {
    let bench = Bench::start(forwarding("http://app.test", ""));
    assert!(bench.process.endpoints(1).is_empty());
    bench.resolve("app.test", [192, 0, 2, 5]).await;
    until(|| bench.process.endpoints(1) == [("192.0.2.5:80".to_owned(), "unknown")]).await;
    assert_eq!(bench.process.worker(1).generation, 1);
    assert_eq!(bench.seen.standing().live.endpoints().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_mailbox_gets_the_newest_once_it_has_room() {
    let bench = Bench::start(forwarding("http://app.test", ""));
    bench.process.worker(0).full = true;
    for last in 1..=20 {
        bench.resolve("app.test", [192, 0, 2, last]).await;
    }
    until(|| bench.process.endpoints(1) == [("192.0.2.20:80".to_owned(), "unknown")]).await;
    assert!(bench.process.endpoints(0).is_empty());
    bench.process.worker(0).full = false;
    until(|| bench.process.endpoints(0) == [("192.0.2.20:80".to_owned(), "unknown")]).await;
    let tables = bench.process.worker(0).tables.len();
    assert_eq!(tables, 2, "older tables were kept for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_of_workers_eject_an_endpoint() {
    let more = "[route.outlier]\nenabled = true\nconnect = 1\nmax_percent = 100";
    let bench = Bench::start(forwarding("http://192.0.2.1", more));
    let live = bench.seen.standing().live;
    let endpoint = live.endpoints().next().expect("an endpoint").1.cells.id();
    assert!(bench.reports.send(Report { endpoint, observed: Observed::ConnectFailed }));
    until(|| bench.process.endpoints(0) == [("192.0.2.1:80".to_owned(), "ejected")]).await;
    until(|| bench.seen.ejections.made.load(Ordering::Relaxed) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_builds_is_put_in_force_and_one_that_does_not_changes_nothing() {
    let bench = Bench::start(forwarding("http://192.0.2.1", ""));
    bench.signal(Signal::Reload).await;
    until(|| bench.facts.reload_refused().is_some()).await;
    assert_eq!(bench.process.worker(0).generation, 1);
    *bench.process.next.lock().expect("no panic") = Some(forwarding("http://192.0.2.2", ""));
    bench.signal(Signal::Reload).await;
    until(|| bench.process.worker(1).generation == 2).await;
    assert_eq!(bench.process.endpoints(1), [("192.0.2.2:80".to_owned(), "unknown")]);
    until(|| bench.facts.reload_refused().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_stop_drains_and_the_second_ends_it_now() {
    let mut first = document("[drain]\ntimeout = \"50s\"\n");
    first.drain.delay = Duration::ZERO;
    let bench = Bench::start(first);
    bench.signal(Signal::Stop).await;
    until(|| bench.drains() == [1, 1]).await;
    assert!(bench.facts.draining());
    let left = bench.process.worker(0).drains[0].since(clock());
    assert!(left > Duration::from_secs(20) && left <= Duration::from_secs(50), "{left:?}");
    bench.signal(Signal::Reload).await;
    bench.signal(Signal::Stop).await;
    until(|| bench.drains() == [2, 2]).await;
    assert!(bench.process.worker(1).drains[1] <= clock());
    assert_eq!(bench.process.reads.load(Ordering::SeqCst), 0, "a reload during a drain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_keeps_accepting_while_not_ready() {
    let bench = Bench::start(document("[drain]\ndelay = \"300ms\"\n"));
    let before = std::time::Instant::now();
    bench.signal(Signal::Stop).await;
    until(|| bench.facts.draining()).await;
    assert!(bench.drains() == [0, 0]);
    until(|| bench.drains() == [1, 1]).await;
    assert!(before.elapsed() >= Duration::from_millis(300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_waits_for_a_process_that_gets_ready_to_take_over() {
    let bench = Bench::start(document(""));
    *bench.process.next.lock().expect("no panic") = Some(document(""));
    bench.phase.send_replace(Phase::Giving);
    bench.signal(Signal::Reload).await;
    bench.signal(Signal::ReopenLogs).await;
    until(|| bench.process.reopened.load(Ordering::SeqCst) > 0).await;
    assert_eq!(bench.process.reads.load(Ordering::SeqCst), 0);
    bench.phase.send_replace(Phase::Serving);
    until(|| bench.process.worker(1).generation == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_another_process_serves_this_one_drains_and_leaves_it_the_sockets() {
    let bench = Bench::start(document("[drain]\ndelay = \"1h\"\ntimeout = \"50s\"\n"));
    let kept = Kept::new([("web".into(), "127.0.0.1:0".into())].into());
    // Nobody: the signal that would be passed on reaches no process.
    bench.phase.send_replace(Phase::Given { pid: 0, kept: Arc::clone(&kept) });
    until(|| bench.drains() == [1, 1]).await;
    assert!(bench.facts.draining());
    assert_eq!(bench.process.worker(1).kept, kept);
    bench.signal(Signal::Stop).await;
    until(|| bench.drains() == [2, 2]).await;
    assert_eq!(bench.process.worker(0).kept, kept, "whatever else it is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_asked_for_once() {
    let mut bench = Bench::start(document(""));
    bench.signal(Signal::Upgrade).await;
    assert_eq!(bench.wishes.recv().await, Some(()));
}
