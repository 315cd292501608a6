//! What `ss -ti` says of a connection.

use std::net::SocketAddr;

use super::Namespace;

/// A connection as the kernel's own tool shows it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ss {
    /// Smoothed round trip.
    pub rtt_us: u32,
    /// The shortest.
    pub min_rtt_us: u32,
    /// Congestion window.
    pub cwnd: u32,
    /// Segments sent again, so far.
    pub retrans: u32,
    /// Segments received.
    pub segs_in: u32,
    /// Segments sent.
    pub segs_out: u32,
    /// Octets received.
    pub bytes_received: u64,
    /// Octets acknowledged.
    pub bytes_acked: u64,
}

impl Namespace {
    /// The connection between two addresses, `None` if there is none.
    #[track_caller]
    pub fn ss(&self, local: SocketAddr, remote: SocketAddr) -> Option<Ss> {
        let filter = format!("src {local} and dst {remote}");
        let text = self.output(&["ss", "-tinHO", &filter]);
        let line = text.lines().next()?;
        Some(Ss::of(line))
    }
}

impl Ss {
    fn of(line: &str) -> Self {
        // A value is `name:value`; one that is 0 is not shown.
        let value = |name: &str| {
            let words = line.split_whitespace();
            words.filter_map(|word| word.strip_prefix(name)?.strip_prefix(':')).next_back()
        };
        let number = |name: &str| value(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let us = |text: Option<&str>| {
            let ms: Option<f64> = text.and_then(|text| text.split('/').next()?.parse().ok());
            ms.map_or(0, |ms| (ms * 1000.0).round() as u32)
        };
        Self {
            rtt_us: us(value("rtt")),
            min_rtt_us: us(value("minrtt")),
            cwnd: number("cwnd") as u32,
            // retrans:NOW/TOTAL
            retrans: value("retrans").and_then(|text| text.split('/').nth(1)?.parse().ok()).unwrap_or(0),
            segs_in: number("segs_in") as u32,
            segs_out: number("segs_out") as u32,
            bytes_received: number("bytes_received"),
            bytes_acked: number("bytes_acked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read() {
        let line = "ESTAB 0 0 10.0.0.1:80 10.0.0.2:4 cubic wscale:7,7 rto:204 rtt:0.083/0.041 mss:1448 cwnd:10 \
            bytes_acked:7 bytes_received:5 segs_out:3 segs_in:4 retrans:0/2 minrtt:0.05";
        let ss = Ss::of(line);
        assert_eq!((ss.rtt_us, ss.min_rtt_us, ss.cwnd, ss.retrans), (83, 50, 10, 2));
        assert_eq!((ss.segs_in, ss.segs_out, ss.bytes_received, ss.bytes_acked), (4, 3, 5, 7));
    }
}
