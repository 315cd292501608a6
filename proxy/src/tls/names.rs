//! The names that a certificate is for: exact ones, wildcards of one label, addresses (RFC 9525 section 6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// What a certificate's subject alternative names cover.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// Lower case, sorted.
    exact: Vec<Box<str>>,
    /// What follows `*.`; lower case, sorted.
    wild: Vec<Box<str>>,
    addresses: Vec<IpAddr>,
}

impl Names {
    /// Those of a certificate. A subject without alternative names has none: its common name is no name of a host
    /// (RFC 9525 section 2).
    pub fn of(certificate: &X509Certificate<'_>) -> Self {
        let Ok(Some(found)) = certificate.subject_alternative_name() else { return Self::default() };
        let mut names = Self::default();
        for name in &found.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push(name),
                GeneralName::IPAddress(octets) => names.addresses.extend(address(octets)),
                _ => {}
            }
        }
        names.sorted()
    }

    /// Those that are listed: exact ones and `*.` wildcards.
    pub fn listed<'a>(listed: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = Self::default();
        listed.into_iter().for_each(|name| names.push(name));
        names.sorted()
    }

    /// Whether it covers a host: lower case, without port or final dot, an IPv6 address in brackets or without.
    pub fn covers(&self, host: &str) -> bool {
        if has(&self.exact, host) {
            return true;
        }
        let above = host.split_once('.').map(|(_, above)| above);
        above.is_some_and(|above| has(&self.wild, above)) || self.covers_address(host)
    }

    /// The first of `wanted` that it does not cover, as it is written; a wildcard is covered by the same one alone.
    pub fn missing(&self, wanted: &Self) -> Option<String> {
        let exact = wanted.exact.iter().find(|name| !self.covers(name)).map(|name| name.to_string());
        exact.or_else(|| wanted.wild.iter().find(|suffix| !has(&self.wild, suffix)).map(|suffix| format!("*.{suffix}")))
    }

    /// Names that are not wildcards.
    pub fn exact(&self) -> impl Iterator<Item = &str> {
        self.exact.iter().map(|name| &**name)
    }

    /// Of each wildcard, what follows `*.`.
    pub fn wild(&self) -> impl Iterator<Item = &str> {
        self.wild.iter().map(|name| &**name)
    }

    /// Whether no host name is among them, so that no client can ask for one.
    pub fn is_nameless(&self) -> bool {
        self.exact.is_empty() && self.wild.is_empty()
    }

    fn covers_address(&self, host: &str) -> bool {
        if self.addresses.is_empty() {
            return false;
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().is_ok_and(|address| self.addresses.contains(&address))
    }

    fn push(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        match name.strip_prefix("*.") {
            Some(suffix) => self.wild.push(suffix.into()),
            None => self.exact.push(name.into()),
        }
    }

    fn sorted(mut self) -> Self {
        for list in [&mut self.exact, &mut self.wild] {
            list.sort_unstable();
            list.dedup();
        }
        self
    }
}

fn has(sorted: &[Box<str>], name: &str) -> bool {
    sorted.binary_search_by(|known| (**known).cmp(name)).is_ok()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    let v6 = || <[u8; 16]>::try_from(octets).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    v4.or_else(|_| v6()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_stands_for_one_label() {
        let names = Names::listed(["Example.com", "*.example.com", "*.a.test."]);
        for covered in ["example.com", "www.example.com", "x.a.test"] {
            assert!(names.covers(covered), "{covered}");
        }
        for other in ["a.b.example.com", "a.test", "com", "", ".example.com.", "*", "badexample.com"] {
            assert!(!names.covers(other), "{other}");
        }
    }

    #[test]
    fn address_is_covered_however_it_is_written() {
        let names = Names { addresses: vec![[192, 0, 2, 1].into(), "::1".parse().unwrap()], ..Names::default() };
        for covered in ["192.0.2.1", "[::1]", "::1", "[0:0::1]"] {
            assert!(names.covers(covered), "{covered}");
        }
        assert!(!names.covers("192.0.2.2") && !names.covers("[::2]") && names.is_nameless());
    }

    #[test]
    fn wildcard_is_not_covered_by_the_names_below_it() {
        let names = Names::listed(["a.test", "*.b.test"]);
        let missing = |wanted: &[&str]| names.missing(&Names::listed(wanted.iter().copied()));
        assert_eq!(missing(&["a.test", "x.b.test", "*.b.test"]), None);
        assert_eq!(missing(&["*.a.test"]).as_deref(), Some("*.a.test"));
        assert_eq!(missing(&["b.test"]).as_deref(), Some("b.test"));
    }
}
