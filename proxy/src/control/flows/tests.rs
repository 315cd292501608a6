//! The table's task with a kernel half that does as it is told, and a clock that the test moves.

use std::cell::Cell;
use std::collections::HashMap;

use http_body_util::BodyExt;
use serde_json::Value;
use weir_common::abi::flow::{Event, Flow as Record, state};
use weir_common::abi::wire::Wire;

use super::hub::LINGER;
use super::*;
use crate::base::Reason;
use crate::base::id::RequestId;
use crate::control::state::StateDir;
use crate::trace::flow::{News, Note, Opened, Side, Verdict};

const S: u64 = 1_000_000_000;

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(1_000 * S) };
}

fn clock() -> Instant {
    Instant::from_nanos(NOW.get())
}

fn pass(time: Duration) {
    NOW.set(NOW.get() + u64::try_from(time.as_nanos()).expect("a short time"));
}

/// A kernel half that a test directs.
#[derive(Default)]
struct Fake {
    events: Mutex<Vec<(Event, Option<Record>)>>,
    records: Mutex<HashMap<u64, Record>>,
    wires: Mutex<HashMap<u64, Wire>>,
    calls: Mutex<Vec<(&'static str, bool)>>,
    lost: AtomicU64,
}

impl Fake {
    /// Calls, each program's in their order: the two do not wait for each other.
    fn calls(&self) -> Vec<(&'static str, bool)> {
        let mut calls = self.calls.lock().expect("no panic").clone();
        calls.sort_by_key(|(name, _)| *name);
        calls
    }

    fn close(&self, cookie: u64, path: &[u8]) {
        let states = path.windows(2).fold(0, |all, step| all << 8 | u64::from(step[0] << 4 | step[1]));
        let record = Record { states, srtt_us: 8 * 250, segs_in: 7, segs_out: 6, ..Record::default() };
        let event = Event { ts: NOW.get(), cookie, kind: EventKind::Close as u32, a: 0 };
        self.records.lock().expect("no panic").remove(&cookie);
        self.events.lock().expect("no panic").push((event, Some(record)));
    }
}

impl FlowSource for Fake {
    fn kind(&self) -> Kind {
        Kind::SockOps
    }

    fn drain(&self, take: &mut dyn FnMut(&Event, Option<&Record>)) {
        let events = std::mem::take(&mut *self.events.lock().expect("no panic"));
        events.iter().for_each(|(event, record)| take(event, record.as_ref()));
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn record(&self, cookie: u64) -> Option<Record> {
        self.records.lock().expect("no panic").get(&cookie).copied()
    }

    fn enable(&self, on: bool) -> Result<(), String> {
        self.calls.lock().expect("no panic").push(("flow", on));
        Ok(())
    }

    fn count_packets(&self, on: bool) -> Result<(), String> {
        self.calls.lock().expect("no panic").push(("wire", on));
        Ok(())
    }

    fn packets(&self, cookie: u64) -> Option<Wire> {
        self.wires.lock().expect("no panic").get(&cookie).copied()
    }
}

struct Bench {
    fake: Arc<Fake>,
    notes: Arc<Notes>,
    mode: Arc<PerformanceMode>,
    flows: Arc<Flows>,
    turns: Turns,
}

fn bench() -> Bench {
    let (fake, notes) = (Arc::<Fake>::default(), Arc::<Notes>::default());
    let mode = Arc::new(PerformanceMode::load(Arc::new(StateDir::none("a test"))));
    let limits = Limits { table: Bounds { open_max: 10_000, closed_max: 10_000 }, readers_max: 2 };
    let flows = Flows::new(Parts {
        node_id: "n1".into(),
        clock,
        notes: Arc::clone(&notes),
        source: Arc::clone(&fake) as Arc<dyn FlowSource>,
        mode: Arc::clone(&mode),
        limits: Box::new(move || limits),
        notes_lost: Box::new(|| 0),
    });
    let turns = flows.begin();
    Bench { fake, notes, mode, flows, turns }
}

impl Bench {
    fn turn(&mut self) {
        self.flows.turn(&mut self.turns);
    }

