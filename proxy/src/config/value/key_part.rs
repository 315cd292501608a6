//! What of a request is counted together.

use super::is_token;
use crate::config::format::FromText;

/// A part of a limit's key.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum KeyPart {
    /// The client's address.
    ClientIp,
    /// The host.
    Host,
    /// The method.
    Method,
    /// The path, decoded.
    Path,
    /// `http` or `https`.
    Protocol,
    /// The listener.
    Listener,
    /// The client's country.
    Country,
    /// The first value of a header field; lower case.
    Header(String),
    /// The first cookie of this name.
    Cookie(String),
    /// The first value of this query key.
    Query(String),
}

impl KeyPart {
    /// Whether a client can make up a new value for each request, to no disadvantage of its own.
    pub fn is_invented(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Cookie(_) | Self::Query(_))
    }
}

impl FromText for KeyPart {
    const KIND: &'static str =
        "client_ip, host, method, path, protocol, listener, country, header:NAME, cookie:NAME or query:NAME";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(match text.split_once(':') {
            None if text == "client_ip" => Self::ClientIp,
            None if text == "host" => Self::Host,
            None if text == "method" => Self::Method,
            None if text == "path" => Self::Path,
            None if text == "protocol" => Self::Protocol,
            None if text == "listener" => Self::Listener,
            None if text == "country" => Self::Country,
            Some(("header", name)) if names_client(&name.to_ascii_lowercase()) => {
                return Err("names a header by which proxies tell the client's address, and clients a false one; \
                            client_ip is the client, as [[client.proxy]] finds it"
                    .to_owned());
            }
            Some(("header", name)) if is_token(name) => Self::Header(name.to_ascii_lowercase()),
            Some(("cookie", name)) if is_token(name) => Self::Cookie(name.to_owned()),
            Some(("query", name)) if !name.is_empty() => Self::Query(name.to_owned()),
            _ => return Err(format!("must be {}", Self::KIND)),
        })
    }
}

/// Headers by which proxies say who the client is, or what it asked of them.
fn names_client(header: &str) -> bool {
    const WORDS: [&str; 7] =
        ["forwarded", "real-ip", "client-ip", "connecting-ip", "remote-ip", "remote-addr", "external-address"];
    WORDS.iter().any(|word| header.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read_and_forwarding_headers_are_not() {
        assert_eq!(KeyPart::from_text("client_ip"), Ok(KeyPart::ClientIp));
        assert_eq!(KeyPart::from_text("header:X-Api-Key"), Ok(KeyPart::Header("x-api-key".into())));
        assert_eq!(KeyPart::from_text("cookie:Sid"), Ok(KeyPart::Cookie("Sid".into())));
        assert_eq!(KeyPart::from_text("query:a b"), Ok(KeyPart::Query("a b".into())));
        for wrong in ["", "peer_ip", "header:", "header:a b", "cookie:", "query:", "Host"] {
            assert!(KeyPart::from_text(wrong).unwrap_err().starts_with("must be "), "{wrong}");
        }
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "x-real-ip",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Original-Forwarded-For",
        ] {
            let error = KeyPart::from_text(&format!("header:{name}")).unwrap_err();
            assert!(error.contains("[[client.proxy]]"), "{name}: {error}");
        }
    }
}
