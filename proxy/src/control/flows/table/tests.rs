//! Notes and events in every order; bounds; a model of what is open.

use super::*;
use crate::base::{Instant, Reason, TcpInfo};
use crate::control::flows::flow::Close;
use crate::trace::flow::{Closed, Opened, Side, Verdict};
use weir_common::abi::flow::{mark, state};

const MS: u64 = 1_000_000;

fn at(ms: u64) -> Moment {
    Moment { at: Instant::from_nanos((1_000 + ms) * MS), unix_ns: (1_700_000_000_000 + ms) * MS }
}

fn opened(side: Side) -> News {
    News::Opened(Box::new(Opened {
        side,
        worker: 0,
        local: ([127, 0, 0, 1], 80).into(),
        remote: ([192, 0, 2, 1], 4_000).into(),
        listener: (side == Side::Client).then(|| "web".into()),
        hostname: None,
    }))
}

fn closed(closed: Closed) -> News {
    News::Closed(Box::new(closed))
}

/// A record that went through these states.
fn record(path: &[u8]) -> Record {
    let states = path.windows(2).fold(0, |all, step| all << 8 | u64::from(step[0] << 4 | step[1]));
    Record { states, segs_in: 3, segs_out: 4, bytes_received: 30, bytes_acked: 40, srtt_us: 800, ..Record::default() }
}

fn by_peer() -> Record {
    record(&[state::SYN_RECV, state::ESTABLISHED, state::CLOSE_WAIT, state::LAST_ACK, state::CLOSE])
}

fn table() -> Table {
    Table::new(Bounds { open_max: 4, closed_max: 3 })
}

fn note(table: &mut Table, cookie: u64, ms: u64, news: News) -> Option<Told> {
    table.note(Note { cookie, at: at(ms).at, news }, at(ms))
}

fn close_of(table: &Table, number: u64) -> Option<(&'static str, &'static str)> {
    table.get(number)?.close().map(|Close { by, how }| (by, how))
}

#[test]
fn a_flow_is_over_once_weir_and_the_kernel_have_let_go_in_either_order() {
    for kernel_first in [true, false] {
        let mut table = table();
        assert_eq!(note(&mut table, 9, 0, opened(Side::Client)), Some(Told::Flow(1)));
        let told = if kernel_first {
            assert_eq!(table.kernel_closed(9, by_peer(), at(5)), None);
            note(&mut table, 9, 6, closed(Closed::default()))
        } else {
            assert_eq!(note(&mut table, 9, 5, closed(Closed::default())), None);
            table.kernel_closed(9, by_peer(), at(6))
        };
        assert_eq!(told, Some(Told::End(1)));
        assert_eq!((table.sizes(), close_of(&table, 1)), ((0, 1), Some(("client", "fin"))));
        assert_eq!(table.sums(), Sums { refused: 0, closed: 1, packets: 7, bytes: 70 });
        assert_eq!(table.get(1).and_then(Flow::srtt_us), Some(100));
    }
}

#[test]
fn the_end_of_a_connection_that_no_worker_has_named_yet_is_kept_for_a_moment() {
    let mut table = table();
    assert_eq!(table.kernel_closed(9, by_peer(), at(0)), None);
    assert_eq!(note(&mut table, 9, 10, opened(Side::Client)), Some(Told::Flow(1)));
    assert_eq!(note(&mut table, 9, 20, closed(Closed::default())), Some(Told::End(1)));
    table.kernel_closed(10, by_peer(), at(100));
    table.tick(at(6_000), |_| false);
    note(&mut table, 10, 6_001, opened(Side::Client));
    assert_eq!(note(&mut table, 10, 6_002, closed(Closed::default())), None, "the old end was of another connection");
}

#[test]
fn foreign_ends_never_fill_the_memory() {
    let mut table = table();
    for cookie in 0..10 * ORPHANS_MAX as u64 {
        table.kernel_closed(cookie + 100, by_peer(), at(0));
    }
    assert_eq!((table.orphans.len(), table.sizes()), (ORPHANS_MAX, (0, 0)));
}

