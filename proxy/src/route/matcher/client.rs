//! Client predicate: addresses, CIDRs, and `unix` for peers without an address.

use std::net::IpAddr;

use ipnet::IpNet;

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Clients {
    nets: Vec<IpNet>,
    unix: bool,
}

impl Clients {
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let mut clients = Self::default();
        for text in texts {
            if text == "unix" {
                clients.unix = true;
            } else {
                clients.nets.push(net(text).ok_or_else(|| format!("\"{text}\" is neither an address nor a CIDR"))?);
            }
        }
        Ok(clients)
    }

    pub(crate) fn contains(&self, client: Option<IpAddr>) -> bool {
        let Some(client) = client else { return self.unix };
        // A v4 client of a dual-stack socket arrives as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2).
        let client = client.to_canonical();
        self.nets.iter().any(|net| net.contains(&client))
    }

    /// Whether every client of `other` is in these; says no where only several nets together would cover one.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        (self.unix || !other.unix) && other.nets.iter().all(|theirs| self.nets.iter().any(|ours| ours.contains(theirs)))
    }
}

impl std::fmt::Display for Clients {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nets = self.nets.iter().map(IpNet::to_string);
        f.write_str(&nets.chain(self.unix.then(|| "unix".to_owned())).collect::<Vec<_>>().join(", "))
    }
}

fn net(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().map(|net| net.trunc()).ok().or_else(|| text.parse::<IpAddr>().map(IpNet::from).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(texts: &[&str]) -> Clients {
        Clients::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn addresses_cidrs_and_unix_peers_are_told_apart() {
        let some = clients(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]);
        for (client, expected) in
            [("10.1.2.3", true), ("::ffff:10.1.2.3", true), ("192.0.2.8", false), ("2001:db8::1", true), ("::1", false)]
        {
            assert_eq!(some.contains(Some(client.parse().unwrap())), expected, "{client}");
        }
        assert!(!some.contains(None) && clients(&["unix"]).contains(None));
        assert!(Clients::parse(&["10.0.0.0/33".to_owned()]).is_err());
    }

    #[test]
    fn covering_is_by_containment() {
        assert!(clients(&["10.0.0.0/8", "unix"]).covers(&clients(&["10.1.0.0/16", "10.0.0.1"])));
        assert!(!clients(&["10.0.0.0/8"]).covers(&clients(&["10.0.0.0/8", "unix"])));
        assert!(!clients(&["10.0.0.0/8"]).covers(&clients(&["0.0.0.0/0"])));
    }
}
