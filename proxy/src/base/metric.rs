//! Every metric: one table, from which code, `/metrics` and docs/reference/metrics.md derive; and the cells behind it.

mod counters;
mod histogram;
mod routes;

pub use counters::{Class, Coding, Counter, Counters, Limit, Phase, Queue};
pub use histogram::{Buckets, Histogram, LE_BOUNDS_US};
pub use routes::{RouteCells, RouteCounters, RouteTable};

/// What a metric's values mean to Prometheus.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Grows for as long as the process lives.
    Counter,
    /// A state, now.
    Gauge,
    /// Counts per bound, their sum and their number.
    Histogram,
}

impl Kind {
    /// The word of the `# TYPE` line.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// Name with the prefix `weir_` and the unit.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its label names, in order.
    pub labels: &'static [&'static str],
    /// One sentence for people.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($id:ident, $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(#[doc = $help] pub const $id: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// All metrics, in the order in which `/metrics` shows them.
        pub const ALL: &[Metric] = &[$($id,)*];
    };
}

metrics! {
    READY, "weir_ready", Gauge, [], "1 if every check of /ready holds";
    READY_CHECK, "weir_ready_check", Gauge, ["name"], "1 if this check of /ready holds";
    CONFIG_REVISION, "weir_config_revision", Gauge, ["kind"], "Generation of the configuration: desired, or applied by every worker";
    WORKERS, "weir_workers", Gauge, [], "Workers of the data plane";
    UPTIME, "weir_uptime_seconds", Gauge, [], "Time since the process began";

    REQUESTS, "weir_requests_total", Counter, ["route", "class"], "Finished requests by route and status class";
    REASONS, "weir_reasons_total", Counter, ["reason"], "Finished requests by their final reason";
    REQUEST_SECONDS, "weir_request_seconds", Histogram, ["route"], "Time from a request's first octet to its response's last";
    STAGE_SECONDS, "weir_stage_seconds", Histogram, ["stage"], "Time that requests spent in a stage";
    REQUESTS_ACTIVE, "weir_requests_active", Gauge, [], "Requests in flight";
    LIMIT_HITS, "weir_limit_hits_total", Counter, ["limit"], "Times that a limit was hit";
    RULE_REQUESTS, "weir_rule_requests_total", Counter, ["kind", "rule", "outcome"], "Requests that a rule was asked about, by what came of it";
    RETRIES, "weir_retries_total", Counter, [], "Tries of a request after its first";

    COMPRESSED, "weir_compressed_responses_total", Counter, ["coding"], "Responses that were compressed, by coding";
    COMPRESSED_BYTES, "weir_compressed_bytes_total", Counter, ["coding", "side"], "Octets of compressed responses: as they came (in), and as they were sent (out)";

    RATE_LIMIT_KEYS, "weir_rate_limit_keys", Gauge, ["rule"], "Keys that a rate limit's table holds";
    RATE_LIMIT_EVICTED, "weir_rate_limit_evicted_total", Counter, ["rule"], "Keys in use that a rate limit forgot to make room for others";
    RATE_LIMIT_WAITING, "weir_rate_limit_waiting", Gauge, ["rule"], "Requests that wait at a leaky bucket";
    RATE_LIMIT_UNPROMOTED, "weir_rate_limit_unpromoted_total", Counter, ["rule"], "Clients over a kernel tier that were not given to the kernel because a proxy named them";

    CONNECTIONS_ACTIVE, "weir_connections_active", Gauge, [], "Open client connections";
    CONNECTIONS, "weir_connections_total", Counter, [], "Accepted client connections";
    CONNECTIONS_RESET, "weir_connections_reset_total", Counter, [], "Open client connections that were reset because their peer was banned or put on the kernel's deny list";
    TLS_HANDSHAKES, "weir_tls_handshakes_total", Counter, ["result"], "TLS handshakes of clients by their result";
    CERTIFICATE_EXPIRY, "weir_certificate_expiry_seconds", Gauge, ["certificate"], "Time until a listener's certificate ends, by its file; 0 once it has";
    OCSP_UNSTAPLED, "weir_ocsp_unstapled_total", Counter, ["why"], "OCSP responses that were left out when their file was read or their time was over";
    RECEIVED_BYTES, "weir_received_bytes_total", Counter, ["side"], "Octets received from clients and upstreams";
    SENT_BYTES, "weir_sent_bytes_total", Counter, ["side"], "Octets sent to clients and upstreams";
    UPSTREAM_CONNECTS, "weir_upstream_connects_total", Counter, [], "Upstream connections opened";
    UPSTREAM_REUSES, "weir_upstream_reuses_total", Counter, [], "Exchanges on an upstream connection that had carried one before";
    UPSTREAM_IDLE, "weir_upstream_idle", Gauge, [], "Upstream connections idle in the pools";
    UPSTREAM_UNEXPECTED, "weir_upstream_unexpected_data_total", Counter, [], "Upstream connections closed because octets came that no request had asked for";

    RING_SUBMISSION_FULL, "weir_ring_submission_full_total", Counter, [], "Times that a submission queue was full";
    RING_COMPLETION_OVERFLOW, "weir_ring_completion_overflow_total", Counter, [], "Completions that overflowed their queue";
    RING_NO_BUFFERS, "weir_ring_no_buffers_total", Counter, [], "Receives that found no provided buffer (ENOBUFS)";
    RING_NO_DESCRIPTORS, "weir_ring_no_descriptors_total", Counter, [], "Accepts and connects that found no descriptor (EMFILE, ENFILE)";
    OPERATIONS_IN_FLIGHT, "weir_operations_in_flight", Gauge, [], "Operations that the kernel holds for the workers' rings";
    BUFFERS_OUT, "weir_buffers_out", Gauge, [], "Receive buffers whose octets are still read or sent";

    FLOWS, "weir_flows", Gauge, ["state"], "TCP connections in the flow table: open, or closed and kept";
    FLOWS_CLOSED, "weir_flows_closed_total", Counter, [], "TCP connections on both sides that have closed";
    WIRETAP_READERS, "weir_wiretap_readers", Gauge, [], "Readers of the wiretap";

    KERNEL_PACKETS, "weir_kernel_packets_total", Counter, ["cause", "action"], "Packets that the kernel half dropped, or in a dry run would have";
    KERNEL_SKIPPED, "weir_kernel_skipped_total", Counter, ["why"], "Packets that the kernel half passed without judging them";
    KERNEL_ENTRIES, "weir_kernel_entries", Gauge, ["map"], "Entries of the kernel half's maps";
    KERNEL_FULL, "weir_kernel_full_total", Counter, ["map"], "Entries that a map of the kernel half had no room for";
    KERNEL_ATTACHED, "weir_kernel_attached", Gauge, ["group", "interface", "mode"], "1 for each place that a program of the kernel half is attached to";
    KERNEL_PRESSURE, "weir_kernel_pressure_seconds_total", Counter, [], "Time that CPUs met so many new sources that they counted them together";
    KERNEL_PROMOTIONS, "weir_kernel_promotions_total", Counter, ["result"], "Clients that rules gave to the kernel half: denied, or refused by why";

    LOST, "weir_lost_total", Counter, ["queue"], "Messages dropped because a queue was full";
    ACCESS_LOG_DROPPED, "weir_access_log_dropped_total", Counter, ["log", "why"], "Access log lines that were not written";

    BANS, "weir_bans", Gauge, ["origin"], "CIDRs that are banned, by the document or by the API";
    FINDINGS, "weir_findings", Gauge, [], "Findings in memory";
    DNS_QUERIES, "weir_dns_queries_total", Counter, ["result"], "Resolutions by their result";
    PROBES, "weir_health_probes_total", Counter, ["result"], "Health probes by their result";
    ENDPOINTS, "weir_endpoints", Gauge, ["state"], "Endpoints by state";
    EJECTIONS, "weir_endpoint_ejections_total", Counter, [], "Endpoints taken out because of what requests met there";
    MANAGEMENT_REQUESTS, "weir_management_requests_total", Counter, ["class"], "Requests to the management API by status class";
    ROUTES_FOLDED, "weir_metrics_folded_routes", Gauge, [], "Routes counted under _other because there are too many series";
}

#[cfg(test)]
mod tests;
