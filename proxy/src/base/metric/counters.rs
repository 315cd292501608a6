//! A worker's counters: written by it alone, read by control.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Histogram;
use crate::base::Reason;

/// A number with one writer and any readers: an add is a load and a store, no locked instruction.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Zero.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds `n`; only the owner may.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes `n` away from a gauge; only the owner may.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Sets a gauge; only the owner may.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident: $($variant:ident, $token:literal, $text:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum $name {
            $(#[doc = $text] $variant,)*
        }

        impl $name {
            /// All of them, in the table's order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The label's value.
            pub const fn token(self) -> &'static str {
                match self { $(Self::$variant => $token,)* }
            }

            /// One phrase for people.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

labels! {
    /// What a request's status says at a glance.
    Class:
    Informational, "1xx", "interim or switched protocols";
    Success, "2xx", "success";
    Redirection, "3xx", "redirection";
    ClientError, "4xx", "client error";
    ServerError, "5xx", "server error";
    None, "none", "ended without an answer";
}

impl Class {
    /// The class of a status; none for 0.
    pub const fn of(status: u16) -> Self {
        match status / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::None,
        }
    }
}

labels! {
    /// A part of a request's time.
    Phase:
    Head, "head", "first octet to whole head";
    Policy, "policy", "waiting because of a rate limit";
    Queue, "queue", "waiting for a free endpoint";
    Connect, "connect", "opening an upstream connection";
    Tls, "tls", "the TLS handshake of a new upstream connection";
    Send, "send", "endpoint chosen to request head and body sent";
    Wait, "wait", "request sent to the response's head";
    Receive, "receive", "the response's head to its last octet";
}

labels! {
    /// A bound that a request, a connection or a table ran into.
    Limit:
    Head, "head_max", "a head was too large";
    Target, "target_max", "a request target was too long";
    Fields, "fields_max", "a head had too many fields";
    QueryPairs, "query_pairs_max", "a query had too many pairs";
    Body, "body_max", "a body was too large";
    Connections, "connections_max", "a connection was refused";
    ConnectionsPerClient, "per_client_max", "a connection was refused as one too many of its peer";
    HandshakingPerClient, "handshaking_per_client_max", "a connection was refused as one too many of its peer without a request";
    Handshakes, "handshakes_max", "a connection waited because as many TLS handshakes were under way as may be";
    RequestsPerClient, "requests_per_client_max", "a request was refused as one too many of its client in flight";
    ClientsCounted, "clients_counted", "a client was not counted because there was no room in the table";
    Requests, "requests_max", "a request was refused as one too many in flight";
    RequestsPerConnection, "requests_per_connection", "a connection was closed after its last allowed request";
    EndpointRequests, "endpoint_requests", "an endpoint had as many requests in flight as it may";
    EndpointConnections, "endpoint_connections", "an endpoint had as many connections as it may";
    Queue, "queue_max", "a request found the queue for an upstream full";
    PoolIdle, "pool_idle_max", "an idle upstream connection was closed to make room";
    RetryBudget, "retry_budget", "a retry was not made because the budget was spent";
    ReplayMemory, "replay_memory", "a body was not kept for a retry because too much is kept already";
    Bans, "bans_max", "a ban of the API was refused as one too many";
    Findings, "findings_max", "an old finding was dropped to make room for a new one";
    FindingsDisk, "findings_disk_max", "an old finding was dropped because they took too much of the disk";
    EjectionPercent, "ejection_percent", "an ejection was refused to keep enough endpoints";
    FlowsOpen, "flows_open_max", "a connection was left out of the flow table";
    CompressionMemory, "compression_memory_max", "a response was not compressed because the coders took too much memory";
    FlowsReaders, "flows_readers_max", "a reader of the wiretap was refused";
}

labels! {
    /// A content coding, by its name in HTTP.
    Coding:
    Zstd, "zstd", "Zstandard (RFC 8878)";
    Br, "br", "Brotli (RFC 7932)";
    Gzip, "gzip", "gzip (RFC 1952)";
}

labels! {
    /// A bounded queue whose overflow is counted.
    Queue:
    Outlier, "outlier", "facts about endpoints, from a worker to control";
    Log, "log", "lines of weir's own log";
    Flow, "flow", "notes about connections, from a worker to control";
    Promotion, "promotion", "clients that the kernel is to drop, from a worker to control";
    Finding, "finding", "denials for findings, from a worker to control";
    Known, "known", "known sources, from a worker to control";
    KernelRing, "kernel_ring", "events of the kernel half, from its programs to control";
    Wiretap, "wiretap", "events of the wiretap, from control to a reader";
    KeyLog, "keylog", "secrets of TLS sessions, from a worker to the key log's writer";
}

