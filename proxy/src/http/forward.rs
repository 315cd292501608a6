//! What an upstream is told about the client: forwarding headers, written anew for every request.

/// Which forwarding headers an upstream gets: key `forwarded`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Forwarded {
    /// X-Forwarded-For, -Host, -Proto, -Port and X-Real-IP.
    #[default]
    X,
    /// Forwarded (RFC 7239).
    Rfc7239,
    /// Both.
    Both,
    /// None.
    Off,
}

/// The facts that forwarding headers carry.
#[derive(Clone, Copy, Debug)]
pub struct Forwarding<'a> {
    /// Which headers.
    pub mode: Forwarded,
    /// The client's address as text, without a port; `unix` for a peer on a Unix socket. Made once per connection.
    pub client: &'a str,
    /// `http` or `https`.
    pub proto: &'a str,
    /// The listener's port.
    pub port: u16,
}

/// Passages through weir after which a request is in a loop.
pub(crate) const HOPS_MAX: usize = 10;
/// The pseudonym in Via (RFC 9110 section 7.6.3).
pub(crate) const PSEUDONYM: &[u8] = b"weir";

/// How many elements of Via are ours.
pub(crate) fn own_hops<'a>(via: impl Iterator<Item = &'a [u8]>) -> usize {
    via.filter(|element| element.split(|&b| b == b' ').nth(1) == Some(PSEUDONYM)).count()
}

impl Forwarding<'_> {
    /// Hands each forwarding header to `line` as a name and the pieces of its value. `host` is the authority as the
    /// client spelled it.
    pub(crate) fn lines(&self, host: &[u8], mut line: impl FnMut(&[u8], &[&[u8]])) {
        let mut digits = itoa::Buffer::new();
        let (client, proto) = (self.client.as_bytes(), self.proto.as_bytes());
        if matches!(self.mode, Forwarded::X | Forwarded::Both) {
            line(b"X-Forwarded-For", &[client]);
            if !host.is_empty() {
                line(b"X-Forwarded-Host", &[host]);
            }
            line(b"X-Forwarded-Proto", &[proto]);
            line(b"X-Forwarded-Port", &[digits.format(self.port).as_bytes()]);
            line(b"X-Real-IP", &[client]);
        }
        if matches!(self.mode, Forwarded::Rfc7239 | Forwarded::Both) {
            let (open, node, close) = self.node();
            if host.is_empty() {
                line(b"Forwarded", &[b"for=", open, node, close, b";proto=", proto]);
            } else {
                // A valid host holds neither quote nor backslash.
                line(b"Forwarded", &[b"for=", open, node, close, b";host=\"", host, b"\";proto=", proto]);
            }
        }
    }

    /// RFC 7239 section 6: IPv6 in brackets and quoted; what is no address is unknown.
    fn node(&self) -> (&'static [u8], &[u8], &'static [u8]) {
        match self.client.as_bytes() {
            client if client.contains(&b':') => (b"\"[", client, b"]\""),
            client if client.first().is_some_and(u8::is_ascii_digit) => (b"", client, b""),
            _ => (b"", b"unknown", b""),
        }
    }
}
