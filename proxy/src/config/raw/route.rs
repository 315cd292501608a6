//! What a request meets: its match, its action, and everything that holds for it alone.

use ipnet::IpNet;

use super::{CompressionOverlay, ErrorPages, Health, Outlier, RetryOverlay, Split, Sticky, Target, TimeoutsOverlay};
use crate::config::check;
use crate::config::format::{List, Maybe, Objects, OneOrList, Pairs, RouteSub, Sub};
use crate::config::number::{Count, Size, Time};
use crate::config::table::config_table;
use crate::config::text::{Name, RedirectStatus, RouteId, RouteName, Text};
use crate::config::value::{Action, AllUnhealthy, Balance, FieldValues, Forwarded, HashKey, MatchOp, PathSecurity};
use crate::config::value::{RedirectMode, UpstreamHost};

config_table! {
    /// What requests of some hosts and paths meet. The first that matches in the order of priority and id wins.
    pub struct Route: "route", by "id" | "name", checked by check::route {
        /// Its number, unique.
        id: RouteId, in 0 to 2147483647;
        /// Its name, unique.
        name: RouteName;
        /// Whether it takes part.
        enabled: bool = true;
        /// The listeners it belongs to.
        listener: OneOrList<Name>, at most 16;
        /// Lower ones are asked first.
        priority: i32 = 100;
        /// Whether it answers what no other route of its listeners matched; such a route has no match keys but
        /// `path_prefix = "/"`.
        is_default: bool = false;
        /// Hosts: exact names or `*.example.com`; none, or `*`: any.
        host: OneOrList<Text> = [], in 1 to 255, at most 64;
        /// A pattern found in the host.
        host_regex: Maybe<Text>, in 1 to 1024;
        /// Whole segments that the path begins with.
        path_prefix: Maybe<Text>, in 1 to 8192;
        /// The whole path.
        path_exact: Maybe<Text>, in 1 to 8192;
        /// A pattern found in the path.
        path_regex: Maybe<Text>, in 1 to 1024;
        /// Octets that the path begins with.
        path_prefix_raw: Maybe<Text>, in 1 to 8192;
        /// Methods, exactly; none: any.
        method: List<Text> = [], in 1 to 32, at most 64;
        /// Addresses of clients; none: any.
        client: List<IpNet> = [], at most 1024;
        /// Header fields that must match, all of them.
        header: Objects<FieldMatch>, at most 16;
        /// Query pairs that must match, all of them.
        query: Objects<FieldMatch>, at most 16;
        /// Whether paths that spell a separator in percent-encoding are forwarded.
        path_security: PathSecurity = "strict";
        /// What it does.
        action: Action = "forward";
        /// How its redirect is made.
        redirect: Maybe<Sub<Redirect>>;
        /// What becomes of the path and the host on the way up.
        rewrite: Maybe<Sub<Rewrite>>;
        /// Edits of a request's header on the way up.
        request_headers: Maybe<Sub<RequestHeaders>>;
        /// Edits of a response's header on the way down.
        response_headers: Maybe<Sub<ResponseHeaders>>;
        /// Where it forwards to.
        targets as "target": Objects<Target>, at most 1024;
        /// Shares of requests for parts of its targets.
        split: Maybe<Sub<Split>>;
        /// How one of its targets or endpoints is picked.
        balance: Balance = "round_robin";
        /// What the two hashing balancers hash.
        hash_key: HashKey = "client_ip";
        /// Keeps a client at its endpoint by a cookie.
        sticky: Maybe<Sub<Sticky>>;
        /// How long an endpoint that became healthy or was discovered takes to its whole weight, from 10 %.
        slow_start: Time = "0s", in "100ms" to "1h" or 0;
        /// Its own limits.
        limits: Sub<RouteLimits>;
        /// Its own timeouts.
        timeouts: RouteSub<TimeoutsOverlay>;
        /// Its own retries.
        retry: RouteSub<RetryOverlay>;
        /// Its own pages.
        error_pages: Sub<ErrorPages>;
        /// Its own compression.
        compression: RouteSub<CompressionOverlay>;
        /// How the health of its endpoints is probed; none: they count as healthy.
        health: Maybe<Sub<Health>>;
        /// When an endpoint is taken out because of what requests met there.
        outlier: Sub<Outlier>;
        /// Below this share of usable endpoints, in per cent, health is ignored.
        panic_percent: u32 = 0, in 0 to 100;
        /// What a group does whose endpoints are all unhealthy.
        all_unhealthy: AllUnhealthy = "fail";
        /// How the upstream learns who the client is; none: as the listener says.
        forwarded: Maybe<Forwarded>;
        /// Whether WebSocket upgrades are forwarded; none: as the listener says.
        websocket: Maybe<bool>;
    }
}

