//! The chunked transfer coding, read as it arrives (RFC 9112 section 7.1).

use super::body::Piece;
use super::parse::Underscore;
use crate::base::{Fault, Reason};

/// Trailers of a chunked body, those that may not stand there left out (RFC 9110 section 6.5.1). Never merged into the
/// head's fields.
#[derive(Debug, Default)]
pub struct Trailers {}

impl Trailers {
    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        std::iter::empty()
    }
}

#[derive(Debug)]
pub(crate) struct Chunked {}

impl Chunked {
    pub(crate) fn new(_underscore: Underscore) -> Self {
        Self {}
    }

    pub(crate) fn next(&mut self, _input: &[u8]) -> Result<Piece, Fault> {
        Err(Fault::new(Reason::ChunkInvalid))
    }

    pub(crate) fn is_done(&self) -> bool {
        false
    }

    pub(crate) fn trailers(&self) -> Option<&Trailers> {
        None
    }
}
