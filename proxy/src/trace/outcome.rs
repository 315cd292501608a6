//! The facts of one finished request, borrowed from where they lie.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::metric::Phase;
use crate::base::{Reason, id::RequestId};

/// Header fields by name, in whatever form the message model keeps them.
pub trait Fields {
    /// The first value of a field; `name` is lower case.
    fn field(&self, name: &str) -> Option<&[u8]>;
}

impl Fields for () {
    fn field(&self, _: &str) -> Option<&[u8]> {
        None
    }
}

/// Where a request's time went; a phase it never reached is absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Phases([u32; Phase::COUNT]);

const UNREACHED: u32 = u32::MAX;

impl Default for Phases {
    fn default() -> Self {
        Self([UNREACHED; Phase::COUNT])
    }
}

impl Phases {
    /// Adds time to a phase, which is thereby reached.
    pub fn add(&mut self, phase: Phase, duration: Duration) {
        let us = u32::try_from(duration.as_micros()).unwrap_or(UNREACHED - 1);
        let slot = &mut self.0[phase as usize];
        *slot = if *slot == UNREACHED { us } else { slot.saturating_add(us) }.min(UNREACHED - 1);
    }

    /// Microseconds in a phase.
    pub fn us(&self, phase: Phase) -> Option<u32> {
        Some(self.0[phase as usize]).filter(|&us| us != UNREACHED)
    }
}

/// The TLS that a request came by.
#[derive(Clone, Copy, Debug)]
pub struct Tls<'a> {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite's name.
    pub cipher: &'static str,
    /// The application protocol that was negotiated.
    pub alpn: Option<&'a [u8]>,
    /// Whether the session went on from an earlier one.
    pub resumed: bool,
    /// The name that the client asked for.
    pub sni: Option<&'a str>,
}

/// One finished request. `request` fills it in once the last octet has left, or the request has failed; what is
/// unknown because the request ended early is absent.
#[derive(Clone)]
pub struct Outcome<'a> {
    /// The record's id.
    pub id: RequestId,
    /// The id a trusted peer gave; absent: `id`.
    pub request_id: Option<&'a [u8]>,
    /// This node.
    pub node_id: &'a str,
    /// The worker's number.
    pub worker: u16,
    /// The configuration's generation at the head.
    pub generation: u64,
    /// When the first octet came: nanoseconds since 1970.
    pub start_unix_ns: u64,
    /// From then to the last octet of the response.
    pub total: Duration,
    /// The same, in parts.
    pub phases: Phases,

    /// The resolved client; absent on a Unix socket.
    pub client_ip: Option<IpAddr>,
    /// The connection's other end; absent on a Unix socket.
    pub peer_ip: Option<IpAddr>,
    /// `1.0`, `1.1` or `2`.
    pub http_version: Option<&'static str>,
    /// The listener's name.
    pub listener: &'a str,
    /// What the client's TLS handshake agreed on; absent without TLS.
    pub tls: Option<Tls<'a>>,

    /// The method as received.
    pub method: Option<&'a [u8]>,
    /// The normalised host.
    pub host: Option<&'a [u8]>,
    /// The path as received, without the query.
    pub path: Option<&'a [u8]>,
    /// The query as received, without `?`.
    pub query: Option<&'a [u8]>,
    /// The request's header fields.
    pub headers: &'a dyn Fields,

    /// The status that was sent; absent if none was.
    pub status: Option<u16>,
    /// The one final reason.
    pub reason: Reason,
    /// Octets of the request, head included.
    pub bytes_in: u64,
    /// Octets of the response, head included.
    pub bytes_out: u64,
    /// Octets of the request's body.
    pub body_in: u64,
    /// Octets of the response's body.
    pub body_out: u64,

    /// The ban that refused it.
    pub ban: Option<&'a str>,
    /// The id of the rate limit that refused it.
    pub limit_id: Option<&'a str>,
    /// Its name.
    pub limit: Option<&'a str>,
    /// The route's id.
    pub route_id: Option<u32>,
    /// The route's name.
    pub route: Option<&'a str>,
    /// The target's name.
    pub target: Option<&'a str>,
    /// `direct` or `static`.
    pub target_type: Option<&'static str>,
    /// The endpoint's address.
    pub endpoint: Option<&'a str>,
    /// Endpoints tried.
    pub attempts: u32,
    /// Whether the last try was on a connection that had carried an exchange before.
    pub reused: bool,
}

impl<'a> Outcome<'a> {
    /// An outcome of which only its beginning and its end are known.
    pub fn new(id: RequestId, listener: &'a str, reason: Reason) -> Self {
        Self {
            id,
            request_id: None,
            node_id: "",
            worker: 0,
            generation: 0,
            start_unix_ns: 0,
            total: Duration::ZERO,
            phases: Phases::default(),
            client_ip: None,
            peer_ip: None,
            http_version: None,
            listener,
            tls: None,
            method: None,
            host: None,
            path: None,
            query: None,
            headers: &(),
            status: None,
            reason,
            bytes_in: 0,
            bytes_out: 0,
            body_in: 0,
            body_out: 0,
            ban: None,
            limit_id: None,
            limit: None,
            route_id: None,
            route: None,
            target: None,
            target_type: None,
            endpoint: None,
            attempts: 0,
            reused: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_that_was_not_reached_differs_from_one_that_took_no_time() {
        let mut phases = Phases::default();
        phases.add(Phase::Head, Duration::ZERO);
        phases.add(Phase::Connect, Duration::from_micros(3));
        phases.add(Phase::Connect, Duration::from_micros(4));
        phases.add(Phase::Receive, Duration::from_secs(1 << 40));
        assert_eq!((phases.us(Phase::Head), phases.us(Phase::Connect)), (Some(0), Some(7)));
        assert_eq!((phases.us(Phase::Wait), phases.us(Phase::Receive)), (None, Some(UNREACHED - 1)));
    }
}
