//! Host names and authorities: validity and the one spelling that every stage compares.

/// A host or authority that is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostError;

/// Reads `host[:port]` (name, IPv4, [IPv6]; port 1-65535; at most 255 octets) into `out`, which is cleared first: lower
/// case, no port, no trailing dot, IPv6 in brackets and canonical. Returns the port.
pub fn normalise_host(_authority: &[u8], out: &mut String) -> Result<Option<u16>, HostError> {
    out.clear();
    Err(HostError)
}
