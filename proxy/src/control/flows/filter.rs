//! Which flows a reader asks for: values of a key are alternatives, keys narrow each other, `not_` excludes.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

/// The protocol of every flow.
const TCP: u8 = 6;
/// Values that a key may have.
const VALUES_MAX: usize = 16;
/// Octets that a compiled pattern may take.
const REGEX_MAX: usize = 256 << 10;

/// Keys of a query that make a filter.
pub(in crate::control) const KEYS: [&str; 12] = [
    "src_cidr",
    "dst_cidr",
    "hostname",
    "proto",
    "src_port",
    "dst_port",
    "not_src_cidr",
    "not_dst_cidr",
    "not_hostname",
    "not_proto",
    "not_src_port",
    "not_dst_port",
];

/// A value that makes no filter: its key, and what is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::control) struct BadValue {
    pub(in crate::control) key: &'static str,
    pub(in crate::control) problem: String,
}

/// What filters look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Subject {
    pub(super) cookie: u64,
    /// Who dialled.
    pub(super) source: SocketAddr,
    /// Whom.
    pub(super) destination: SocketAddr,
    pub(super) hostname: Option<Box<str>>,
}

impl Subject {
    /// Whether a sample of this share holds the flow: the same flows at each event.
    pub(super) fn is_sampled(&self, share: f64) -> bool {
        let spread = self.cookie.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
        share >= 1.0 || (spread as f64) < share * (1_u64 << 53) as f64
    }
}

/// All conditions of a reader.
#[derive(Clone, Debug, Default)]
pub(in crate::control) struct Filter(Vec<Condition>);

/// One key: at least one of its tests holds, or, negated, none.
#[derive(Clone, Debug)]
struct Condition {
    tests: Vec<Test>,
    negated: bool,
}

#[derive(Clone, Debug)]
enum Test {
    Source(IpNet),
    Destination(IpNet),
    Hostname(Regex),
    Protocol(u8),
    SourcePort(RangeInclusive<u16>),
    DestinationPort(RangeInclusive<u16>),
}

impl Filter {
    /// A filter from the values of each key of [`KEYS`].
    pub(in crate::control) fn parse(values: impl Fn(&str) -> Vec<String>) -> Result<Self, BadValue> {
        let mut conditions = Vec::new();
        for key in KEYS {
            let values = values(key);
            if values.len() > VALUES_MAX {
                return Err(BadValue { key, problem: format!("at most {VALUES_MAX} values") });
            }
            let plain = key.strip_prefix("not_");
            let test = |value: &String| Test::parse(plain.unwrap_or(key), value);
            let tests = values.iter().map(test).collect::<Result<Vec<_>, _>>();
            let tests = tests.map_err(|problem| BadValue { key, problem })?;
            if !tests.is_empty() {
                conditions.push(Condition { tests, negated: plain.is_some() });
            }
        }
        Ok(Self(conditions))
    }

    /// Whether a flow is asked for.
    pub(super) fn matches(&self, subject: &Subject) -> bool {
        self.0.iter().all(|condition| condition.tests.iter().any(|test| test.holds(subject)) != condition.negated)
    }
}

impl Test {
    fn parse(key: &str, value: &str) -> Result<Self, String> {
        match key {
            "src_cidr" => network(value).map(Self::Source),
            "dst_cidr" => network(value).map(Self::Destination),
            "hostname" => pattern(value).map(Self::Hostname),
            "proto" => protocol(value).map(Self::Protocol),
            "src_port" => ports(value).map(Self::SourcePort),
            _ => ports(value).map(Self::DestinationPort),
        }
    }

    fn holds(&self, subject: &Subject) -> bool {
        match self {
            Self::Source(network) => network.contains(&subject.source.ip()),
            Self::Destination(network) => network.contains(&subject.destination.ip()),
            Self::Hostname(pattern) => subject.hostname.as_deref().is_some_and(|name| pattern.is_match(name)),
            Self::Protocol(number) => *number == TCP,
            Self::SourcePort(ports) => ports.contains(&subject.source.port()),
            Self::DestinationPort(ports) => ports.contains(&subject.destination.port()),
        }
    }
}

/// A network, or one address.
fn network(value: &str) -> Result<IpNet, String> {
    let single = || value.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical()));
    let parsed = value.parse::<IpNet>().map(|network| network.trunc()).or_else(|_| single());
    parsed.map_err(|_| format!("\"{value}\" is no address and no network such as 192.0.2.0/24"))
}

fn pattern(value: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(value).case_insensitive(true).size_limit(REGEX_MAX).build();
    built.map_err(|error| format!("not a regular expression: {error}"))
}

/// A protocol by name or number. Flows are TCP; others may be asked for, and are not there.
fn protocol(value: &str) -> Result<u8, String> {
    match value.to_ascii_lowercase().as_str() {
        "icmp" => Ok(1),
        "tcp" => Ok(TCP),
        "udp" => Ok(17),
        number => number.parse().map_err(|_| format!("\"{value}\" is not tcp, udp, icmp or a number up to 255")),
    }
}

fn ports(value: &str) -> Result<RangeInclusive<u16>, String> {
    let bad = || format!("\"{value}\" is no port and no range such as 8000-8999");
    let port = |text: &str| text.parse::<u16>().map_err(|_| bad());
    let (low, high) = value.split_once('-').unwrap_or((value, value));
    let (low, high) = (port(low)?, port(high)?);
    if low > high { Err(bad()) } else { Ok(low..=high) }
}

#[cfg(test)]
mod tests;