#[test]
fn an_end_whose_event_was_lost_is_not_awaited_for_ever() {
    let mut table = table();
    note(&mut table, 9, 0, opened(Side::Client));
    note(&mut table, 9, 1, closed(Closed { weir_first: true, ..Closed::default() }));
    assert_eq!(table.tick(at(900), |_| false), []);
    assert_eq!(table.tick(at(1_500), |_| true), [], "the kernel still sends");
    assert_eq!(table.tick(at(1_600), |_| false), [Told::End(1)]);
    note(&mut table, 10, 2_000, opened(Side::Client));
    note(&mut table, 10, 2_001, closed(Closed::default()));
    assert_eq!(table.tick(at(122_100), |_| true), [Told::End(2)]);
    note(&mut table, 11, 0, opened(Side::Upstream));
    table.kernel_closed(11, by_peer(), at(1));
    assert_eq!(table.tick(at(6_000), |_| false), [Told::End(3)], "its worker's note was lost");
    assert_eq!(close_of(&table, 3), Some(("upstream", "fin")));
}

#[test]
fn without_the_kernel_half_the_workers_word_is_the_end() {
    let info = |state| Some(TcpInfo { state, segs_in: 2, segs_out: 1, bytes_received: 20, ..TcpInfo::default() });
    let closed_as = |weir_first, reset, timed_out, state| Closed { weir_first, timed_out, reset, info: info(state) };
    for (end, expected) in [
        (closed_as(false, false, false, state::CLOSE_WAIT), ("upstream", "fin")),
        (closed_as(true, false, false, state::ESTABLISHED), ("weir", "fin")),
        (closed_as(false, false, false, state::CLOSE), ("weir", "fin")),
        (closed_as(false, true, false, state::CLOSE), ("upstream", "rst")),
        (closed_as(true, true, false, state::ESTABLISHED), ("weir", "rst")),
        (closed_as(false, false, true, state::CLOSE), ("kernel", "timeout")),
    ] {
        let mut table = table();
        note(&mut table, 9, 0, opened(Side::Upstream));
        assert_eq!(note(&mut table, 9, 5, closed(end)), None);
        assert_eq!(table.kernel_is_silent(at(5)), [Told::End(1)]);
        assert_eq!(close_of(&table, 1), Some(expected));
        assert_eq!(table.sums().packets, 3);
    }
}

#[test]
fn a_reset_is_by_whoever_closed_first_and_a_timeout_by_the_kernel() {
    let cut = record(&[state::SYN_RECV, state::ESTABLISHED, state::CLOSE]);
    let repeated = Record { flags: mark::RTO, ..cut };
    let late = Record { flags: mark::RTO | mark::EXPIRED, ..cut };
    for (record, end, expected) in [
        (cut, Closed { weir_first: true, ..Closed::default() }, ("weir", "rst")),
        (cut, Closed::default(), ("client", "rst")),
        (cut, Closed { timed_out: true, ..Closed::default() }, ("kernel", "timeout")),
        (repeated, Closed::default(), ("client", "rst")),
        (late, Closed::default(), ("kernel", "timeout")),
    ] {
        let mut table = table();
        note(&mut table, 9, 0, opened(Side::Client));
        note(&mut table, 9, 1, closed(end));
        table.kernel_closed(9, record, at(2));
        assert_eq!(close_of(&table, 1), Some(expected));
    }
}

#[test]
fn a_denial_outweighs_what_was_allowed_after_it() {
    let mut table = table();
    note(&mut table, 9, 0, opened(Side::Client));
    let verdict = |denied, reason, host: Option<&str>| {
        News::Request(Box::new(Verdict {
            denied,
            reason,
            rule: None,
            trace_id: Default::default(),
            hostname: host.map(Into::into),
        }))
    };
    note(&mut table, 9, 1, verdict(false, Reason::Ok, Some("a.example")));
    note(&mut table, 9, 2, verdict(true, Reason::ConnectionLimit, None));
    note(&mut table, 9, 3, verdict(false, Reason::NoRoute, Some("b.example")));
    let flow = table.get(1).expect("it is open");
    assert!(flow.is_denied());
    assert_eq!(flow.verdict.as_ref().map(|verdict| verdict.reason), Some(Reason::ConnectionLimit));
    assert_eq!(flow.hostname.as_deref(), Some("b.example"));
}

