//! Where a route forwards to, and how its endpoints are chosen and judged.

use std::path::PathBuf;

use super::RequestHeaders;
use crate::config::check;
use crate::config::format::{List, Maybe, Pairs, Sub};
use crate::config::number::Time;
use crate::config::table::config_table;
use crate::config::text::{Name, TargetName, TargetPosition, Text};
use crate::config::value::{
    FieldValues, HealthKind, HealthMethod, HealthStart, ProxyProtocol, SameSite, Secret, SplitKey, StatusRange,
    TargetProtocol,
};

config_table! {
    /// A destination of a route: an origin or a static answer.
    pub struct Target: "target", by "name", checked by check::target {
        /// Its name, unique in the route.
        name: TargetName;
        /// Whether it takes part.
        enabled: bool = true;
        /// The origin: `http://host:port` or `https://host:port`, without a path.
        url: Maybe<Text>, in 1 to 1024;
        /// What the origin is spoken to in.
        protocol: TargetProtocol = "http1";
        /// The header of the PROXY protocol by which the origin learns whose connection it gets; a connection then
        /// serves one client connection and ends with it.
        proxy_protocol: ProxyProtocol = "off";
        /// Whom weir trusts there, and what it shows, over TLS.
        tls: Maybe<Sub<TargetTls>>;
        /// The answer, in an origin's place.
        static_ as "static": Maybe<Sub<StaticAnswer>>;
        /// Its place in the order of the route's targets.
        position: TargetPosition;
        /// The group it belongs to; the lowest group with a usable target serves alone.
        priority_group: u8 = 0;
        /// Its share, for the balancers that weigh.
        weight: u32 = 100, in 1 to 1_000_000;
        /// The part of the route's split that it belongs to.
        split: Maybe<Name>;
        /// Edits of a request's header, after the route's.
        request_headers: Maybe<Sub<RequestHeaders>>;
        /// Its own probes, in place of the route's.
        health: Maybe<Sub<Health>>;
    }
}

config_table! {
    /// TLS to an origin whose url is `https://`. Files are PEM, and read again on a reload.
    pub struct TargetTls: "tls", checked by check::target_tls {
        /// Whether the certificate must be for the name, and vouched for.
        verify: bool = true;
        /// The authorities that vouch for it; the machine's own if there is none.
        ca: Maybe<PathBuf>;
        /// The name that it must be for, and that is asked for; the host of the url if there is none.
        server_name: Maybe<Text>, in 1 to 253;
        /// The certificate that is shown to an origin that asks for one.
        client_cert: Maybe<PathBuf>;
        /// Its private key.
        client_key: Maybe<PathBuf>;
    }
}

config_table! {
    /// An answer without an origin.
    pub struct StaticAnswer: "static" {
        /// Its status.
        status: u16 = 200, in 200 to 599;
        /// Its header fields.
        headers: Pairs<FieldValues>, at most 64;
        /// Its body.
        body: Maybe<Text>, in 0 to 65536;
        /// The template that is its body.
        template: Maybe<Name>;
    }
}

config_table! {
    /// Shares of requests for parts of a route's targets.
    pub struct Split: "split" {
        /// The parts and their weights; targets name them.
        weights: Pairs<u32>, in 0 to 1_000_000, at most 64;
        /// What chooses the part.
        key: SplitKey = "random";
    }
}

config_table! {
    /// Keeps a client at its endpoint by a signed cookie.
    pub struct Sticky: "sticky" {
        /// The cookie's name.
        cookie: Text = "weir_s", in 1 to 64;
        /// How long it holds; 0: as long as the browser's session.
        ttl: Time = "0s", in "1s" to "365d" or 0;
        /// Its SameSite attribute.
        same_site: SameSite = "lax";
        /// Secrets: the first signs, all are accepted. None: one made at start.
        keys: List<Secret> = [], at most 16;
    }
}

config_table! {
    /// How an endpoint's health is probed.
    pub struct Health: "health", checked by check::health {
        /// By a request, by a connection alone, or by gRPC's own way to ask, which needs HTTP/2.
        kind: HealthKind = "http";
        /// The service asked about by gRPC; the server as a whole if there is none.
        service: Maybe<Text>, in 1 to 120;
        /// The request's method.
        method: HealthMethod = "GET";
        /// The request's path.
        path: Text = "/", in 1 to 8192;
        /// The request's Host; the target's authority if there is none.
        host: Maybe<Text>, in 1 to 255;
        /// The port probed; the endpoint's own if there is none.
        port: Maybe<u16>, in 1 to 65535;
        /// From one probe to the next, with a jitter of 10 %.
        interval: Time = "10s", in "1s" to "1h";
        /// A probe that takes longer has failed; not above `interval`.
        timeout: Time = "2s", in "100ms" to "30s";
        /// Passed probes in a row that make it healthy.
        healthy: u32 = 2, in 1 to 10;
        /// Failed probes in a row that make it unhealthy.
        unhealthy: u32 = 2, in 1 to 10;
        /// Statuses that pass.
        status: List<StatusRange> = ["200-399"], at most 64;
        /// What it is before the first probes are over.
        start: HealthStart = "unknown";
    }
}

config_table! {
    /// When an endpoint is taken out because of what requests met there. 0 is off.
    pub struct Outlier: "outlier", checked by check::outlier {
        /// Whether; as set, where health is probed.
        enabled: Maybe<bool>;
        /// Failed connects and head timeouts in a row that take it out.
        connect: u32 = 1, in 0 to 10_000;
        /// Answers 5xx in a row that take it out.
        gateway: u32 = 5, in 0 to 10_000;
        /// For how long, times the ejections in a row.
        base: Time = "30s", in "100ms" to "24h";
        /// For how long at most.
        max: Time = "300s", in "100ms" to "24h";
        /// Share of a group's endpoints that may be out at once, in per cent.
        max_percent: u32 = 50, in 0 to 100;
    }
}
