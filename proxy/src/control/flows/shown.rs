//! Flows as the API and the wiretap show them.

use std::net::IpAddr;

use serde::Serialize;
use weir_common::abi::flow::mark;

use super::flow::{Flow, Life};
use crate::base::Instant;
use crate::trace::flow::Side;

/// What events of the wiretap hold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(in crate::control) struct Wiretapped {
    flow_id: String,
    side: &'static str,
    src_ip: IpAddr,
    dst_ip: IpAddr,
    src_port: u16,
    dst_port: u16,
    proto: &'static str,
    proto_number: u8,
    packets_in: Option<u64>,
    packets_out: Option<u64>,
    bytes_in: Option<u64>,
    bytes_out: Option<u64>,
    partial: bool,
    last_seen: u64,
    hostname: Option<String>,
    node_id: String,
    verdict: &'static str,
    reason: Option<&'static str>,
    rule: Option<String>,
    trace_id: Option<String>,
    #[serde(flatten)]
    end: Option<End>,
}

/// What is known at a flow's end alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct End {
    close: Option<Close>,
    srtt_us: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Close {
    by: &'static str,
    how: &'static str,
}

/// A flow in the list of all.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(in crate::control) struct Listed {
    #[serde(flatten)]
    flow: Wiretapped,
    state: &'static str,
    opened: String,
    closed: Option<String>,
    close: Option<Close>,
    worker: u16,
    listener: Option<String>,
    kernel: Kernel,
}

/// What the kernel knows of a connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Kernel {
    source: &'static str,
    /// SYN to established.
    syn_us: Option<u64>,
    accept_wait_us: Option<u64>,
    syn_to_accept_us: Option<u64>,
    connect_us: Option<u64>,
    srtt_us: Option<u32>,
    min_rtt_us: Option<u32>,
    cwnd: Option<u32>,
    retrans_total: Option<u32>,
    segs_in: Option<u32>,
    segs_out: Option<u32>,
    wire_in: Option<u64>,
    wire_out: Option<u64>,
    /// Names of the above that are null though the connection has them.
    unavailable: Vec<&'static str>,
    /// Why they are.
    why: Option<&'static str>,
}

impl Wiretapped {
    pub(super) fn of(flow: &Flow, node_id: &str) -> Self {
        let subject = flow.subject();
        let (src, dst) = (subject.source, subject.destination);
        let packets = flow.packets();
        let verdict = flow.verdict.as_deref();
        let traced = verdict.filter(|verdict| verdict.trace_id.0 != 0);
        let is_over = matches!(flow.life, Life::Closed(_));
        Self {
            flow_id: flow.cookie.to_string(),
            side: flow.opened.side.token(),
            src_ip: src.ip(),
            dst_ip: dst.ip(),
            src_port: src.port(),
            dst_port: dst.port(),
            proto: "tcp",
            proto_number: 6,
            packets_in: packets.map(|wire| wire.packets_in),
            packets_out: packets.map(|wire| wire.packets_out),
            bytes_in: packets.map(|wire| wire.bytes_in),
            bytes_out: packets.map(|wire| wire.bytes_out),
            partial: flow.partial,
            last_seen: flow.last_seen,
            hostname: subject.hostname.map(String::from),
            node_id: node_id.to_owned(),
            verdict: if flow.is_denied() { "deny" } else { "allow" },
            reason: verdict.map(|verdict| verdict.reason.token()),
            rule: verdict.and_then(|verdict| verdict.rule.as_deref().map(str::to_owned)),
            trace_id: traced.map(|verdict| format!("{:032x}", verdict.trace_id.0)),
            end: is_over.then(|| End { close: close(flow), srtt_us: flow.srtt_us() }),
        }
    }
}

impl Listed {
    pub(super) fn of(flow: &Flow, node_id: &str) -> Self {
        let closed = if let Life::Closed(moment) = flow.life { Some(moment) } else { None };
        Self {
            flow: Wiretapped { end: None, ..Wiretapped::of(flow, node_id) },
            state: match flow.life {
                Life::Open => "open",
                Life::Closing(_) => "closing",
                Life::Closed(_) => "closed",
            },
            opened: rfc3339(flow.begun.unix_ns),
            closed: closed.map(|moment| rfc3339(moment.unix_ns)),
            close: closed.and_then(|_| close(flow)),
            worker: flow.opened.worker,
            listener: flow.opened.listener.as_deref().map(str::to_owned),
            kernel: Kernel::of(flow),
        }
    }
}

