//! One predicate: a field of the request, and what it must be. Asking never fails and allocates nothing, but for a query
//! that is decoded once.

use super::facts::{Facts, FieldName};
use super::nets::Nets;
use super::text::TextTest;

/// See the module.
#[derive(Clone, Debug)]
pub(super) enum Predicate {
    Text {
        field: TextField,
        test: TextTest,
        /// What it says of a field that is absent: no in the match language; in CEL such a field reads as an empty text.
        absent: bool,
    },
    Address {
        field: AddressField,
        nets: Nets,
    },
    Number {
        field: NumberField,
        test: NumberTest,
        /// As for a text; in CEL such a field reads as -1.
        absent: bool,
    },
    /// Whether the client is known.
    ClientKnown(bool),
}

/// A field that holds text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum TextField {
    Method,
    Protocol,
    Listener,
    HttpVersion,
    TlsVersion,
    TlsSni,
    Country,
    Host,
    Path,
    PathRaw,
    /// Any of its values.
    Header(FieldName),
    /// Any of its values.
    Query(Box<str>),
    /// The first.
    Cookie(Box<str>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AddressField {
    Client,
    Peer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NumberField {
    Port,
    Asn,
    ContentLength,
}

/// What a number must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NumberTest {
    In(Box<[i64]>),
    Min(i64),
    Max(i64),
}

impl Predicate {
    #[inline]
    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Text { field, test, absent } => field.holds(facts, test, *absent),
            Self::Address { field, nets } => field.value(facts).is_some_and(|address| nets.contain(address)),
            Self::Number { field, test, absent } => field.value(facts).map_or(*absent, |number| test.holds(number)),
            Self::ClientKnown(known) => facts.client().is_some() == *known,
        }
    }

    /// How long it takes, roughly: cheap predicates are asked first.
    pub(super) fn weight(&self) -> u32 {
        match self {
            Self::Text { field, test, .. } => field.weight() + test.weight(),
            Self::Address { .. } => 2,
            Self::Number { field, .. } => {
                if *field == NumberField::Asn {
                    100
                } else {
                    1
                }
            }
            Self::ClientKnown(_) => 1,
        }
    }

    /// The field's name, as rules write it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Text { field, .. } => field.name(),
            Self::Address { field, .. } => field.name().to_owned(),
            Self::Number { field, .. } => field.name().to_owned(),
            Self::ClientKnown(_) => "client_known".to_owned(),
        }
    }

    /// What it wants.
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Text { test, .. } => test.to_string(),
            Self::Address { nets, .. } => nets.to_string(),
            Self::Number { test, .. } => test.to_string(),
            Self::ClientKnown(known) => format!("equals {known}"),
        }
    }

    /// What the request has.
    pub(super) fn actual(&self, facts: &Facts<'_>) -> String {
        let or_absent = |value: Option<String>| value.unwrap_or_else(|| "absent".to_owned());
        match self {
            Self::Text { field, .. } => field.actual(facts),
            Self::Address { field, .. } => or_absent(field.value(facts).map(|address| address.to_string())),
            Self::Number { field, .. } => or_absent(field.value(facts).map(|number| number.to_string())),
            Self::ClientKnown(_) => facts.client().is_some().to_string(),
        }
    }
}

impl TextField {
    #[inline]
    fn holds(&self, facts: &Facts<'_>, test: &TextTest, absent: bool) -> bool {
        match self {
            Self::Header(name) => facts.headers(name).any(|value| test.holds(value)),
            Self::Query(name) => facts.queries(name.as_bytes()).any(|value| test.holds(value)),
            one => one.with(facts, |value| value.map_or(absent, |value| test.holds(value))),
        }
    }

