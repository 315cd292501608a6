//! Tables of the whole process, and those that listeners and routes narrow.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::config::check;
use crate::config::format::{List, Maybe};
use crate::config::number::{Count, Size, Time};
use crate::config::table::config_table;
use crate::config::text::Name;
use crate::config::value::{AddressOrNone, Ceiling};

config_table! {
    /// Bounds of what a request may be and use. 0 is off, where it is allowed.
    pub struct Limits: "limits", overlay LimitsOverlay {
        /// Octets of a request's head; more: 431.
        head_max: Size = "32KiB", in "1KiB" to "1MiB";
        /// Octets of a request target; more: 414.
        target_max: Size = "8KiB", in "1KiB" to "1MiB";
        /// Header fields of a request; more: 431.
        fields_max: Count = 128, in 16 to 1000;
        /// Pairs of a query; more: 400.
        query_pairs_max: Count = 256, in 16 to 4096;
        /// Octets of a request body; more: 413.
        body_max: Size = "1GiB";
        /// Client connections of the process, and of a listener that sets it; more are reset. `auto` is 45 % of the
        /// file descriptors that the process may have.
        connections_max: Ceiling = "auto";
        /// Requests in flight in the process, and in a listener that sets it; more: 503.
        requests_max: Count = 65536;
        /// Requests of one client connection, then it is closed.
        requests_per_connection: Count = 10000;
        /// Octets of the tables of all rate limits; those of the whole process, never of a listener.
        memory_max: Size = "256MiB", in "1MiB" to "1TiB" or 0;
    }
}

config_table! {
    /// Bounds of how long things may take. 0 is off.
    pub struct Timeouts: "timeouts", overlay TimeoutsOverlay {
        /// From accept to the whole PROXY header, on connections that must begin with one.
        proxy_header: Time = "3s";
        /// From accept to the end of the TLS handshake.
        tls: Time = "10s";
        /// From accept, or a request's first octet, to its whole head; 408.
        head: Time = "10s";
        /// Between the requests of a connection.
        keepalive: Time = "60s";
        /// No octet of a request body while weir reads it; 408.
        body: Time = "30s", also route;
        /// In each such period 16 KiB of a response, or all that is pending, must leave.
        send: Time = "30s";
        /// From a request's head to the last octet of its response; 504.
        request: Time = 0, also route;
        /// Silence in both directions of a tunnel.
        tunnel: Time = "5m", also route;
        /// Connecting to an endpoint.
        connect: Time = "5s", also route;
        /// The TLS handshake with an endpoint.
        connect_tls: Time = "5s", also route;
        /// From choosing an endpoint to the response's head.
        try_ as "try": Time = 0, also route;
        /// From a whole request sent to the response's head.
        response_header: Time = "60s", also route;
        /// The upstream takes nothing of the request.
        write: Time = "30s", also route;
        /// The upstream gives nothing of its response.
        read: Time = "60s", also route;
        /// How long `Expect: 100-continue` waits for the upstream's word.
        expect: Time = "1s";
        /// How long the rest of an unread request body is discarded before the connection is closed.
        linger: Time = "2s";
    }
}

config_table! {
    /// HTTP/2 with clients.
    pub struct Http2: "http2", overlay Http2Overlay {
        /// Requests of one connection at a time.
        streams_max: Count = 100, in 1 to 1000;
        /// Octets of one request's body that may come before weir takes them.
        stream_window: Size = "256KiB", in "64KiB" to "64MiB";
        /// The same of all requests of a connection together.
        connection_window: Size = "1MiB", in "64KiB" to "64MiB";
        /// Points that a connection may spend on frames that cost weir more than their sender; it regains a tenth of
        /// them a second. More: the connection is given up.
        abuse_budget: Count = 1000, in 100 to 100_000;
    }
}

config_table! {
    /// When a failed try at an upstream is followed by another.
    pub struct Retry: "retry", overlay RetryOverlay {
        /// Tries after the first.
        attempts: u32 = 1, in 0 to 10, also route;
        /// Upstream statuses that count as failed for idempotent methods.
        statuses: List<u16> = [], in 400 to 599, at most 200, also route;
        /// Whether requests of other methods are repeated as idempotent ones are.
        non_idempotent: bool = false, also route;
        /// Octets of a request body that are kept for another try.
        body_max: Size = "64KiB", in "1KiB" to "4MiB" or 0, also route;
        /// Further tries as per cent of the route's requests in 10 s; three a second are always allowed.
        budget: u32 = 20, in 0 to 100, also route;
        /// Wait before the same endpoint is tried again: doubled each time, with jitter.
        backoff: Time = "25ms", in "1ms" to "10s" or 0, also route;
    }
}

config_table! {
    /// Idle upstream connections, per worker. 0 is off: no bound.
    pub struct Pool: "pool" {
        /// Idle connections to one endpoint.
        idle_max: Count = 64;
        /// Idle connections to all.
        idle_total_max: Count = 1024;
        /// How long a connection may be idle, or a second less than the upstream's own `Keep-Alive: timeout`.
        idle_timeout: Time = "55s";
        /// Requests of one connection.
        requests_max: Count = 0;
        /// Age of a connection after which no request begins on it.
        age_max: Time = 0;
    }
}

config_table! {
    /// How hostnames of targets are resolved.
    pub struct Resolver: "resolver", checked by check::resolver {
        /// Name servers; none: those of /etc/resolv.conf. A port may follow, 53 is usual.
        servers: List<crate::config::value::NameServer> = [], at most 16;
        /// Wait for one answer.
        timeout: Time = "2s", in "100ms" to "60s";
        /// An answer holds so long at least.
        ttl_min: Time = "1s", in "1s" to "24h";
        /// An answer holds so long at most.
        ttl_max: Time = "1h", in "1s" to "24h";
        /// How long the last answer serves while there is no new one.
        stale_max: Time = "1h";
        /// Names that may be resolved beside those of the document's targets; `*.example.com` for all below one.
        allow: List<crate::config::value::NamePattern> = [], at most 10_000;
        /// Addresses that no target may have by name: as set, link-local, multicast, unspecified.
        deny_ips: List<IpNet> = ["169.254.0.0/16", "fe80::/10", "224.0.0.0/4", "ff00::/8", "0.0.0.0/32", "::/128"], at most 10_000;
    }
}

config_table! {
    /// How the process ends at TERM or INT. A second signal ends it now.
    pub struct Drain: "drain" {
        /// Not ready, but still accepting: for load balancers to look elsewhere.
        delay: Time = "0s";
        /// Then requests in flight may end; what is left is cut.
        timeout: Time = "60s";
    }
}

config_table! {
    /// The management API.
    pub struct Management: "management", checked by check::management {
        /// Where it listens: loopback addresses. None: there is no management API.
        listen: List<SocketAddr> = ["127.0.0.1:9900"], at most 16;
    }
}

config_table! {
    /// A plain listener for /health, /ready and /metrics alone.
    pub struct Metrics: "metrics" {
        /// Where it listens.
        listen: AddressOrNone = "";
    }
}

config_table! {
    /// What this machine is called, and where it keeps its state.
    pub struct Node: "node" {
        /// Its id in answers, logs and metrics; the host's name if there is none.
        id: Maybe<Name>;
        /// Where it keeps what outlives the process: bans of the API, findings. Read when the process starts, made if
        /// it is absent, for weir alone (0700). Without this key it is `$STATE_DIRECTORY`, which systemd sets, or
        /// `/var/lib/weir`; only if that last one cannot be used does weir run without, and keeps nothing.
        state_dir: Maybe<PathBuf>;
    }
}
