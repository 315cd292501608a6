//! Round trips and loss, beside what the kernel's own tools say of them.

use std::io::{Read, Write};
use std::time::Duration;

use weir_common::abi::flow::{self, FlowConf, Kind, want};
use weir_tests::netns::Pair;
use weir_tests::object::set_only;
use weir_tests::wait;

use crate::setting::{Setting, Watch, cookie, ends};

/// Sends through a queue that is slow and short, and so drops.
const OCTETS: usize = 1_500_000;

#[test]
fn figures_under_loss_are_those_of_ss_and_of_the_kernels_counters() {
    let setting = Setting::new();
    let mut watch = Watch::new(&setting, &[]);
    set_only(&mut watch.ebpf, flow::map::FLOW_CONF, FlowConf { flags: want::RTT, pad: 0 });
    setting.pair.narrow("20mbit", 30_000);
    let (mut weir, mut peer) = setting.accepted(Pair::SERVER);
    let (cookie, (local, remote)) = (cookie(&weir), ends(&weir));
    std::thread::scope(|scope| {
        let received = scope.spawn(|| peer.read_exact(&mut vec![0; OCTETS]).unwrap());
        weir.write_all(&vec![b'x'; OCTETS]).unwrap();
        received.join().unwrap();
    });
    let ss = || setting.pair.server.ss(local, remote).expect("an open connection");
    wait::until("all is acknowledged", || ss().bytes_acked == OCTETS as u64);
    let open = watch.flows.get(cookie).expect("a record");
    assert!(open.srtt_us / 8 > 2_000, "a queue that delays: {open:?}");
    // What came within the last millisecond is not in the record: after a pause, and an exchange, all of it is.
    wait::until("the record is as fresh as ss", || {
        weir.write_all(b"x").unwrap();
        peer.read_exact(&mut [0; 1]).unwrap();
        let (ss, flow) = (ss(), watch.flows.get(cookie).expect("a record"));
        flow.bytes_acked == ss.bytes_acked && (flow.srtt_us / 8).abs_diff(ss.rtt_us) <= 1 && flow.cwnd == ss.cwnd
    });
    let ss = ss();
    drop(weir);
    assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    drop(peer);
    let flow = watch.closed(cookie);
    assert!(flow.retrans > 0, "a queue that drops: {flow:?}");
    assert_eq!(u64::from(flow.retrans), setting.pair.server.snmp("Tcp", "RetransSegs"));
    assert_eq!((flow.retrans, flow.min_rtt_us), (ss.retrans, ss.min_rtt_us), "{flow:?} {ss:?}");
    let told: Vec<_> = watch.told().iter().filter(|told| told.is(Kind::Retrans, cookie)).copied().collect();
    assert_eq!(told.last().map(|told| told.event.a), Some(flow.retrans), "the last tells how many in all");
    assert!(told.is_sorted_by_key(|told| (told.event.ts, told.event.a)));
}

#[test]
fn a_timer_that_runs_out_is_told() {
    let setting = Setting::new();
    let mut watch = Watch::new(&setting, &[]);
    let (mut weir, _peer) = setting.accepted(Pair::SERVER);
    setting.pair.cut();
    weir.write_all(b"into the void").unwrap();
    assert_eq!(watch.event(Kind::Rto, cookie(&weir)).event.a, 0, "the first in a row");
    let again = watch.event(Kind::Retrans, cookie(&weir));
    assert_eq!(again.event.a, 1);
}

#[test]
fn round_trips_are_told_only_if_wanted_and_at_most_each_millisecond() {
    let setting = Setting::new();
    let mut watch = Watch::new(&setting, &[]);
    let exchanges = |watch: &mut Watch| {
        let (mut weir, mut peer) = setting.accepted(Pair::SERVER);
        let start = std::time::Instant::now();
        for _ in 0..200 {
            weir.write_all(b"?").unwrap();
            peer.read_exact(&mut [0; 1]).unwrap();
            peer.write_all(b"!").unwrap();
            weir.read_exact(&mut [0; 1]).unwrap();
        }
        let took = start.elapsed();
        let cookie = cookie(&weir);
        (watch.told().iter().filter(|told| told.is(Kind::Rtt, cookie)).count(), took)
    };
    assert_eq!(exchanges(&mut watch).0, 0, "not wanted");
    set_only(&mut watch.ebpf, flow::map::FLOW_CONF, FlowConf { flags: want::RTT, pad: 0 });
    let (told, took) = exchanges(&mut watch);
    assert!(told > 0, "wanted");
    assert!(told as u128 <= (took + Duration::from_millis(2)).as_millis(), "{told} in {took:?}");
}
