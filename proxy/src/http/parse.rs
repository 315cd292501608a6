//! Request heads: every rule of HTTP/1 framing, strictly.

use super::head::Head;
use crate::base::Fault;

/// What to do with field names that hold an underscore: key `underscore_headers`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Underscore {
    /// Leave the field out: many origins read `_` as `-`.
    #[default]
    Drop,
    /// Treat it as any other.
    Allow,
    /// Refuse the request.
    Reject,
}

/// Bounds and choices of a listener for request heads.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Octets of a head: else 431.
    pub head_max: usize,
    /// Octets of a request target: else 414.
    pub target_max: usize,
    /// Field lines: else 431.
    pub fields_max: usize,
    /// Pairs of a query: else 400.
    pub query_pairs_max: usize,
    /// Names with underscores.
    pub underscore: Underscore,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_max: 32 << 10,
            target_max: 8 << 10,
            fields_max: 128,
            query_pairs_max: 256,
            underscore: Underscore::Drop,
        }
    }
}

/// Parses the head at the front of `buf`. `Ok(None)`: not whole yet; call again with the same octets and more behind
/// them. `Ok(Some(n))`: whole, n octets long. The result is the same however the octets were split, and takes time
/// linear in their number. A whole head is forgotten by the next call; [`Head::clear`] forgets an incomplete one.
pub fn parse_request(_buf: &[u8], _limits: &HeadLimits, _head: &mut Head) -> Result<Option<usize>, Fault> {
    Ok(None)
}