#[test]
fn packets_counted_from_midway_are_marked_and_forgotten_when_they_are_counted_no_more() {
    let mut table = table();
    note(&mut table, 9, 0, opened(Side::Client));
    note(&mut table, 10, 20, opened(Side::Client));
    let wire = weir_common::abi::wire::Wire { packets_in: 5, ..Default::default() };
    for cookie in [9, 10] {
        table.learned(cookie, Figures::Wire { wire, since: at(10).at }, at(1_000));
    }
    let shown = |table: &Table| {
        let of = |number| table.get(number).map(|flow| (flow.partial, flow.packets().map(|wire| wire.packets_in)));
        (of(1), of(2))
    };
    assert_eq!(shown(&table), (Some((true, Some(5))), Some((false, Some(5)))));
    assert_eq!(table.changed().len(), 2);
    table.learned(9, Figures::Wire { wire, since: at(10).at }, at(2_000));
    assert_eq!(table.changed(), [], "no packet has moved");
    table.uncounted();
    assert_eq!(shown(&table), (Some((false, None)), Some((false, None))));
}

#[test]
fn sums_never_fall_when_packets_are_counted_no_more_and_when_flows_are_forgotten() {
    let mut table = table();
    note(&mut table, 9, 0, opened(Side::Client));
    table.learned(9, Figures::Record(by_peer()), at(1));
    let wire = weir_common::abi::wire::Wire { packets_in: 50, bytes_in: 5_000, ..Default::default() };
    table.learned(9, Figures::Wire { wire, since: at(0).at }, at(2));
    assert_eq!(table.get(1).and_then(Flow::packets), Some(wire));
    let sums = Sums { refused: 0, closed: 0, packets: 7, bytes: 70 };
    assert_eq!(table.sums(), sums);
    table.uncounted();
    assert_eq!(table.sums(), sums);
    table.clear();
    table.clear();
    assert_eq!(table.sums(), sums, "once each");
}

#[test]
fn the_table_is_bounded_on_both_ends() {
    let mut table = table();
    for cookie in 1..=6 {
        note(&mut table, cookie, 0, opened(Side::Client));
    }
    assert_eq!((table.sizes(), table.refused()), ((4, 0), 2));
    for cookie in 1..=4 {
        note(&mut table, cookie, 1, closed(Closed::default()));
        table.kernel_closed(cookie, by_peer(), at(2));
    }
    assert_eq!(table.sizes(), (0, 4), "the last end can still be told");
    table.trim();
    assert_eq!(table.sizes(), (0, 3));
    let kept: Vec<u64> = table.newest().map(|flow| flow.number).collect();
    assert_eq!(kept, [4, 3, 2]);
    table.bound(Bounds { open_max: 4, closed_max: 0 });
    table.trim();
    assert_eq!((table.sizes(), table.sums().closed), ((0, 0), 4));
}

#[test]
fn random_notes_and_events_leave_exactly_the_open_ones_open() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut table = Table::new(Bounds { open_max: 1_000, closed_max: 10 });
        // Per cookie: whether its worker and the kernel have let go.
        let mut oracle: HashMap<u64, (bool, bool)> = HashMap::new();
        let (mut next, mut ends) = (1, 0);
        for ms in 0..2_000 {
            let cookies: Vec<u64> = oracle.keys().copied().collect();
            let cookie = random.choice(&cookies).copied();
            let told = match (random.u8(..3), cookie) {
                (0, Some(cookie)) => {
                    oracle.entry(cookie).and_modify(|end| end.0 = true);
                    note(&mut table, cookie, ms, closed(Closed::default()))
                }
                (1, Some(cookie)) => {
                    oracle.entry(cookie).and_modify(|end| end.1 = true);
                    table.kernel_closed(cookie, by_peer(), at(ms))
                }
                _ => {
                    oracle.insert(next, (false, false));
                    next += 1;
                    note(&mut table, next - 1, ms, opened(Side::Client))
                }
            };
            oracle.retain(|_, end| *end != (true, true));
            ends += u64::from(matches!(told, Some(Told::End(_))));
            table.trim();
            assert_eq!(table.sizes().0, oracle.len(), "seed {seed} step {ms}");
            assert!(table.sizes().1 <= 10 && table.flows.len() == table.sizes().0 + table.sizes().1);
            assert_eq!(table.sums().closed, ends, "seed {seed} step {ms}");
        }
    }
}
