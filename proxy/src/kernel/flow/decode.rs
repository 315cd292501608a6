//! Records of the flow maps as the flow table takes them.

use std::net::{IpAddr, SocketAddr};

use weir_common::abi::flow::{self, Flow, mark};
use weir_common::abi::{Plain, wire};

use crate::base::Instant;
use crate::control::flows::source::{Event, Packets, Record, What};

/// How far the kernel's smoothed round trip is shifted (tcp(7) shows it without).
const SRTT_SHIFT: u32 = 3;

/// An event of the ring; none if it is not one that is known.
pub(super) fn event(octets: &[u8]) -> Option<Event> {
    let event = flow::Event::from_slice(octets)?;
    let whole = || Some(record(&flow::EventFlow::from_slice(octets)?.flow));
    let what = match flow::Kind::of(event.kind)? {
        flow::Kind::Open => What::Open(whole()?),
        flow::Kind::Close => What::Close(whole()?),
        flow::Kind::Retrans => What::Retransmit,
        flow::Kind::Rto => What::Timeout,
        flow::Kind::Rtt => What::Rtt(event.a),
    };
    Some(Event { at: Instant::from_nanos(event.ts), cookie: event.cookie, what })
}

pub(super) fn record(flow: &Flow) -> Record {
    let at = |ns: u64| Some(Instant::from_nanos(ns)).filter(|_| ns != 0);
    Record {
        local: SocketAddr::new(IpAddr::from(flow.local), flow.local_port),
        remote: SocketAddr::new(IpAddr::from(flow.remote), flow.remote_port),
        syn_at: at(flow.syn_ns),
        opened_at: Instant::from_nanos(flow.open_ns),
        closed_at: at(flow.close_ns),
        states: flow.states,
        timed_out: flow.flags & mark::RTO != 0,
        srtt_us: flow.srtt_us >> SRTT_SHIFT,
        min_rtt_us: flow.min_rtt_us,
        cwnd: flow.cwnd,
        retrans: flow.retrans,
        segs_in: flow.segs_in,
        segs_out: flow.segs_out,
        bytes_received: flow.bytes_received,
        bytes_acked: flow.bytes_acked,
    }
}

pub(super) fn packets(wire: &wire::Wire) -> Packets {
    Packets {
        packets_in: wire.packets_in,
        bytes_in: wire.bytes_in,
        packets_out: wire.packets_out,
        bytes_out: wire.bytes_out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        let address = |last| IpAddr::from([192, 0, 2, last]).into();
        Flow {
            open_ns: 5,
            srtt_us: 80,
            local: address(1),
            remote: address(2),
            local_port: 80,
            remote_port: 4000,
            flags: mark::RTO,
            ..Flow::default()
        }
    }

    #[test]
    fn an_open_bears_the_connection() {
        let event = flow::Event { ts: 7, cookie: 9, kind: flow::Kind::Open as u32, a: 0 };
        let whole = flow::EventFlow { event, flow: flow() };
        let read = super::event(&whole.octets()).expect("an event");
        let What::Open(record) = read.what else { panic!("{read:?}") };
        assert_eq!((read.at.nanos(), read.cookie), (7, 9));
        assert_eq!((record.local, record.remote), ("192.0.2.1:80".parse().unwrap(), "192.0.2.2:4000".parse().unwrap()));
        assert_eq!((record.syn_at, record.closed_at, record.opened_at.nanos()), (None, None, 5));
        assert_eq!((record.srtt_us, record.timed_out), (10, true));
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_no_event() {
        let event = flow::Event { ts: 7, cookie: 9, kind: flow::Kind::Close as u32, a: 0 };
        assert_eq!(super::event(&event.octets()), None, "a close without its record");
        assert_eq!(super::event(&flow::Event { kind: 99, ..event }.octets()), None);
        assert_eq!(super::event(&event.octets()[..23]), None);
        let retrans = flow::Event { kind: flow::Kind::Retrans as u32, ..event };
        assert_eq!(super::event(&retrans.octets()).map(|event| event.what), Some(What::Retransmit));
    }
}
