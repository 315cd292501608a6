//! The resolver against a name server that says what the test wants.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use tokio::net::UdpSocket;

use super::*;
use crate::control::testing::{clock, until};

/// What the server says of a name.
#[derive(Clone, Debug)]
enum Says {
    A(Vec<Ipv4Addr>, u32),
    NoName,
    Refused,
    Nothing,
}

type Zone = Arc<Mutex<HashMap<String, Says>>>;

/// A name server with a table: answers A questions from it, others with nothing found.
struct Server {
    address: SocketAddr,
    zone: Zone,
    asked: Arc<AtomicU64>,
}

impl Server {
    async fn start(zone: &[(&str, Says)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let zone: HashMap<_, _> = zone.iter().map(|(name, says)| ((*name).to_owned(), says.clone())).collect();
        let server = Self { address, zone: Arc::new(Mutex::new(zone)), asked: Arc::default() };
        let (zone, asked) = (Arc::clone(&server.zone), Arc::clone(&server.asked));
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
                asked.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = answer(&packet[..length], &zone) {
                    let _ = socket.send_to(&answer, peer).await;
                }
            }
        });
        server
    }

    fn say(&self, name: &str, says: Says) {
        self.zone.lock().expect("no panic").insert(name.to_owned(), says);
    }
}

/// RFC 1035 section 4: the header and the question repeated, then the answers.
fn answer(query: &[u8], zone: &Zone) -> Option<Vec<u8>> {
    let (name, end) = question(query)?;
    let kind = u16::from_be_bytes([query[end - 4], query[end - 3]]);
    let says = zone.lock().expect("no panic").get(&name).cloned().unwrap_or(Says::NoName);
    let (code, ips, ttl) = match says {
        Says::A(ips, ttl) if kind == 1 => (0, ips, ttl),
        Says::A(..) => (0, Vec::new(), 0),
        Says::NoName => (3, Vec::new(), 0),
        Says::Refused => (5, Vec::new(), 0),
        Says::Nothing => return None,
    };
    let mut out = query[..2].to_vec();
    out.extend_from_slice(&[0x81, 0x80 | code, 0, 1, 0, u8::try_from(ips.len()).ok()?, 0, 0, 0, 0]);
    out.extend_from_slice(&query[12..end]);
    for ip in ips {
        out.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        out.extend_from_slice(&ttl.to_be_bytes());
        out.extend_from_slice(&[0, 4]);
        out.extend_from_slice(&ip.octets());
    }
    Some(out)
}

/// The question's name, and where the question ends.
fn question(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while *query.get(at)? > 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?).to_lowercase());
        at += length + 1;
    }
    Some((labels.join("."), at + 5))
}

struct Bench {
    resolver: Resolver,
    updates: mpsc::Receiver<DnsUpdate>,
    facts: Arc<Facts>,
    settings: Settings,
    /// Denials.
    found: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new(server: SocketAddr) -> Self {
        let facts = Arc::new(Facts::new(1));
        let (out, updates) = mpsc::channel(64);
        let settings = Settings {
            servers: vec![server],
            timeout: Duration::from_millis(200),
            ttl_min: Duration::from_millis(50),
            ttl_max: Duration::from_secs(3_600),
            stale_max: Duration::from_secs(3_600),
            allow: vec![NamePattern::Below("partner.test".to_owned())],
            deny_ips: vec!["169.254.0.0/16".parse().expect("a network")],
        };
        let found = Arc::<Mutex<Vec<String>>>::default();
        let denied = Arc::clone(&found);
        let tell = move |denial: &Denial<'_>| {
            let ip = denial.dst_ip.map(|ip| ip.to_string()).unwrap_or_default();
            denied.lock().expect("no panic").push(format!("{} {ip} {:?}", denial.fqdn, denial.query_type));
        };
        let resolver = Resolver::start(Arc::clone(&facts), clock, out, Box::new(tell));
        Self { resolver, updates, facts, settings, found }
    }

    fn want(&self, names: &[&str]) {
        let wanted = |name: &&str| Wanted { hostname: (*name).into(), used_by: vec![format!("r/{name}")] };
        self.resolver.want(self.settings.clone(), names.iter().map(wanted).collect());
    }

    async fn next(&mut self) -> (String, Vec<String>) {
        let update = tokio::time::timeout(Duration::from_secs(20), self.updates.recv()).await;
        let update = update.expect("an update in time").expect("the resolver lives");
        (update.hostname.to_string(), update.addresses.iter().map(ToString::to_string).collect())
    }
}

fn a(ips: &[[u8; 4]], ttl: u32) -> Says {
    Says::A(ips.iter().map(|&ip| ip.into()).collect(), ttl)
}

fn told(name: &str, ips: &[&str]) -> (String, Vec<String>) {
    (name.to_owned(), ips.iter().map(|ip| (*ip).to_owned()).collect())
}

#[tokio::test]
async fn a_name_is_asked_again_at_its_ttl_and_changes_without_a_reload() {
    let server = Server::start(&[("app.test", a(&[[192, 0, 2, 1]], 0))]).await;
    let mut bench = Bench::new(server.address);
    bench.want(&["app.test"]);
    assert_eq!(bench.next().await, told("app.test", &["192.0.2.1"]));
    assert!(bench.facts.resolver.last_answer().is_some());
    until(|| bench.facts.resolver.first_round_over()).await;
    server.say("app.test", a(&[[192, 0, 2, 3], [192, 0, 2, 2]], 0));
    assert_eq!(bench.next().await, told("app.test", &["192.0.2.2", "192.0.2.3"]));
}

