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
