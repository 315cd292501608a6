//! What a request offers to choices that depend on it, and the key a route makes of it.

use std::fmt::Write;
use std::net::IpAddr;

use smallvec::SmallVec;

use crate::config::value::HashKey;

/// A request as splits, hashes and sticky cookies see it. Nothing here allocates.
pub trait Keys {
    /// The resolved client address.
    fn client_ip(&self) -> IpAddr;
    /// The path as received, without the query.
    fn path(&self) -> &[u8];
    /// The path and query as received.
    fn uri(&self) -> &[u8];
    /// The normalised host.
    fn host(&self) -> &[u8];
    /// The first value of a header.
    fn header(&self, name: &str) -> Option<&[u8]>;
    /// The `nth` value of a cookie, in the order of the Cookie fields (see [`cookie_values`]).
    fn cookie(&self, name: &str, nth: usize) -> Option<&[u8]>;
    /// The first value of a query parameter, as spelled.
    fn query(&self, name: &str) -> Option<&[u8]>;
}

/// The values of the cookie `name` in one Cookie field (RFC 6265 section 4.2.1).
pub fn cookie_values<'a, 'n>(field: &'a [u8], name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
    field.split(|&b| b == b';').filter_map(move |pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// The bytes a hash is taken of: on the stack unless unusually long.
pub(super) type KeyBytes = SmallVec<[u8; 64]>;

impl HashKey {
    /// Calls `with` with the request's key, empty if it has none.
    pub(super) fn with<R>(&self, keys: &dyn Keys, with: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::ClientIp => with(&ip_text(keys.client_ip())),
            Self::Path => with(keys.path()),
            Self::Uri => with(keys.uri()),
            Self::Host => with(keys.host()),
            Self::Header(name) => with(keys.header(name).unwrap_or_default()),
            Self::Cookie(name) => with(keys.cookie(name, 0).unwrap_or_default()),
            Self::Query(name) => with(keys.query(name).unwrap_or_default()),
        }
    }
}

/// The address's text form without touching the heap.
pub(super) fn ip_text(ip: IpAddr) -> KeyBytes {
    struct Sink(KeyBytes);
    impl Write for Sink {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    let mut sink = Sink(KeyBytes::new());
    // The sink never refuses.
    let _ = write!(sink, "{ip}");
    sink.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cookie_of_a_name_is_found_in_order() {
        let field = b"a=1; weir_s=x; b=2;weir_s=\"y\"; weir_sx=z";
        let found: Vec<_> = cookie_values(field, "weir_s").collect();
        assert_eq!(found, [b"x".as_slice(), b"y"]);
    }

    #[test]
    fn addresses_read_as_nginx_writes_them() {
        assert_eq!(ip_text("::1".parse().unwrap()).as_slice(), b"::1");
        assert_eq!(ip_text("10.1.2.3".parse().unwrap()).as_slice(), b"10.1.2.3");
    }
}
