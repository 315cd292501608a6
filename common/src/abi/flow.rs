//! Group flow: the maps of the sock_ops program and of its fallback, the tracepoint.

use super::Address;
use super::plain::plain;

/// Names of the maps, as the object has them.
pub mod map {
    /// LRU hash cookie (u64) -> time of the SYN (u64).
    pub const SYN_AT: &str = "SYN_AT";
    /// Hash cookie (u64) -> [`Flow`](super::Flow).
    pub const FLOWS: &str = "FLOWS";
    /// The fallback's FLOWS, an LRU hash: it sees the connections of the whole machine.
    pub const FLOWS_SEEN: &str = "FLOWS_SEEN";
    /// Ring of [`Event`](super::Event), in OPEN and CLOSE followed by a [`Flow`](super::Flow).
    pub const FLOW_EVENTS: &str = "FLOW_EVENTS";
    /// Array of one [`FlowConf`](super::FlowConf).
    pub const FLOW_CONF: &str = "FLOW_CONF";
    /// Per-CPU array of one [`FlowCount`](super::FlowCount).
    pub const FLOW_COUNT: &str = "FLOW_COUNT";
}

/// The sock_ops program's name.
pub const PROGRAM: &str = "weir_flow";
/// The fallback's name: tp_btf `inet_sock_set_state`.
pub const PROGRAM_FALLBACK: &str = "weir_flow_states";

/// Entries of SYN_AT.
pub const SYN_AT_MAX: u32 = 16_384;
/// Entries of FLOWS and FLOWS_SEEN, unless `flows_max` says otherwise.
pub const FLOWS_MAX: u32 = 65_536;
/// Octets of FLOW_EVENTS, unless `flow_ring` says otherwise.
pub const FLOW_RING_OCTETS: u32 = 1024 * 1024;

plain! {
    /// What user space wants of the program.
    pub struct FlowConf: 8 {
        /// Bits of [`want`].
        pub flags: u32,
        /// Always 0.
        pub pad: u32,
    }
}

/// Bits of [`FlowConf::flags`].
pub mod want {
    /// Refresh and tell at each measured round trip, at most each millisecond, on connections that open from now on.
    pub const RTT: u32 = 1;
}

plain! {
    /// What the program could not do, per CPU.
    pub struct FlowCount: 16 {
        /// Events that FLOW_EVENTS had no room for.
        pub lost: u64,
        /// Connections that FLOWS had no room for.
        pub full: u64,
    }
}

plain! {
    /// One TCP connection. Times by CLOCK_MONOTONIC; 0 is unknown, or not yet.
    pub struct Flow: 112 {
        /// The SYN that came, or that weir sent.
        pub syn_ns: u64,
        /// Established.
        pub open_ns: u64,
        /// Into CLOSE; 0 while open.
        pub close_ns: u64,
        /// Each step `old << 4 | new`, the last in the lowest octet.
        pub states: u64,
        /// Smoothed round trip, in microseconds times 8, as the kernel keeps it.
        pub srtt_us: u32,
        /// Shortest round trip.
        pub min_rtt_us: u32,
        /// Congestion window, in segments.
        pub cwnd: u32,
        /// Segments sent again.
        pub retrans: u32,
        /// Segments received.
        pub segs_in: u32,
        /// Segments sent.
        pub segs_out: u32,
        /// Octets received; the peer's FIN counts as one.
        pub bytes_received: u64,
        /// Octets sent and acknowledged; our FIN counts as one, and so does our SYN where we connected.
        pub bytes_acked: u64,
        /// Our address.
        pub local: Address,
        /// The peer's.
        pub remote: Address,
        /// Our port.
        pub local_port: u16,
        /// The peer's.
        pub remote_port: u16,
        /// Bits of [`mark`].
        pub flags: u32,
    }
}

/// Bits of [`Flow::flags`].
pub mod mark {
    /// weir connected; otherwise the peer did.
    pub const ACTIVE: u32 = 1;
    /// A retransmission timer ran out, and a segment was sent again.
    pub const RTO: u32 = 1 << 1;
    /// It ran out for the last time: the kernel gave up.
    pub const EXPIRED: u32 = 1 << 2;
    /// Seen by the fallback: addresses and figures are unknown.
    pub const FALLBACK: u32 = 1 << 3;
    /// From this bit up: the time of the last refresh in units of 2^20 ns, about a millisecond, modulo 2^24. The
    /// program's own.
    pub const STAMP_SHIFT: u32 = 8;
}

plain! {
    /// Record of FLOW_EVENTS; OPEN and CLOSE are followed by a [`Flow`].
    pub struct Event: 24 {
        /// When, by CLOCK_MONOTONIC.
        pub ts: u64,
        /// The socket's cookie.
        pub cookie: u64,
        /// Number of a [`Kind`].
        pub kind: u32,
        /// By kind: see there.
        pub a: u32,
    }
}