#[tokio::test]
async fn a_long_ttl_is_respected() {
    let server =
        Server::start(&[("app.test", a(&[[192, 0, 2, 1]], 3_600)), ("other.test", a(&[[192, 0, 2, 9]], 0))]).await;
    let mut bench = Bench::new(server.address);
    bench.want(&["app.test"]);
    bench.next().await;
    let asked = server.asked.load(Ordering::Relaxed);
    // The other name's many lookups are the clock by which the first one is seen not to be asked again.
    bench.want(&["app.test", "other.test"]);
    bench.next().await;
    until(|| server.asked.load(Ordering::Relaxed) >= asked + 10).await;
    let row = bench.resolver.shown(Some("app.test"), None).remove(0);
    assert!(row.ttl_s.is_some_and(|ttl| ttl > 3_500) && !row.stale);
}

#[tokio::test]
async fn a_failure_keeps_the_last_answer_and_two_absences_empty_it() {
    let server = Server::start(&[("app.test", a(&[[192, 0, 2, 1]], 0))]).await;
    let mut bench = Bench::new(server.address);
    bench.want(&["app.test"]);
    bench.next().await;
    server.say("app.test", Says::Refused);
    until(|| bench.resolver.shown(Some("app.test"), None)[0].stale).await;
    assert_eq!(bench.resolver.shown(Some("app.test"), None)[0].ips.len(), 1);
    server.say("app.test", Says::NoName);
    assert_eq!(bench.next().await, told("app.test", &[]));
    assert!(bench.resolver.counts().absent.load(Ordering::Relaxed) >= 2);
    server.say("app.test", a(&[[192, 0, 2, 4]], 60));
    assert_eq!(bench.next().await, told("app.test", &["192.0.2.4"]));
}

#[tokio::test]
async fn denied_addresses_are_shown_and_never_used() {
    let server =
        Server::start(&[("meta.test", a(&[[169, 254, 169, 254]], 60)), ("app.test", a(&[[192, 0, 2, 1]], 60))]).await;
    let mut bench = Bench::new(server.address);
    bench.want(&["app.test", "meta.test"]);
    assert_eq!(bench.next().await.0, "app.test");
    until(|| bench.facts.resolver.first_round_over()).await;
    let rows = bench.resolver.shown(Some("META.test."), None);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].granted, rows[0].reason), (false, "denied_address"));
    assert_eq!(rows[0].ips[0].to_string(), "169.254.169.254");
    assert_eq!(rows[0].used_by, ["r/meta.test"]);
    assert_eq!(bench.resolver.counts().denied.load(Ordering::Relaxed), 1);
    assert_eq!(*bench.found.lock().expect("no panic"), [format!("{} 169.254.169.254 Some(1)", rows[0].hostname)]);
    assert!(bench.updates.try_recv().is_err(), "a denied address was handed on");
    let by_ip = bench.resolver.shown(None, "192.0.2.1".parse().ok());
    assert_eq!(by_ip.iter().map(|row| row.hostname.as_str()).collect::<Vec<_>>(), ["app.test"]);
}

#[tokio::test]
async fn other_settings_judge_known_addresses_anew() {
    let server = Server::start(&[("app.test", a(&[[192, 0, 2, 1]], 3_600))]).await;
    let mut bench = Bench::new(server.address);
    bench.want(&["app.test"]);
    bench.next().await;
    bench.settings.deny_ips.push("192.0.2.0/24".parse().expect("a network"));
    bench.want(&["app.test"]);
    assert_eq!(bench.next().await, told("app.test", &[]));
}

#[tokio::test]
async fn a_name_that_nobody_uses_is_told_by_the_allow_list() {
    let server = Server::start(&[]).await;
    let bench = Bench::new(server.address);
    bench.want(&[]);
    let verdict = |name: &str| {
        let row = bench.resolver.shown(Some(name), None).remove(0);
        (row.granted, row.reason)
    };
    until(|| verdict("api.partner.test") == (true, "allowed")).await;
    assert_eq!(verdict("partner.test"), (false, "not_allowed"));
    assert_eq!(verdict("evilpartner.test"), (false, "not_allowed"));
    assert_eq!(server.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn silence_ends_the_first_round_without_an_answer_and_recovers() {
    let server = Server::start(&[("app.test", Says::Nothing)]).await;
    let mut bench = Bench::new(server.address);
    bench.want(&["app.test"]);
    until(|| bench.facts.resolver.first_round_over()).await;
    assert!(bench.facts.resolver.last_answer().is_none());
    server.say("app.test", a(&[[192, 0, 2, 1]], 60));
    assert_eq!(bench.next().await, told("app.test", &["192.0.2.1"]));
    assert!(bench.facts.resolver.last_answer().is_some());
}

#[tokio::test]
async fn localhost_needs_no_server() {
    let server = Server::start(&[]).await;
    let mut bench = Bench::new(server.address);
    bench.want(&["localhost"]);
    let (_, addresses) = bench.next().await;
    assert!(addresses.contains(&"127.0.0.1".to_owned()), "{addresses:?}");
}
