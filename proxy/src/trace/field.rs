//! The fields of an outcome: one table, from which formats, templates and docs/reference/access-log.md derive.

use std::io::Write;
use std::net::IpAddr;

use super::{Outcome, time};
use crate::base::id::RequestId;
use crate::base::metric::Phase;

/// A field's value, before any format has spelled it.
pub(super) enum Value<'a> {
    Absent,
    Octets(&'a [u8]),
    /// Octets of which some values are withheld.
    Query(&'a [u8]),
    Number(u64),
    Flag(bool),
    Id(RequestId),
    Ip(IpAddr),
    /// Nanoseconds since 1970.
    Time(u64),
}

impl<'a> Value<'a> {
    fn octets(octets: Option<&'a [u8]>) -> Self {
        octets.map_or(Self::Absent, Self::Octets)
    }

    fn text(text: Option<&'a str>) -> Self {
        Self::octets(text.map(str::as_bytes))
    }

    fn number(number: Option<impl Into<u64>>) -> Self {
        number.map_or(Self::Absent, |number| Self::Number(number.into()))
    }

    fn ip(ip: Option<IpAddr>) -> Self {
        ip.map_or(Self::Absent, Self::Ip)
    }

    /// Spells what needs no escaping; gives back what does.
    pub(super) fn plain(self, out: &mut Vec<u8>) -> Option<Self> {
        match self {
            Self::Number(number) => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
            Self::Flag(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
            Self::Id(id) => out.extend_from_slice(&id.text()),
            Self::Ip(ip) => drop(write!(out, "{ip}")),
            Self::Time(unix_ns) => time::rfc3339(out, unix_ns),
            other => return Some(other),
        }
        None
    }

    /// Whether JSON spells it without quotes.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self, Self::Absent | Self::Number(_) | Self::Flag(_))
    }
}

macro_rules! fields {
    ($($variant:ident, $token:literal, $text:literal, |$o:ident| $value:expr;)*) => {
        /// A field of the access log.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Field {
            $($variant,)*
        }

        impl Field {
            /// All fields, in the order of a JSON line.
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in JSON and in templates. A dot sets off a member of an object.
            pub(super) const fn token(self) -> &'static str {
                match self { $(Self::$variant => $token,)* }
            }

            /// What it holds.
            #[cfg(test)]
            pub(super) const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Its value in this outcome.
            pub(super) fn of<'a>(self, outcome: &Outcome<'a>) -> Value<'a> {
                match self { $(Self::$variant => { let $o = outcome; $value })* }
            }
        }
    };
}

