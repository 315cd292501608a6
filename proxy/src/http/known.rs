//! Field names that some stage asks for: recognised once, while the head is parsed.

macro_rules! known {
    ($($variant:ident $name:literal)*) => {
        /// A recognised field name.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Known {
            $(#[doc = $name] $variant,)*
            /// Any `x-forwarded-` name without a variant of its own.
            XForwarded,
            /// A name no stage asks for.
            Other,
        }

        const NAMES: &[(&str, Known)] = &[$(($name, Known::$variant),)*];

        impl Known {
            /// Lower-case name; empty for [`Known::XForwarded`] and [`Known::Other`].
            pub const fn name(self) -> &'static str {
                match self {
                    $(Known::$variant => $name,)*
                    Known::XForwarded | Known::Other => "",
                }
            }
        }
    };
}

known! {
    Host "host"
    Connection "connection"
    ContentLength "content-length"
    TransferEncoding "transfer-encoding"
    Expect "expect"
    Upgrade "upgrade"
    KeepAlive "keep-alive"
    ProxyConnection "proxy-connection"
    ProxyAuthenticate "proxy-authenticate"
    ProxyAuthorization "proxy-authorization"
    ProxyAuthenticationInfo "proxy-authentication-info"
    Te "te"
    Trailer "trailer"
    Http2Settings "http2-settings"
    Via "via"
    Forwarded "forwarded"
    XForwardedFor "x-forwarded-for"
    XForwardedHost "x-forwarded-host"
    XForwardedProto "x-forwarded-proto"
    XForwardedPort "x-forwarded-port"
    XRealIp "x-real-ip"
    XRequestId "x-request-id"
    ClientCert "client-cert"
    ClientCertChain "client-cert-chain"
    SecWebSocketKey "sec-websocket-key"
    SecWebSocketVersion "sec-websocket-version"
    SecWebSocketAccept "sec-websocket-accept"
    Cookie "cookie"
    SetCookie "set-cookie"
    Authorization "authorization"
    UserAgent "user-agent"
    Referer "referer"
    ContentType "content-type"
    ContentEncoding "content-encoding"
    Date "date"
    Server "server"
}

impl Known {
    /// How many there are, [`Known::Other`] included.
    pub const COUNT: usize = Known::Other as usize + 1;

    /// Recognises a field name, which must be a token; case does not matter.
    #[inline]
    pub fn of(name: &[u8]) -> Known {
        if let Some(&slot) = TABLE.get(hash(name))
            && slot != EMPTY
        {
            let (known, variant) = NAMES[slot as usize];
            if same_token(name, known.as_bytes()) {
                return variant;
            }
        }
        const PREFIX: &[u8] = b"x-forwarded-";
        match name {
            [b'x' | b'X', ..] if name.get(..PREFIX.len()).is_some_and(|start| same_token(start, PREFIX)) => {
                Known::XForwarded
            }
            _ => Known::Other,
        }
    }

    /// This name's bit in a set of names.
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// A set of names as bits.
pub(crate) const fn set(names: &[Known]) -> u64 {
    let mut bits = 0;
    let mut at = 0;
    while at < names.len() {
        bits |= names[at].bit();
        at += 1;
    }
    bits
}

const _: () = assert!(Known::COUNT <= 64, "sets of names are 64 bits wide");

const SLOTS: usize = 128;
const EMPTY: u8 = u8::MAX;
static TABLE: [u8; SLOTS] = table();

/// A perfect hash over [`NAMES`]; that it is perfect is checked when [`table`] is built, at compile time.
const fn hash(name: &[u8]) -> usize {
    let [first, .., last] = name else { return 0 };
    let inner = name[name.len().saturating_sub(4)];
    let (first, inner, last) = (*first | 0x20, inner | 0x20, *last | 0x20);
    (name.len() + first as usize + last as usize * 9 + inner as usize * 49) % SLOTS
}

const fn table() -> [u8; SLOTS] {
    let mut table = [EMPTY; SLOTS];
    let mut at = 0;
    while at < NAMES.len() {
        let name = NAMES[at].0.as_bytes();
        let slot = hash(name);
        assert!(table[slot] == EMPTY, "two names share a slot: change the hash's factors");
        table[slot] = at as u8;
        at += 1;
    }
    table
}

/// Whether a token equals a lower-case name of letters, digits and hyphens. No other tchar maps onto one of those by
/// setting the bit of 0x20, so that needs no table.
fn same_token(token: &[u8], name: &[u8]) -> bool {
    token.len() == name.len() && token.iter().zip(name).fold(0, |diff, (&a, &b)| diff | ((a | 0x20) ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_recognised_in_any_case_and_no_other_is() {
        for &(name, known) in NAMES {
            assert_eq!(Known::of(name.as_bytes()), known);
            assert_eq!(Known::of(name.to_ascii_uppercase().as_bytes()), known);
            assert_eq!(known.name(), name);
            assert_eq!(
                Known::of(format!("{name}s").as_bytes()),
                if name.starts_with("x-forwarded-") { Known::XForwarded } else { Known::Other }
            );
        }
        for other in ["", "a", "hosu", "x-forwarded", "content_length"] {
            assert_eq!(Known::of(other.as_bytes()), Known::Other, "{other}");
        }
        assert_eq!(Known::of(b"X-Forwarded-Prefix"), Known::XForwarded);
    }
}