/// A row of cells, one per value of a label.
struct Row<const N: usize>([Counter; N]);

impl<const N: usize> Default for Row<N> {
    fn default() -> Self {
        Self([const { Counter::new() }; N])
    }
}

/// One worker's counters. Aligned so that no two workers write the same cache line.
#[repr(align(128))]
#[derive(Default)]
pub struct Counters {
    reasons: Row<{ Reason::ALL.len() }>,
    limits: Row<{ Limit::COUNT }>,
    lost: Row<{ Queue::COUNT }>,
    stages: [Histogram; Phase::COUNT],
    compressed: Row<{ Coding::COUNT }>,
    compressed_in: Row<{ Coding::COUNT }>,
    compressed_out: Row<{ Coding::COUNT }>,
    /// Requests in flight.
    pub requests_active: Counter,
    /// Tries after a request's first.
    pub retries: Counter,
    /// Open client connections.
    pub connections_active: Counter,
    /// Accepted client connections.
    pub connections: Counter,
    /// Open client connections that were reset because their peer was banned or denied by the kernel's list.
    pub connections_reset: Counter,
    /// TLS handshakes with clients that were finished.
    pub handshakes: Counter,
    /// TLS handshakes with clients that failed.
    pub handshakes_failed: Counter,
    /// Octets from clients.
    pub client_received: Counter,
    /// Octets to clients.
    pub client_sent: Counter,
    /// Octets from upstreams.
    pub upstream_received: Counter,
    /// Octets to upstreams.
    pub upstream_sent: Counter,
    /// Upstream connections opened.
    pub upstream_connects: Counter,
    /// Exchanges on a connection that had carried one before.
    pub upstream_reuses: Counter,
    /// Idle connections in the pool.
    pub upstream_idle: Counter,
    /// Upstream connections closed because octets came that no request had asked for.
    pub upstream_unexpected: Counter,
    /// Times the submission queue was full.
    pub ring_submission_full: Counter,
    /// Completions that overflowed their queue.
    pub ring_completion_overflow: Counter,
    /// Receives that found no provided buffer.
    pub ring_no_buffers: Counter,
    /// Accepts and connects that found no descriptor.
    pub ring_no_descriptors: Counter,
    /// Operations that the kernel holds.
    pub ring_operations: Counter,
    /// Receive buffers whose octets are still in use.
    pub ring_buffers_out: Counter,
}

impl Counters {
    /// Counts a finished request's reason.
    pub fn reason(&self, reason: Reason) {
        self.reasons.0[reason as usize].add(1);
    }

    /// Counts a limit's hit.
    pub fn limit(&self, limit: Limit) {
        self.limit_times(limit, 1);
    }

    /// Counts so many hits of a limit.
    pub fn limit_times(&self, limit: Limit, times: u64) {
        self.limits.0[limit as usize].add(times);
    }

    /// Counts a message that found its queue full.
    pub fn lost(&self, queue: Queue) {
        self.lost_times(queue, 1);
    }

    /// Counts so many messages that found their queue full.
    pub fn lost_times(&self, queue: Queue, times: u64) {
        self.lost.0[queue as usize].add(times);
    }

    /// Counts the time a request spent in a stage.
    pub fn stage(&self, phase: Phase, duration: Duration) {
        self.stages[phase as usize].record(duration);
    }

    /// Counts a response that begins in this coding.
    pub fn compressed(&self, coding: Coding) {
        self.compressed.0[coding as usize].add(1);
    }

    /// Counts octets that went into a coder, and those that came out.
    pub fn compressed_octets(&self, coding: Coding, into: u64, out: u64) {
        self.compressed_in.0[coding as usize].add(into);
        self.compressed_out.0[coding as usize].add(out);
    }

    /// Responses in this coding.
    pub fn compressed_count(&self, coding: Coding) -> u64 {
        self.compressed.0[coding as usize].value()
    }

    /// Octets into the coders of this coding, and out of them.
    pub fn compressed_octets_count(&self, coding: Coding) -> (u64, u64) {
        (self.compressed_in.0[coding as usize].value(), self.compressed_out.0[coding as usize].value())
    }

    /// Finished requests with this reason.
    pub fn reason_count(&self, reason: Reason) -> u64 {
        self.reasons.0[reason as usize].value()
    }

    /// Hits of this limit.
    pub fn limit_count(&self, limit: Limit) -> u64 {
        self.limits.0[limit as usize].value()
    }

    /// Messages this queue has lost.
    pub fn lost_count(&self, queue: Queue) -> u64 {
        self.lost.0[queue as usize].value()
    }

    /// Times spent in a stage.
    pub fn stage_times(&self, phase: Phase) -> &Histogram {
        &self.stages[phase as usize]
    }
}
