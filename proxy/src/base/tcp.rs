//! What TCP_INFO says of a connection, as a value.

/// The kernel's account of one connection at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpInfo {
    /// The state, by the kernel's number.
    pub state: u8,
    /// Smoothed round trip, in microseconds.
    pub srtt_us: u32,
    /// Shortest round trip, in microseconds; none before the first.
    pub min_rtt_us: Option<u32>,
    /// Congestion window, in segments.
    pub cwnd: u32,
    /// Segments sent again.
    pub retrans: u32,
    /// Segments received.
    pub segs_in: u32,
    /// Segments sent.
    pub segs_out: u32,
    /// Octets received.
    pub bytes_received: u64,
    /// Octets sent that the peer has acknowledged.
    pub bytes_acked: u64,
}