    /// Calls `then` with its one value, or the first of several.
    #[inline]
    pub(super) fn with<T>(&self, facts: &Facts<'_>, then: impl FnOnce(Option<&[u8]>) -> T) -> T {
        match self {
            Self::Method => then(Some(facts.method())),
            Self::Protocol => then(Some(facts.protocol().as_bytes())),
            Self::Listener => then(Some(facts.listener().as_bytes())),
            Self::HttpVersion => then(Some(facts.http_version().as_bytes())),
            Self::TlsVersion => then(facts.tls().map(|tls| tls.version.as_bytes())),
            Self::TlsSni => then(facts.tls().and_then(|tls| tls.sni).map(str::as_bytes)),
            Self::Country => then(facts.country().as_ref().map(|country| country.as_str().as_bytes())),
            Self::Host => then(facts.host().map(str::as_bytes)),
            Self::Path => then(Some(facts.path())),
            Self::PathRaw => then(Some(facts.path_raw())),
            Self::Header(name) => then(facts.headers(name).next()),
            Self::Query(name) => then(facts.queries(name.as_bytes()).next()),
            Self::Cookie(name) => then(facts.cookie(name.as_bytes())),
        }
    }

    fn weight(&self) -> u32 {
        match self {
            Self::Method | Self::Protocol | Self::Listener | Self::HttpVersion | Self::TlsVersion | Self::TlsSni => 1,
            Self::Host | Self::Path | Self::PathRaw => 2,
            Self::Header(_) => 5,
            Self::Query(_) | Self::Cookie(_) => 10,
            Self::Country => 100,
        }
    }

    fn name(&self) -> String {
        let plain = match self {
            Self::Method => "method",
            Self::Protocol => "protocol",
            Self::Listener => "listener",
            Self::HttpVersion => "http_version",
            Self::TlsVersion => "tls.version",
            Self::TlsSni => "tls.sni",
            Self::Country => "country",
            Self::Host => "host",
            Self::Path => "path",
            Self::PathRaw => "path_raw",
            Self::Header(name) => return format!("header.{}", name.text()),
            Self::Query(name) => return format!("query.{name}"),
            Self::Cookie(name) => return format!("cookie.{name}"),
        };
        plain.to_owned()
    }

    fn actual(&self, facts: &Facts<'_>) -> String {
        match self {
            Self::Header(name) => shown(facts.headers(name)),
            Self::Query(name) => shown(facts.queries(name.as_bytes())),
            one => one.with(facts, |value| shown(value.into_iter())),
        }
    }
}

/// A few values, each cut: a message holds no more.
fn shown<'v>(values: impl Iterator<Item = &'v [u8]>) -> String {
    const VALUES_MAX: usize = 8;
    const OCTETS_MAX: usize = 200;
    let mut texts: Vec<String> = Vec::new();
    for value in values {
        if texts.len() == VALUES_MAX {
            texts.push("...".to_owned());
            break;
        }
        let cut = value.len().min(OCTETS_MAX);
        let more = if cut < value.len() { "..." } else { "" };
        texts.push(format!("\"{}{more}\"", value[..cut].escape_ascii()));
    }
    if texts.is_empty() { "absent".to_owned() } else { texts.join(", ") }
}

impl AddressField {
    #[inline]
    pub(super) fn value(self, facts: &Facts<'_>) -> Option<std::net::IpAddr> {
        match self {
            Self::Client => facts.client(),
            Self::Peer => facts.peer(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Client => "client_ip",
            Self::Peer => "peer_ip",
        }
    }
}

impl NumberField {
    #[inline]
    pub(super) fn value(self, facts: &Facts<'_>) -> Option<i64> {
        match self {
            Self::Port => Some(facts.port().into()),
            Self::Asn => facts.asn().map(i64::from),
            Self::ContentLength => facts.content_length().map(|length| i64::try_from(length).unwrap_or(i64::MAX)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Port => "port",
            Self::Asn => "asn",
            Self::ContentLength => "content_length",
        }
    }
}

impl NumberTest {
    #[inline]
    pub(super) fn holds(&self, number: i64) -> bool {
        match self {
            Self::In(numbers) => numbers.contains(&number),
            Self::Min(min) => number >= *min,
            Self::Max(max) => number <= *max,
        }
    }
}

impl std::fmt::Display for NumberTest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::In(numbers) if numbers.len() == 1 => write!(f, "equals {}", numbers[0]),
            Self::In(numbers) => write!(f, "in {numbers:?}"),
            Self::Min(min) => write!(f, "min {min}"),
            Self::Max(max) => write!(f, "max {max}"),
        }
    }
}
