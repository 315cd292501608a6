//! The URL under load: `http://HOST:PORT/PATH`, or `https`.

use std::net::{SocketAddr, ToSocketAddrs};

/// A URL, resolved once.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    pub(crate) address: SocketAddr,
    pub(crate) is_https: bool,
    /// Host and port as written.
    pub(crate) authority: String,
    pub(crate) path: String,
}

impl Url {
    /// The host without its port.
    pub(crate) fn host(&self) -> &str {
        self.authority.rsplit_once(':').map_or(&self.authority, |(host, _)| host)
    }
}

/// Reads and resolves one.
pub(crate) fn parse(text: &str) -> Result<Url, String> {
    let schemes = [("http://", false, 80), ("https://", true, 443)];
    let found = schemes.iter().find_map(|(scheme, is_https, port)| Some((text.strip_prefix(scheme)?, *is_https, port)));
    let (rest, is_https, port) = found.ok_or_else(|| format!("{text:?}: only http:// and https:// are spoken"))?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let with_port = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:{port}") };
    let mut addresses = with_port.to_socket_addrs().map_err(|e| format!("{authority}: {e}"))?;
    let address = addresses.next().ok_or_else(|| format!("{authority}: no address"))?;
    Ok(Url { address, is_https, authority: authority.to_owned(), path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn authority_and_path_are_told_apart() {
        let url = parse("http://127.0.0.1:8080/bytes/1?x").expect("valid");
        assert_eq!((url.authority.as_str(), url.path.as_str()), ("127.0.0.1:8080", "/bytes/1?x"));
        assert_eq!(parse("http://127.0.0.1").expect("valid").address.port(), 80);
        let secured = parse("https://127.0.0.1/").expect("valid");
        assert_eq!((secured.address.port(), secured.is_https, secured.host()), (443, true, "127.0.0.1"));
        assert!(parse("ftp://127.0.0.1/").is_err());
    }
}