config_table! {
    /// A header field or query pair that must match; any of its values may.
    pub struct FieldMatch: "match" {
        /// The field's or key's name.
        name: Text, in 1 to 256;
        /// How it is compared.
        op: MatchOp = "equals";
        /// With what; none for `present`.
        value: Maybe<Text>, in 0 to 1024;
        /// Whether the match must fail as a whole.
        not: bool = false;
    }
}

config_table! {
    /// How a route's redirect is made.
    pub struct Redirect: "redirect" {
        /// How `target` is understood.
        mode: RedirectMode;
        /// A path, an origin, a URL or a scheme.
        target: Text, in 1 to 8192;
        /// The response's status.
        status: RedirectStatus = 302;
        /// Whether what follows the matched prefix is appended.
        preserve_path: bool = true;
        /// Whether the query is appended.
        preserve_query: bool = true;
    }
}

config_table! {
    /// What becomes of the path and the host on the way up; at most one of the path's keys.
    pub struct Rewrite: "rewrite" {
        /// Takes the matched prefix away.
        strip_prefix: bool = false;
        /// Puts this in the matched prefix's place.
        replace_prefix: Maybe<Text>, in 1 to 8192;
        /// Puts this before the path.
        add_prefix: Maybe<Text>, in 1 to 8192;
        /// A pattern whose first match in the path is replaced.
        regex: Maybe<Text>, in 1 to 1024;
        /// What replaces it; `$1` is the first group.
        replacement: Maybe<Text>, in 0 to 8192;
        /// The Host that the upstream sees.
        host: UpstreamHost = "target";
    }
}

config_table! {
    /// Edits of a request's header, in this order.
    pub struct RequestHeaders: "request_headers" {
        /// Fields to leave out.
        remove: List<Text> = [], in 1 to 256, at most 64;
        /// Fields in place of those of their name.
        set: Pairs<FieldValues>, at most 64;
        /// Further fields.
        add: Pairs<FieldValues>, at most 64;
        /// Fields for where there is none of their name.
        default: Pairs<FieldValues>, at most 64;
    }
}

config_table! {
    /// Edits of a response's header, in this order.
    pub struct ResponseHeaders: "response_headers" {
        /// Fields to leave out.
        remove: List<Text> = [], in 1 to 256, at most 64;
        /// Fields in place of those of their name.
        set: Pairs<FieldValues>, at most 64;
        /// Further fields.
        add: Pairs<FieldValues>, at most 64;
        /// Fields for where there is none of their name.
        default: Pairs<FieldValues>, at most 64;
        /// Whether weir's own error pages are edited too.
        always: bool = false;
    }
}

/// What the edits of requests and of responses have in common.
#[derive(Clone, Copy, Debug)]
pub struct HeaderEdits<'a> {
    /// Fields to leave out.
    pub remove: &'a [String],
    /// Fields in place of those of their name.
    pub set: &'a [(String, Vec<String>)],
    /// Further fields.
    pub add: &'a [(String, Vec<String>)],
    /// Fields for where there is none of their name.
    pub default: &'a [(String, Vec<String>)],
    /// Where they stand.
    pub at: &'a crate::config::At,
}

impl RequestHeaders {
    /// The edits.
    pub fn edits(&self) -> HeaderEdits<'_> {
        HeaderEdits { remove: &self.remove, set: &self.set, add: &self.add, default: &self.default, at: &self.at }
    }
}

impl ResponseHeaders {
    /// The edits.
    pub fn edits(&self) -> HeaderEdits<'_> {
        HeaderEdits { remove: &self.remove, set: &self.set, add: &self.add, default: &self.default, at: &self.at }
    }
}

config_table! {
    /// Bounds of what a route's requests may be and use. 0 is off.
    pub struct RouteLimits: "limits" {
        /// Octets of a request body; more: 413. None: as the listener says.
        body_max: Maybe<Size>;
        /// Requests in flight at one endpoint, over all workers.
        inflight_max: Count = 4096;
        /// Connections to one endpoint, over all workers.
        connections_max: Count = 4096;
        /// Requests that wait in one group and worker.
        queue_max: Count = 256, in 0 to 1_000_000;
        /// How long a request waits; 0: not at all.
        queue_timeout: Time = "1s", in "1ms" to "60s" or 0;
    }
}
