//! Host patterns: exact names and `*.` wildcards; authorities.

use super::HostWildcard;

/// One host pattern.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum HostPattern {
    /// Absent or `*`.
    Any,
    /// One name or address.
    Exact(Box<str>),
    /// `*.suffix`: labels before it, never none.
    Under(Box<str>),
}

/// A name's octets (RFC 1035 section 2.3.4), without the trailing dot.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

impl HostPattern {
    /// Reads a pattern as the document writes it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        let (wild, rest) = name.strip_prefix("*.").map_or((false, name), |rest| (true, rest));
        check_name(rest, wild).map_err(|why| format!("bad host pattern \"{text}\": {why}"))?;
        Ok(if wild { Self::Under(rest.into()) } else { Self::Exact(rest.into()) })
    }

    /// Whether the pattern covers `host` (lower case, no port, no trailing dot).
    pub fn matches(&self, host: &str, labels: HostWildcard) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => **name == *host,
            Self::Under(suffix) => labels_before(host, suffix)
                .is_some_and(|before| !before.is_empty() && (labels == HostWildcard::Any || !before.contains('.'))),
        }
    }

    /// The name that a wildcard stands above and does not match; none for one without a dot, where no host is.
    pub fn apex(&self) -> Option<&str> {
        match self {
            Self::Under(suffix) if suffix.contains('.') => Some(suffix),
            _ => None,
        }
    }

    /// A host that it covers.
    pub fn sample(&self) -> String {
        match self {
            Self::Any => "any.invalid".to_owned(),
            Self::Exact(name) => name.to_string(),
            Self::Under(suffix) => format!("any.{suffix}"),
        }
    }

    /// Whether every host that `other` covers is covered by this.
    pub fn covers(&self, other: &Self, labels: HostWildcard) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) => false,
            (_, Self::Exact(name)) => self.matches(name, labels),
            (Self::Exact(_), Self::Under(_)) => false,
            (Self::Under(a), Self::Under(b)) if a == b => true,
            (Self::Under(a), Self::Under(b)) => labels == HostWildcard::Any && labels_before(b, a).is_some(),
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::Under(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// What stands before `.suffix` in `host`.
fn labels_before<'h>(host: &'h str, suffix: &str) -> Option<&'h str> {
    host.strip_suffix(suffix)?.strip_suffix('.')
}

/// A name that a request's host can equal: labels of A-label form, or a bracketed IPv6 address.
fn check_name(name: &str, wild: bool) -> Result<(), &'static str> {
    if let Some(inner) = name.strip_prefix('[') {
        let address = inner.strip_suffix(']').filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
        return if wild || address.is_none() { Err("not an IPv6 address") } else { Ok(()) };
    }
    if name.contains('*') {
        return Err("`*` stands alone or as the first label");
    }
    if name.contains(':') {
        return Err("a port does not belong here");
    }
    if !name.is_ascii() {
        return Err("write international names as A-labels (xn--...)");
    }
    if name.is_empty() || name.len() > NAME_MAX {
        return Err("1 to 253 characters");
    }
    let label = |label: &str| !label.is_empty() && label.len() <= LABEL_MAX && label.bytes().all(is_label_octet);
    if name.split('.').all(label) { Ok(()) } else { Err("not a host name") }
}

/// Host and port of an authority without user information; the host as written.
pub(crate) fn authority(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok().filter(|port| *port != 0)?)),
        _ => (text, None),
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    check_name(name, false).is_ok().then_some((host, port))
}

/// `_` is no host name's, yet names with it are in use.
fn is_label_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::HostWildcard::{Any, One};
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap()
    }

    #[test]
    fn wildcard_covers_one_or_more_labels_never_the_apex() {
        let wild = pattern("*.example.com");
        assert!(wild.matches("m.example.com", Any) && wild.matches("a.b.example.com", Any));
        for host in ["example.com", "badexample.com", ".example.com"] {
            assert!(!wild.matches(host, Any) && !wild.matches(host, One), "{host}");
        }
        assert!(wild.matches("m.example.com", One) && !wild.matches("a.b.example.com", One));
    }

    #[test]
    fn patterns_are_normalised_and_checked() {
        assert_eq!(pattern("APP.Example.COM."), HostPattern::Exact("app.example.com".into()));
        assert_eq!(pattern("*"), HostPattern::Any);
        assert!(pattern("[::1]").matches("[::1]", Any));
        for bad in ["a.*.com", "*a.com", "*.", "", "a..b", "a.com:80", "bücher.de", "a/b", "[::1", "*.*.com", "**"] {
            assert!(HostPattern::parse(bad).is_err(), "{bad} passed");
        }
        let why = HostPattern::parse("a.*.com").unwrap_err();
        assert_eq!(why, "bad host pattern \"a.*.com\": `*` stands alone or as the first label");
    }

    #[test]
    fn authorities_are_split() {
        assert_eq!(authority("a.test:80"), Some(("a.test", Some(80))));
        assert_eq!(authority("[::1]"), Some(("[::1]", None)));
        assert_eq!(authority("[::1]:8080"), Some(("[::1]", Some(8080))));
        for bad in ["", "a:0", "a:x", "a:", "u@a", "::1", "a b", "*.a"] {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }
}