plain! {
    /// An OPEN or CLOSE, whole.
    pub struct EventFlow: 136 {
        /// The event.
        pub event: Event,
        /// The connection at that time.
        pub flow: Flow,
    }
}

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Kind {
    /// Established. `a` is 0. A [`Flow`] follows.
    Open = 1,
    /// A segment was sent again. `a`: how many so far.
    Retrans = 2,
    /// A retransmission timer ran out. `a`: how often in a row.
    Rto = 3,
    /// A round trip was measured. `a`: its microseconds; the smoothed ones before Linux 6.11.
    Rtt = 4,
    /// Closed. `a` is the last step, as in [`Flow::states`]. A [`Flow`] follows.
    Close = 5,
}

impl Kind {
    /// The kind of an event.
    pub fn of(number: u32) -> Option<Self> {
        [Self::Open, Self::Retrans, Self::Rto, Self::Rtt, Self::Close].into_iter().find(|kind| *kind as u32 == number)
    }

    /// As traces and docs name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Retrans => "retrans",
            Self::Rto => "rto",
            Self::Rtt => "rtt",
            Self::Close => "close",
        }
    }
}

/// TCP's states by the kernel's numbers (`BPF_TCP_*`, a stable interface).
pub mod state {
    /// ESTABLISHED.
    pub const ESTABLISHED: u8 = 1;
    /// SYN_SENT.
    pub const SYN_SENT: u8 = 2;
    /// SYN_RECV.
    pub const SYN_RECV: u8 = 3;
    /// FIN_WAIT1.
    pub const FIN_WAIT1: u8 = 4;
    /// FIN_WAIT2.
    pub const FIN_WAIT2: u8 = 5;
    /// TIME_WAIT.
    pub const TIME_WAIT: u8 = 6;
    /// CLOSE.
    pub const CLOSE: u8 = 7;
    /// CLOSE_WAIT.
    pub const CLOSE_WAIT: u8 = 8;
    /// LAST_ACK.
    pub const LAST_ACK: u8 = 9;
    /// LISTEN.
    pub const LISTEN: u8 = 10;
    /// CLOSING.
    pub const CLOSING: u8 = 11;
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// The other side.
    Peer,
    /// weir.
    Weir,
    /// The kernel gave up.
    Kernel,
}

/// How a connection ended, as far as the kernel's steps tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// Both sides said FIN.
    Fin,
    /// One side reset it.
    Rst,
    /// Nothing came back any more.
    Timeout,
}

impl Flow {
    /// How a closed connection ended, and by whom; `weir_first` and `timed_out` are what weir's worker knows: that it
    /// closed before anything else happened, that a call returned ETIMEDOUT.
    pub fn close(&self, weir_first: bool, timed_out: bool) -> (How, By) {
        let from = (self.states >> 4) as u8 & 0xf;
        if matches!(from, state::LAST_ACK | state::FIN_WAIT2 | state::CLOSING) {
            return (How::Fin, if self.left_established_to() == Some(state::CLOSE_WAIT) { By::Peer } else { By::Weir });
        }
        if timed_out || self.flags & mark::EXPIRED != 0 {
            return (How::Timeout, By::Kernel);
        }
        (How::Rst, if weir_first { By::Weir } else { By::Peer })
    }

    /// The state that followed ESTABLISHED.
    fn left_established_to(&self) -> Option<u8> {
        let steps = self.states.to_be_bytes().into_iter();
        steps.filter(|step| step >> 4 == state::ESTABLISHED).map(|step| step & 0xf).next()
    }
}

#[cfg(test)]
mod tests {
    use super::state::*;
    use super::*;

    fn flow(path: &[u8]) -> Flow {
        let states = path.windows(2).fold(0, |all, step| all << 8 | u64::from(step[0] << 4 | step[1]));
        Flow { states, ..Flow::default() }
    }

    #[test]
    fn a_fin_is_by_whoever_left_established() {
        let peer = flow(&[SYN_RECV, ESTABLISHED, CLOSE_WAIT, LAST_ACK, CLOSE]);
        assert_eq!(peer.close(true, false), (How::Fin, By::Peer));
        for tail in [[FIN_WAIT1, FIN_WAIT2, CLOSE], [FIN_WAIT1, CLOSING, CLOSE]] {
            let weir = flow(&[[SYN_SENT, ESTABLISHED].as_slice(), &tail].concat());
            assert_eq!(weir.close(false, false), (How::Fin, By::Weir));
        }
    }

    #[test]
    fn anything_else_is_a_timeout_or_a_reset() {
        let mut cut = flow(&[SYN_RECV, ESTABLISHED, CLOSE]);
        assert_eq!(cut.close(false, false), (How::Rst, By::Peer));
        assert_eq!(cut.close(true, false), (How::Rst, By::Weir));
        assert_eq!(cut.close(true, true), (How::Timeout, By::Kernel));
        cut.flags |= mark::RTO;
        assert_eq!(cut.close(false, false), (How::Rst, By::Peer));
        cut.flags |= mark::EXPIRED;
        assert_eq!(cut.close(false, false), (How::Timeout, By::Kernel));
    }

    #[test]
    fn kinds_are_told_by_their_numbers() {
        assert_eq!((Kind::of(0), Kind::of(5), Kind::of(6)), (None, Some(Kind::Close), None));
    }
}
