//! The URL under load: `http://HOST:PORT/PATH`.

use std::net::{SocketAddr, ToSocketAddrs};

/// A URL, resolved once.
#[derive(Clone, Debug)]
pub(crate) struct Url {
    pub(crate) address: SocketAddr,
    /// Host and port as written.
    pub(crate) authority: String,
    pub(crate) path: String,
}

/// Reads and resolves one.
pub(crate) fn parse(text: &str) -> Result<Url, String> {
    let rest = text.strip_prefix("http://").ok_or_else(|| format!("{text:?}: only http:// is spoken"))?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let with_port = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut addresses = with_port.to_socket_addrs().map_err(|e| format!("{authority}: {e}"))?;
    let address = addresses.next().ok_or_else(|| format!("{authority}: no address"))?;
    Ok(Url { address, authority: authority.to_owned(), path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn authority_and_path_are_told_apart() {
        let url = parse("http://127.0.0.1:8080/bytes/1?x").expect("valid");
        assert_eq!((url.authority.as_str(), url.path.as_str()), ("127.0.0.1:8080", "/bytes/1?x"));
        assert_eq!(parse("http://127.0.0.1").expect("valid").address.port(), 80);
        assert!(parse("https://127.0.0.1/").is_err());
    }
}
