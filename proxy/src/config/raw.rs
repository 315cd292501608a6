//! The document as plain structs: one table of keys per object, nothing judged beyond each value itself.

mod ban;
mod client;
mod flows;
mod geoip;
mod global;
mod kernel;
mod listener;
mod log;
mod pages;
mod rate_limit;
mod route;
mod rule;
mod target;
mod tls;

pub use ban::{Audit, Ban};
pub use client::{ClientProxy, Clients, Connections};
pub use flows::Flows;
pub use geoip::GeoIp;
pub use global::{Drain, Http2, Http2Overlay, Limits, LimitsOverlay, Management, Metrics, Node, Pool, Resolver, Retry};
pub use global::{RetryOverlay, Timeouts, TimeoutsOverlay};
pub use kernel::{Kernel, KernelSyn};
pub use listener::Listener;
pub use log::{AccessLog, Log};
pub use pages::{ErrorPages, Template};
pub use rate_limit::{DenyResponse, KernelTier, RateLimit};
pub use route::{FieldMatch, HeaderEdits, Redirect, RequestHeaders, ResponseHeaders, Rewrite, Route, RouteLimits};
pub use rule::RuleKeys;
pub use target::{Health, Outlier, Split, StaticAnswer, Sticky, Target, TargetTls};
pub use tls::{ListedCertificate, ListenerTls};

use super::check;
use super::format::{Objects, Sub};
use super::table::config_table;
use super::value::SocketPath;

config_table! {
    /// The whole document.
    pub struct Document: "document", checked by check::document {
        /// The document format's version.
        version: u32 = 1, in 1 to 1;
        /// Worker threads, one core each; 0: one for every core that the process may use.
        workers: u32 = 0, in 0 to 1024;
        /// Where `weir upgrade` and the next binary find this process: a Unix socket for weir's own user and root,
        /// in a directory that is there. Read when the process starts. `""`: no upgrades.
        upgrade_socket: SocketPath = "/run/weir/upgrade.sock";
        /// Where weir listens.
        listeners as "listener": Objects<Listener>, at most 256;
        /// What a request meets, by host and path.
        routes as "route": Objects<Route>, at most 100_000;
        /// Bodies that static answers share.
        templates as "template": Objects<Template>, at most 10_000;
        /// Who the client is.
        client: Sub<Clients>;
        /// What one client may have at once.
        connections: Sub<Connections>;
        /// Who is banned.
        bans as "ban": Objects<Ban>, at most 10_000;
        /// How denials are kept.
        audit: Sub<Audit>;
        /// Bounds of what a request may be and use.
        limits: Sub<Limits>;
        /// Bounds of how long things may take.
        timeouts: Sub<Timeouts>;
        /// HTTP/2 with clients.
        http2: Sub<Http2>;
        /// When a failed try at an upstream is followed by another.
        retry: Sub<Retry>;
        /// Idle upstream connections, per worker.
        pool: Sub<Pool>;
        /// How hostnames of targets are resolved.
        resolver: Sub<Resolver>;
        /// Databases of addresses.
        geoip: Sub<GeoIp>;
        /// How many requests of a key may pass in which time.
        rate_limits as "rate_limit": Objects<RateLimit>, at most 1000;
        /// Pages for weir's own errors.
        error_pages: Sub<ErrorPages>;
        /// How the process ends.
        drain: Sub<Drain>;
        /// The management API.
        management: Sub<Management>;
        /// A listener for metrics alone.
        metrics: Sub<Metrics>;
        /// What is kept of TCP connections.
        flows: Sub<Flows>;
        /// What this machine is called.
        node: Sub<Node>;
        /// What the kernel does for weir.
        kernel: Sub<Kernel>;
        /// weir's own log.
        log: Sub<Log>;
        /// One line for each request.
        access_logs as "access_log": Objects<AccessLog>, at most 64;
    }
}