    /// Turns until the calls to the kernel half are these.
    async fn until_called(&mut self, calls: &[(&'static str, bool)]) {
        let waited = async {
            while self.fake.calls() != calls {
                self.turn();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waited).await;
        assert!(waited.is_ok(), "called {:?}", self.fake.calls());
    }

    fn note(&self, cookie: u64, news: News) {
        assert!(self.notes.send(Note { cookie, at: clock(), news }).is_ok());
    }

    fn open(&self, cookie: u64, port: u16) {
        let opened = Opened {
            side: Side::Client,
            worker: 0,
            local: ([127, 0, 0, 1], 8080).into(),
            remote: ([192, 0, 2, 1], port).into(),
            listener: Some("web".into()),
            hostname: None,
        };
        self.note(cookie, News::Opened(Box::new(opened)));
    }

    fn watch(&self, query: &[(&str, &str)], resume: Option<&str>) -> Option<Feed> {
        let filter = Filter::parse(|key| {
            query.iter().filter(|(k, _)| *k == key).map(|(_, value)| (*value).to_owned()).collect()
        });
        let filter = filter.expect("a good filter");
        self.flows.watch(Wish { filter, sample: 1.0, resume: resume.map(str::to_owned) })
    }
}

/// An event: its kind, its id, its data.
type Seen = (String, Option<String>, Value);

fn events(text: &[u8]) -> Vec<Seen> {
    let text = String::from_utf8(text.to_vec()).expect("text");
    let one = |event: &str| {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let data = serde_json::from_str(&field("data: ").expect("data")).expect("JSON");
        (field("event: ").expect("a kind"), field("id: "), data)
    };
    text.split("\n\n").filter(|event| !event.is_empty()).map(one).collect()
}

/// What a reader gets next; none at its end.
async fn next(feed: &mut Feed) -> Option<Vec<Seen>> {
    let frame = tokio::time::timeout(Duration::from_secs(20), feed.frame()).await.expect("an event in time")?;
    Some(events(&frame.expect("never fails").into_data().expect("data")))
}

fn kinds(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|(kind, ..)| kind.as_str()).collect()
}

#[tokio::test]
async fn a_reader_sees_a_flow_open_move_and_end() {
    let mut bench = bench();
    let mut feed = bench.watch(&[], None).expect("room");
    bench.until_called(&[("flow", true), ("wire", true)]).await;
    bench.open(9, 40_000);
    bench.turn();
    let first = next(&mut feed).await.expect("open");
    assert_eq!(kinds(&first), ["node_status"]);
    let seen = next(&mut feed).await.expect("open");
    assert_eq!(kinds(&seen), ["flow"]);
    let flow = &seen[0].2;
    for (key, value) in [
        ("flow_id", Value::from("9")),
        ("side", "client".into()),
        ("src_ip", "192.0.2.1".into()),
        ("src_port", 40_000.into()),
        ("dst_ip", "127.0.0.1".into()),
        ("dst_port", 8080.into()),
        ("proto", "tcp".into()),
        ("proto_number", 6.into()),
        ("node_id", "n1".into()),
        ("verdict", "allow".into()),
        ("packets_in", Value::Null),
    ] {
        assert_eq!(flow[key], value, "{key}");
    }
    assert!(flow["last_seen"].is_u64() && flow.get("close").is_none());
    let verdict = Verdict {
        denied: true,
        reason: Reason::ConnectionLimit,
        rule: Some("r".into()),
        trace_id: RequestId(0xabc),
        hostname: Some("A.example".into()),
    };
    bench.note(9, News::Request(Box::new(verdict)));
    let wire = Wire { packets_in: 3, bytes_in: 180, packets_out: 2, bytes_out: 120 };
    bench.fake.wires.lock().expect("no panic").insert(9, wire);
    pass(LOOK);
    bench.turn();
    let seen = next(&mut feed).await.expect("open");
    let flow = &seen[0].2;
    assert_eq!((kinds(&seen), &flow["packets_in"], &flow["bytes_out"]), (vec!["flow"], &3.into(), &120.into()));
    assert_eq!(
        (&flow["verdict"], &flow["reason"], &flow["rule"]),
        (&"deny".into(), &"connection_limit".into(), &"r".into())
    );
    assert_eq!(flow["trace_id"], "00000000000000000000000000000abc");
    assert_eq!((&flow["hostname"], &flow["partial"]), (&"A.example".into(), &false.into()));
    bench.note(9, News::Closed(Box::default()));
    bench.fake.close(9, &[state::SYN_RECV, state::ESTABLISHED, state::CLOSE_WAIT, state::LAST_ACK, state::CLOSE]);
    bench.turn();
    bench.turn();
    let seen = next(&mut feed).await.expect("open");
    assert_eq!(kinds(&seen), ["flow_end"]);
    assert_eq!(seen[0].2["close"], serde_json::json!({ "by": "client", "how": "fin" }));
    assert_eq!((&seen[0].2["srtt_us"], &seen[0].2["packets_in"]), (&250.into(), &3.into()));
}

#[tokio::test]
async fn quiet_flows_are_not_told_again_and_others_once_a_second() {
    let mut bench = bench();
    let mut feed = bench.watch(&[], None).expect("room");
    bench.until_called(&[("flow", true), ("wire", true)]).await;
    for cookie in [1, 2] {
        bench.open(cookie, 1_000);
        bench.fake.wires.lock().expect("no panic").insert(cookie, Wire { packets_in: 1, ..Wire::default() });
    }
    pass(LOOK);
    bench.turn();
    next(&mut feed).await;
    let seen = next(&mut feed).await.expect("open");
    assert_eq!(kinds(&seen), ["flow"; 4], "two that opened, and moved");
    for packets_in in 2..50 {
        bench.fake.wires.lock().expect("no panic").insert(1, Wire { packets_in, ..Wire::default() });
        pass(TURN);
        bench.turn();
    }
    pass(LOOK);
    bench.turn();
    let seen = next(&mut feed).await.expect("open");
    let told: Vec<_> = seen.iter().map(|(_, _, data)| (&data["flow_id"], &data["packets_in"])).collect();
    assert_eq!(told, [(&Value::from("1"), &Value::from(49))]);
}

#[tokio::test]
async fn packets_are_counted_from_the_first_reader_to_ten_seconds_after_the_last() {
    let mut bench = bench();
    bench.open(1, 1_000);
    bench.turn();
    assert!(!bench.notes.wanted().requests);
    let feed = bench.watch(&[], None).expect("room");
    bench.until_called(&[("flow", true), ("wire", true)]).await;
    assert!(bench.notes.wanted().requests);
    bench.fake.wires.lock().expect("no panic").insert(1, Wire { packets_in: 1, ..Wire::default() });
    pass(LOOK);
    bench.turn();
    let listed = |bench: &Bench| {
        let ask = Ask { filter: Filter::default(), open: None, limit: 10, cursor: None };
        serde_json::to_value(&bench.flows.list(&ask).flows[0]).expect("JSON")
    };
    assert_eq!((&listed(&bench)["partial"], &listed(&bench)["packets_in"]), (&true.into(), &1.into()));
    drop(feed);
    pass(Duration::from_millis(9_900));
    bench.turn();
    assert_eq!(bench.fake.calls().len(), 2);
    pass(Duration::from_millis(200));
    bench.until_called(&[("flow", true), ("wire", true), ("wire", false)]).await;
    let uncounted = async {
        while listed(&bench)["partial"] == true {
            bench.flows.turn(&mut bench.turns);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), uncounted).await.expect("forgotten in time");
}

#[tokio::test]
async fn a_slow_reader_loses_an_exact_number_of_events_and_then_its_place() {
    let mut bench = bench();
    let mut feed = bench.watch(&[], None).expect("room");
    bench.turn();
    for cookie in 0..1_500 {
        bench.open(cookie, 1_000);
    }
    bench.turn();
    let mut whole = 0;
    next(&mut feed).await;
    assert!(feed.step().is_some_and(|text| {
        let lost = &events(&text)[0];
        (&*lost.0, &lost.2["scope"], &lost.2["count"]) == ("lost", &"reader".into(), &Value::from(1_500 - 1_024))
    }));
    while whole < 1_024 {
        whole += next(&mut feed).await.expect("open").len();
    }
    assert_eq!((whole, bench.flows.count().reader_lost), (1_024, 1_500 - 1_024));
    for cookie in 2_000..5_000 {
        bench.open(cookie, 1_000);
    }
    bench.turn();
    pass(Duration::from_secs(31));
    bench.open(6_000, 1_000);
    bench.turn();
    while next(&mut feed).await.is_some() {}
    assert_eq!(bench.flows.count().readers, 0);
}

#[tokio::test]
async fn a_heartbeat_comes_each_ten_seconds() {
    let bench = bench();
    let mut feed = bench.watch(&[], None).expect("room");
    let steps: Vec<bool> = (0..30).map(|_| feed.step().is_some_and(|text| events(&text)[0].0 == "heartbeat")).collect();
    let at: Vec<usize> = (0..30).filter(|&step| steps[step]).collect();
    assert_eq!(at, [9, 19, 29]);
}

#[tokio::test]
async fn a_reader_that_comes_back_gets_what_it_missed_or_is_told_that_it_cannot() {
    let mut bench = bench();
    let mut feed = bench.watch(&[], None).expect("room");
    bench.open(1, 1_000);
    bench.turn();
    next(&mut feed).await;
    let id = next(&mut feed).await.expect("open")[0].1.clone().expect("an id");
    drop(feed);
    bench.open(2, 2_000);
    bench.open(3, 3_000);
    bench.turn();
    let mut feed = bench.watch(&[("src_port", "3000")], Some(&id)).expect("room");
    let seen = next(&mut feed).await.expect("open");
    assert_eq!((kinds(&seen), &seen[1].2["flow_id"]), (vec!["node_status", "flow"], &"3".into()));
    let other: u64 = id.rsplit_once(':').expect("NODE:SEQ").1.parse().expect("a number");
    for resume in ["", "garbage", "n1:", "n2:1", "n1:1", &format!("n1:{}", other + 1_000_000)] {
        drop(feed);
        feed = bench.watch(&[], Some(resume)).expect("room");
        assert_eq!(kinds(&next(&mut feed).await.expect("open")), ["node_status", "resync"], "{resume:?}");
    }
}

#[tokio::test]
async fn a_reader_of_the_very_last_event_is_told_what_it_missed_while_nobody_watched() {
    let mut bench = bench();
    let mut feed = bench.watch(&[], None).expect("room");
    bench.open(1, 1_000);
    bench.turn();
    next(&mut feed).await;
    let id = next(&mut feed).await.expect("open")[0].1.clone().expect("an id");
    drop(feed);
    let mut feed = bench.watch(&[], Some(&id)).expect("room");
    assert_eq!(kinds(&next(&mut feed).await.expect("open")), ["node_status"], "it has missed nothing");
    drop(feed);
    pass(LINGER);
    bench.turn();
    bench.turn();
    let mut feed = bench.watch(&[], Some(&id)).expect("room");
    assert_eq!(kinds(&next(&mut feed).await.expect("open")), ["node_status", "resync"]);

    bench.open(2, 1_000);
    bench.turn();
    let id = next(&mut feed).await.expect("open")[0].1.clone().expect("an id");
    for on in [false, true] {
        bench.mode.set(on).expect("kept in memory");
        bench.turn();
        bench.turn();
    }
    let mut feed = bench.watch(&[], Some(&id)).expect("room");
    assert_eq!(kinds(&next(&mut feed).await.expect("open")), ["node_status", "resync"]);
}

#[tokio::test]
async fn readers_are_bounded_and_losses_of_the_node_are_told_whatever_the_filter() {
    let mut bench = bench();
    let mut feed = bench.watch(&[("not_proto", "tcp")], None).expect("room");
    let second = bench.watch(&[], None).expect("room");
    assert!(bench.watch(&[], None).is_none());
    assert_eq!(bench.flows.count().readers_refused, 1);
    drop(second);
    assert!(bench.watch(&[], None).is_some());
    bench.open(1, 1_000);
    bench.fake.lost.store(5, Ordering::Relaxed);
    pass(LOOK);
    bench.turn();
    next(&mut feed).await;
    let seen = next(&mut feed).await.expect("open");
    let lost = &seen[0].2;
    assert_eq!((kinds(&seen), &lost["source"], &lost["count"]), (vec!["lost"], &"kernel_ring".into(), &5.into()));
    assert_eq!((&lost["scope"], &lost["node_id"]), (&"node".into(), &"n1".into()));
}

#[tokio::test]
async fn performance_mode_ends_streams_detaches_programs_and_forgets() {
    let mut bench = bench();
    let mut feed = bench.watch(&[], None).expect("room");
    bench.open(1, 1_000);
    bench.until_called(&[("flow", true), ("wire", true)]).await;
    bench.mode.set(false).expect("kept in memory");
    bench.until_called(&[("flow", true), ("flow", false), ("wire", true), ("wire", false)]).await;
    while next(&mut feed).await.is_some() {}
    assert!(!bench.notes.wanted().connections);
    assert_eq!(bench.flows.count().open, 0);
    bench.note(1, News::Closed(Box::default()));
    bench.mode.set(true).expect("kept in memory");
    let calls = [("flow", true), ("flow", false), ("flow", true), ("wire", true), ("wire", false)];
    bench.until_called(&calls).await;
    assert!(bench.notes.wanted().connections);
}

#[tokio::test]
async fn a_list_is_paged_newest_first_with_figures_as_they_stand() {
    let mut bench = bench();
    for cookie in 1..=5 {
        bench.open(cookie, 1_000);
    }
    let accepted = NOW.get();
    bench.turn();
    let record = Record {
        syn_ns: accepted - 3_000_000,
        open_ns: accepted - 1_000_000,
        retrans: 4,
        min_rtt_us: 90,
        ..Record::default()
    };
    bench.fake.records.lock().expect("no panic").insert(5, record);
    bench.note(3, News::Closed(Box::default()));
    bench.fake.close(3, &[state::ESTABLISHED, state::CLOSE]);
    bench.turn();
    let list = |open, cursor| {
        let page = bench.flows.list(&Ask { filter: Filter::default(), open, limit: 2, cursor });
        let rows: Vec<Value> = page.flows.iter().map(|flow| serde_json::to_value(flow).expect("JSON")).collect();
        let ids: Vec<String> = rows.iter().map(|row| row["flow_id"].as_str().expect("an id").to_owned()).collect();
        (ids, page.cursor, rows)
    };
    let (first, cursor, rows) = list(None, None);
    assert_eq!((first, cursor.is_some()), (vec!["5".to_owned(), "4".to_owned()], true));
    let kernel = &rows[0]["kernel"];
    assert_eq!((&kernel["source"], &kernel["retrans_total"]), (&"ebpf".into(), &4.into()));
    assert_eq!((&kernel["syn_us"], &kernel["accept_wait_us"]), (&2_000.into(), &1_000.into()));
    assert_eq!((&kernel["syn_to_accept_us"], &kernel["connect_us"]), (&3_000.into(), &Value::Null));
    assert_eq!(kernel["unavailable"], serde_json::json!(["srtt_us"]));
    assert_eq!((&rows[1]["kernel"]["source"], &rows[1]["kernel"]["why"].is_string()), (&"none".into(), &true));
    let (second, cursor, _) = list(None, cursor);
    let (third, end, _) = list(None, cursor);
    assert_eq!((second, third, end), (vec!["3".to_owned(), "2".to_owned()], vec!["1".to_owned()], None));
    let (closed, _, rows) = list(Some(false), None);
    assert_eq!(
        (closed, &rows[0]["state"], &rows[0]["close"]["how"]),
        (vec!["3".to_owned()], &"closed".into(), &"rst".into())
    );
    assert_eq!(list(Some(true), None).0, ["5", "4"]);
}
