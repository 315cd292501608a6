//! What a client may ask to be connected to.

use std::net::IpAddr;

use crate::config::format::FromText;
use crate::http::normalise_host;

/// A host and a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Destination {
    /// As requests' hosts are compared: lower case, no trailing dot, IPv6 in brackets.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
}

impl Destination {
    /// The address, where the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// The name, where the host is one that has to be resolved.
    pub fn name(&self) -> Option<&str> {
        self.ip().is_none().then_some(&*self.host)
    }
}

impl FromText for Destination {
    const KIND: &'static str = "a host and port such as \"db.example.com:5432\" or \"[2001:db8::1]:443\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let mut host = String::new();
        match normalise_host(text.as_bytes(), &mut host) {
            Ok(Some(port)) => Ok(Self { host: host.into(), port }),
            _ => Err(format!("must be {}", Self::KIND)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_have_the_spelling_of_requests() {
        let read = |text: &str| Destination::from_text(text).ok().map(|read| (read.host.into_string(), read.port));
        assert_eq!(read("DB.example.com.:5432"), Some(("db.example.com".into(), 5432)));
        assert_eq!(read("[2001:DB8::0:1]:1"), Some(("[2001:db8::1]".into(), 1)));
        for bad in ["db.example.com", "db:0", "db:65536", ":1", "*.example.com:1", "http://db:1", "db:1/x", ""] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_are_told_from_names() {
        let read = |text: &str| Destination::from_text(text).expect("a destination");
        assert_eq!(read("192.0.2.1:1").ip(), "192.0.2.1".parse().ok());
        assert_eq!(read("[2001:db8::1]:1").ip(), "2001:db8::1".parse().ok());
        assert_eq!((read("Db:1").ip(), read("Db:1").name()), (None, Some("db")));
    }
}