fn us(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fields! {
    Id, "id", "the record's id, a UUIDv7", |o| Value::Id(o.id);
    RequestIdText, "request_id", "the id a trusted peer gave, else `id`", |o| o.request_id.map_or(Value::Id(o.id), Value::Octets);
    NodeId, "node_id", "this node", |o| Value::Octets(o.node_id.as_bytes());
    Worker, "worker", "number of the worker", |o| Value::Number(o.worker.into());
    Generation, "generation", "generation of the configuration", |o| Value::Number(o.generation);
    Start, "start", "when the first octet came, RFC 3339, UTC, microseconds", |o| Value::Time(o.start_unix_ns);
    ClientIp, "client_ip", "the client's address", |o| Value::ip(o.client_ip);
    PeerIp, "peer_ip", "the address of the connection's other end", |o| Value::ip(o.peer_ip);
    HttpVersion, "http_version", "`1.0`, `1.1` or `2`", |o| Value::text(o.http_version);
    TlsVersion, "tls.version", "`1.2` or `1.3`", |o| Value::text(o.tls.map(|tls| tls.version));
    TlsCipher, "tls.cipher", "the cipher suite's name", |o| Value::text(o.tls.map(|tls| tls.cipher));
    TlsAlpn, "tls.alpn", "the protocol that was negotiated", |o| Value::octets(o.tls.and_then(|tls| tls.alpn));
    TlsResumed, "tls.resumed", "whether the session went on from an earlier one", |o| o.tls.map_or(Value::Absent, |tls| Value::Flag(tls.resumed));
    Sni, "sni", "the name that the client asked for over TLS", |o| Value::text(o.tls.and_then(|tls| tls.sni));
    Listener, "listener", "name of the listener", |o| Value::Octets(o.listener.as_bytes());
    Method, "method", "the method as received", |o| Value::octets(o.method);
    Host, "host", "the host: lower case, no port, no trailing dot", |o| Value::octets(o.host);
    Path, "path", "the path as received, without the query", |o| Value::octets(o.path);
    Query, "query", "the query as received, values of secret keys withheld", |o| o.query.map_or(Value::Absent, Value::Query);
    Status, "status", "the status that was sent", |o| Value::number(o.status);
    Reason, "reason", "how the request ended: [reasons](reasons.md)", |o| Value::Octets(o.reason.token().as_bytes());
    Term, "term", "the same in HAProxy's two letters", |o| Value::Octets(o.reason.term().as_bytes());
    BytesIn, "bytes_in", "octets of the request, head included", |o| Value::Number(o.bytes_in);
    BytesOut, "bytes_out", "octets of the response, head included", |o| Value::Number(o.bytes_out);
    BodyIn, "body_in", "octets of the request's body", |o| Value::Number(o.body_in);
    BodyOut, "body_out", "octets of the response's body", |o| Value::Number(o.body_out);
    Ban, "ban", "the ban that refused it: its CIDR, or its file", |o| Value::text(o.ban);
    LimitId, "limit_id", "id of the rate limit that refused it, a UUIDv5", |o| Value::text(o.limit_id);
    LimitName, "limit", "name of the rate limit that refused it", |o| Value::text(o.limit);
    RouteId, "route_id", "id of the route", |o| Value::number(o.route_id);
    Route, "route", "name of the route", |o| Value::text(o.route);
    Target, "target", "name of the target", |o| Value::text(o.target);
    TargetType, "target_type", "`direct` or `static`", |o| Value::text(o.target_type);
    Endpoint, "endpoint", "address of the endpoint", |o| Value::text(o.endpoint);
    Attempts, "attempts", "endpoints tried", |o| Value::Number(o.attempts.into());
    Reused, "reused", "whether the last try was on a connection that had carried an exchange before", |o| Value::Flag(o.reused);
    HeadUs, "phases_us.head", "first octet to whole head", |o| Value::number(o.phases.us(Phase::Head));
    PolicyUs, "phases_us.policy", "waiting because of a rate limit", |o| Value::number(o.phases.us(Phase::Policy));
    QueueUs, "phases_us.queue", "waiting for a free endpoint", |o| Value::number(o.phases.us(Phase::Queue));
    ConnectUs, "phases_us.connect", "opening an upstream connection", |o| Value::number(o.phases.us(Phase::Connect));
    TlsUs, "phases_us.tls", "the TLS handshake of a new upstream connection", |o| Value::number(o.phases.us(Phase::Tls));
    SendUs, "phases_us.send", "endpoint chosen to request head and body sent", |o| Value::number(o.phases.us(Phase::Send));
    WaitUs, "phases_us.wait", "request sent to the response's head", |o| Value::number(o.phases.us(Phase::Wait));
    ReceiveUs, "phases_us.receive", "the response's head to its last octet", |o| Value::number(o.phases.us(Phase::Receive));
    TotalUs, "phases_us.total", "first octet received to last octet sent", |o| Value::Number(us(o.total));
}

impl Field {
    /// The field of this name.
    pub(super) fn named(token: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.token() == token)
    }

    /// The object it is a member of, and its name there.
    pub(super) fn member(self) -> (Option<&'static str>, &'static str) {
        match self.token().split_once('.') {
            Some((object, name)) => (Some(object), name),
            None => (None, self.token()),
        }
    }
}
