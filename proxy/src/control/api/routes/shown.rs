//! A route as JSON: the document's keys, defaults filled in. Each struct is taken apart in full, so that a key that is
//! added to the document and forgotten here does not compile.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::config::raw;
use crate::config::value::{
    Action, AllUnhealthy, Balance, Forwarded, HashKey, HealthKind, HealthMethod, HealthStart, MatchOp, PathSecurity,
    ProxyProtocol, RedirectMode, SameSite, Secret, SplitKey, StatusRange, TargetProtocol, UpstreamHost,
};

pub(super) type Object = Map<String, Value>;

/// A value as the document would have it.
trait Show {
    fn show(&self) -> Value;
}

macro_rules! plain {
    ($($kind:ty),*) => { $(impl Show for $kind { fn show(&self) -> Value { json!(self) } })* };
}

plain!(bool, u8, u16, u32, u64, i32, String, PathBuf);

macro_rules! words {
    ($($kind:ty),*) => { $(impl Show for $kind { fn show(&self) -> Value { json!(self.word()) } })* };
}

words!(
    Action,
    AllUnhealthy,
    Balance,
    Forwarded,
    HealthKind,
    HealthMethod,
    HealthStart,
    MatchOp,
    PathSecurity,
    ProxyProtocol,
    RedirectMode,
    SameSite,
    TargetProtocol
);

impl<T: Show> Show for Option<T> {
    fn show(&self) -> Value {
        self.as_ref().map_or(Value::Null, Show::show)
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> Value {
        Value::Array(self.iter().map(Show::show).collect())
    }
}

/// Keys and values in the document's order.
struct Pairs<'a, T>(&'a [(String, T)]);

impl<T: Show> Show for Pairs<'_, T> {
    fn show(&self) -> Value {
        Value::Object(self.0.iter().map(|(key, value)| (key.clone(), value.show())).collect())
    }
}

impl Show for Duration {
    fn show(&self) -> Value {
        let ms = self.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        match units.iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit)) {
            Some((unit, name)) => json!(format!("{}{name}", ms / unit)),
            None if ms == 0 => json!("0s"),
            None => json!(format!("{ms}ms")),
        }
    }
}

impl Show for IpNet {
    fn show(&self) -> Value {
        json!(self.to_string())
    }
}

impl Show for StatusRange {
    fn show(&self) -> Value {
        let Self { low, high } = self;
        json!(if low == high { low.to_string() } else { format!("{low}-{high}") })
    }
}

impl Show for HashKey {
    fn show(&self) -> Value {
        json!(match self {
            Self::ClientIp => "client_ip".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Uri => "uri".to_owned(),
            Self::Host => "host".to_owned(),
            Self::Header(name) => format!("header:{name}"),
            Self::Cookie(name) => format!("cookie:{name}"),
            Self::Query(name) => format!("query:{name}"),
        })
    }
}

impl Show for SplitKey {
    fn show(&self) -> Value {
        match self {
            Self::Random => json!("random"),
            Self::Of(key) => key.show(),
        }
    }
}

impl Show for UpstreamHost {
    fn show(&self) -> Value {
        match self {
            Self::Target => json!("target"),
            Self::Preserve => json!("preserve"),
            Self::Set(name) => json!(format!("set:{name}")),
        }
    }
}

/// Where it is kept, never what it is.
impl Show for Secret {
    fn show(&self) -> Value {
        match self {
            Self::File(path) => json!({ "file": path }),
            Self::Env(name) => json!({ "env": name }),
        }
    }
}

/// Takes a struct apart: every key is shown under its own name, under a name given, as pairs, or not at all.
macro_rules! object {
    (
        $value:expr, $kind:path { $($key:ident),* $(,)? } $(, $name:literal = $special:ident)* $(, pairs $pairs:ident)*
        $(, not $left:ident)*
    ) => {{
        let $kind { $($key,)* $($special,)* $($pairs,)* $($left: _,)* at: _ } = $value;
        let mut object = Object::new();
        $(object.insert(stringify!($key).to_owned(), $key.show());)*
        $(object.insert($name.to_owned(), $special.show());)*
        $(object.insert(stringify!($pairs).to_owned(), Pairs($pairs).show());)*
        object
    }};
}

macro_rules! shown {
    ($($kind:path { $($key:ident),* $(,)? } $(, $name:literal = $special:ident)* $(, pairs $pairs:ident)*;)*) => {
        $(impl Show for $kind {
            fn show(&self) -> Value {
                Value::Object(object!(self, $kind { $($key),* } $(, $name = $special)* $(, pairs $pairs)*))
            }
        })*
    };
}

shown! {
    raw::FieldMatch { name, op, value, not };
    raw::Redirect { mode, target, status, preserve_path, preserve_query };
    raw::Rewrite { strip_prefix, replace_prefix, add_prefix, regex, replacement, host };
    raw::RequestHeaders { remove }, pairs set, pairs add, pairs default;
    raw::ResponseHeaders { remove, always }, pairs set, pairs add, pairs default;
    raw::StaticAnswer { status, body, template }, pairs headers;
    raw::TargetTls { verify, ca, server_name, client_cert, client_key };
    raw::Split { key }, pairs weights;
    raw::Sticky { cookie, ttl, same_site, keys };
    raw::RouteLimits { body_max, inflight_max, connections_max, queue_max, queue_timeout };
    raw::TimeoutsOverlay {
        proxy_header, tls, head, keepalive, body, send, request, tunnel, connect, connect_tls, response_header, write,
        read, expect, linger
    }, "try" = try_;
    raw::RetryOverlay { attempts, statuses, non_idempotent, body_max, budget, backoff };
    raw::Health {
        kind, service, method, path, host, port, interval, timeout, healthy, unhealthy, status, start
    };
    raw::Outlier { enabled, connect, gateway, base, max, max_percent };
}

impl Show for raw::ErrorPages {
    fn show(&self) -> Value {
        let Self { pages, intercept, at: _ } = self;
        let mut object: Object = pages.iter().map(|(range, path)| (page_key(*range), path.show())).collect();
        object.insert("intercept".to_owned(), intercept.show());
        Value::Object(object)
    }
}

fn page_key(range: StatusRange) -> String {
    if range.low == range.high { range.low.to_string() } else { format!("{}xx", range.low / 100) }
}

/// Everything but the targets.
pub(super) fn route(route: &raw::Route) -> Object {
    object!(route, raw::Route {
        id, name, enabled, listener, priority, is_default, host, host_regex, path_prefix, path_exact, path_regex,
        path_prefix_raw, method, client, header, query, path_security, action, redirect, rewrite, request_headers,
        response_headers, split, balance, hash_key, sticky, slow_start, limits, timeouts, retry, error_pages, health,
        outlier, panic_percent, all_unhealthy, forwarded, websocket,
    }, not targets)
}

/// Everything of a target.
pub(super) fn target(target: &raw::Target) -> Object {
    object!(
        target,
        raw::Target {
            name,
            enabled,
            url,
            protocol,
            proxy_protocol,
            tls,
            position,
            priority_group,
            weight,
            split,
            request_headers,
            health,
        },
        "static" = static_
    )
}

/// What a list shows of a target.
pub(super) fn brief_target(of: &raw::Target) -> Object {
    let mut object = target(of);
    object.retain(|key, _| {
        ["name", "enabled", "url", "protocol", "static", "priority_group", "weight", "split"].contains(&key.as_str())
    });
    if object.get("static").is_some_and(Value::is_object) {
        object.insert("static".to_owned(), json!({ "status": of.static_.as_ref().map(|answer| answer.status) }));
    }
    object
}
