//! What the kernel half offers about connections, as the flow table takes it: events, a record by cookie, packet counts.

use std::net::SocketAddr;

use crate::base::Instant;

/// Where kernel facts of connections come from. Implemented by the kernel half; without one there is [`Absent`].
///
/// Every call but [`FlowSource::enable`] and [`FlowSource::count_packets`] is short and never waits; those two load
/// and attach programs, so they are called where blocking is allowed.
pub trait FlowSource: Send + Sync {
    /// What the facts rest on now; it may change while the process lives, as programs are lost and attached again.
    fn kind(&self) -> Kind;

    /// Whether events of connections that are not weir's may come: a cgroup that others share, or the whole host. The
    /// table then keeps nothing for a cookie that no worker has named within a short time.
    fn sees_foreign(&self) -> bool;

    /// Hands over the events that wait, oldest first. Called each 10 ms by one task.
    fn drain(&self, take: &mut dyn FnMut(Event));

    /// Events that the kernel could not queue since the start.
    fn lost(&self) -> u64;

    /// The record of an open connection, as of its last callback; none once it is closed.
    fn record(&self, cookie: u64) -> Option<Record>;

    /// Attaches (true) or detaches the flow programs and, with them, frees their maps and rings: performance mode.
    /// To do what is done already is no error.
    ///
    /// # Errors
    /// Why they could not be attached; the source goes on as [`Kind::None`].
    fn enable(&self, on: bool) -> Result<(), String>;

    /// Attaches (true) or detaches the programs that count packets.
    ///
    /// # Errors
    /// Why they could not be attached; [`FlowSource::packets`] then knows nothing.
    fn count_packets(&self, on: bool) -> Result<(), String>;

    /// Packets of a connection since they are counted; none while they are not, or before its first packet.
    fn packets(&self, cookie: u64) -> Option<Packets>;
}

/// What kernel facts rest on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// sock_ops: everything.
    SockOps,
    /// The tracepoint of state changes: when it opened and how it closed; the rest is asked of TCP_INFO.
    Tracepoint,
    /// Nothing: TCP_INFO alone.
    None,
}

/// Something that happened to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// CLOCK_MONOTONIC.
    pub at: Instant,
    /// The socket's SO_COOKIE.
    pub cookie: u64,
    /// What it was.
    pub what: What,
}

/// What happened to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// It is established.
    Open(Record),
    /// A segment was sent again.
    Retransmit,
    /// The retransmission timer fired.
    Timeout,
    /// A round trip was measured, in microseconds.
    Rtt(u32),
    /// It is closed; nothing follows.
    Close(Record),
}

/// What the kernel knows of a connection. A number that the source cannot tell is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// weir's end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// The first SYN, or the connect; none under SYN cookies.
    pub syn_at: Option<Instant>,
    /// When it was established.
    pub opened_at: Instant,
    /// When it was closed.
    pub closed_at: Option<Instant>,
    /// State changes, newest in the lowest octet: the old state in its upper half, the new in its lower.
    pub states: u64,
    /// A retransmission timer has fired.
    pub timed_out: bool,
    /// Smoothed round trip, in microseconds.
    pub srtt_us: u32,
    /// Shortest round trip, in microseconds.
    pub min_rtt_us: u32,
    /// Congestion window, in segments.
    pub cwnd: u32,
    /// Segments sent again.
    pub retrans: u32,
    /// Segments received.
    pub segs_in: u32,
    /// Segments sent.
    pub segs_out: u32,
    /// Octets received; SYN and FIN count as one each.
    pub bytes_received: u64,
    /// Octets sent that the peer has acknowledged; SYN and FIN count as one each.
    pub bytes_acked: u64,
}

/// IP packets of a connection, handshake excluded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Packets {
    /// Packets received.
    pub packets_in: u64,
    /// Their octets, IP header included.
    pub bytes_in: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Their octets, IP header included.
    pub bytes_out: u64,
}

/// No kernel half: nothing is known, and asking costs nothing.
#[derive(Clone, Copy, Debug)]
pub struct Absent;

impl FlowSource for Absent {
    fn kind(&self) -> Kind {
        Kind::None
    }

    fn sees_foreign(&self) -> bool {
        false
    }

    fn drain(&self, _: &mut dyn FnMut(Event)) {}

    fn lost(&self) -> u64 {
        0
    }

    fn record(&self, _: u64) -> Option<Record> {
        None
    }

    fn enable(&self, _: bool) -> Result<(), String> {
        Ok(())
    }

    fn count_packets(&self, _: bool) -> Result<(), String> {
        Ok(())
    }

    fn packets(&self, _: u64) -> Option<Packets> {
        None
    }
}
