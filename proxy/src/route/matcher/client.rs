//! Client predicate: addresses and CIDRs. A Unix peer has no address, so none matches it.

use std::net::IpAddr;

use ipnet::IpNet;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Clients(Vec<IpNet>);

impl Clients {
    /// Clients of `nets`; none given: no predicate.
    pub(crate) fn compile(nets: &[IpNet]) -> Option<Self> {
        (!nets.is_empty()).then(|| Self(nets.iter().map(IpNet::trunc).collect()))
    }

    pub(crate) fn contains(&self, client: Option<IpAddr>) -> bool {
        // A v4 client of a dual-stack socket arrives as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).
        client.map(|client| client.to_canonical()).is_some_and(|client| self.0.iter().any(|net| net.contains(&client)))
    }

    /// Whether every client of `other` is in these; says no where only several nets together would cover one.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|theirs| self.0.iter().any(|ours| ours.contains(theirs)))
    }
}

impl std::fmt::Display for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(texts: &[&str]) -> Clients {
        Clients::compile(&texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn addresses_are_told_apart() {
        let some = clients(&["10.0.0.7/8", "192.0.2.7/32", "2001:db8::/32"]);
        for (client, expected) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("192.0.2.8", false), ("2001:db8::1", true), ("::1", false)]
        {
            assert_eq!(some.contains(Some(client.parse().unwrap())), expected, "{client}");
        }
        assert!(!some.contains(None));
        assert_eq!(Clients::compile(&[]), None);
    }

    #[test]
    fn covering_is_by_containment() {
        assert!(clients(&["10.0.0.0/8"]).covers(&clients(&["10.1.0.0/16", "10.0.0.1/32"])));
        assert!(!clients(&["10.0.0.0/8"]).covers(&clients(&["0.0.0.0/0"])));
    }
}