impl Kernel {
    fn of(flow: &Flow) -> Self {
        let kernel = Self { srtt_us: flow.srtt_us(), ..Self::times(flow) };
        let kernel = match (flow.figures(), &flow.info) {
            (Some(record), _) => Self {
                min_rtt_us: Some(record.min_rtt_us).filter(|&us| us != 0 && us != u32::MAX),
                cwnd: Some(record.cwnd),
                retrans_total: Some(record.retrans),
                segs_in: Some(record.segs_in),
                segs_out: Some(record.segs_out),
                wire_in: Some(record.bytes_received),
                wire_out: Some(record.bytes_acked),
                ..kernel
            },
            (None, Some(info)) => Self {
                min_rtt_us: info.min_rtt_us,
                cwnd: Some(info.cwnd),
                retrans_total: Some(info.retrans),
                segs_in: Some(info.segs_in),
                segs_out: Some(info.segs_out),
                wire_in: Some(info.bytes_received),
                wire_out: Some(info.bytes_acked),
                ..kernel
            },
            (None, None) => kernel,
        };
        kernel.explained(flow.opened.side)
    }

    /// Where the facts come from, and what the kernel half's clock says of the beginning.
    fn times(flow: &Flow) -> Self {
        let record = flow.record.as_deref();
        let source = match (record, &flow.info) {
            (Some(record), None) if record.flags & mark::FALLBACK != 0 => "ebpf",
            (Some(record), _) if record.flags & mark::FALLBACK == 0 => "ebpf",
            (_, Some(_)) => "tcp_info",
            _ => "none",
        };
        let (syn, open) = record.map_or((0, 0), |record| (record.syn_ns, record.open_ns));
        let handshake = between(syn, open);
        let accepted = flow.begun.at.nanos();
        let is_client = flow.opened.side == Side::Client;
        let of_client = |us: Option<u64>| us.filter(|_| is_client);
        Self {
            source,
            syn_us: of_client(handshake),
            accept_wait_us: of_client(between(open, accepted)),
            syn_to_accept_us: of_client(between(syn, accepted)),
            connect_us: handshake.filter(|_| !is_client),
            srtt_us: None,
            min_rtt_us: None,
            cwnd: None,
            retrans_total: None,
            segs_in: None,
            segs_out: None,
            wire_in: None,
            wire_out: None,
            unavailable: Vec::new(),
            why: None,
        }
    }

    fn explained(mut self, side: Side) -> Self {
        let of_client = side == Side::Client;
        let nulls = [
            ("syn_us", of_client && self.syn_us.is_none()),
            ("accept_wait_us", of_client && self.accept_wait_us.is_none()),
            ("connect_us", !of_client && self.connect_us.is_none()),
            ("srtt_us", self.srtt_us.is_none()),
            ("min_rtt_us", self.min_rtt_us.is_none()),
            ("cwnd", self.cwnd.is_none()),
            ("retrans_total", self.retrans_total.is_none()),
            ("segs_in", self.segs_in.is_none()),
            ("segs_out", self.segs_out.is_none()),
            ("wire_in", self.wire_in.is_none()),
            ("wire_out", self.wire_out.is_none()),
        ];
        self.unavailable = nulls.into_iter().filter_map(|(name, null)| null.then_some(name)).collect();
        self.why = (!self.unavailable.is_empty()).then_some(match self.source {
            "ebpf" => "the flow programs did not see it: SYN cookies, no round trip yet, or the tracepoint alone",
            "tcp_info" => "TCP_INFO does not tell: the flow programs are not attached",
            _ => "the flow programs are not attached, and TCP_INFO is asked at the close, or while somebody watches",
        });
        self
    }
}

/// Microseconds between two times of the kernel's clock; none where one is unknown.
fn between(from: u64, to: u64) -> Option<u64> {
    let since = Instant::from_nanos(to).since(Instant::from_nanos(from));
    (from != 0 && to != 0).then(|| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn close(flow: &Flow) -> Option<Close> {
    flow.close().map(|close| Close { by: close.by, how: close.how })
}

fn rfc3339(unix_ns: u64) -> String {
    let us = i64::try_from(unix_ns / 1_000).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(us).map_or_else(|_| String::new(), |time| time.to_string())
}
