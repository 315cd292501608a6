//! A shared range of a received buffer, or of memory of its own.
#![expect(unsafe_code, reason = "a chunk reads its range through a pointer into its block")]

use std::fmt;
use std::ops::{Deref, Range};
use std::ptr::NonNull;

use bytes::Bytes;

use super::block::BlockRef;

/// Octets that live in a provided buffer (or in a vector): cheap to clone and to split, never copied. The buffer goes
/// back to its ring when the last chunk of it is gone.
#[derive(Clone)]
pub struct Chunk {
    block: BlockRef,
    at: NonNull<u8>,
    len: u32,
}

impl Chunk {
    /// # Safety
    /// The `len` octets at `at` lie in `block` and are never written again while it has readers.
    pub(super) unsafe fn new(block: BlockRef, at: NonNull<u8>, len: u32) -> Self {
        Self { block, at, len }
    }

    /// Takes the first `count` octets (at most all) out of this one.
    pub fn split_to(&mut self, count: usize) -> Self {
        let mut head = self.clone();
        head.truncate(count);
        self.advance(count);
        head
    }

    /// Drops the first `count` octets (at most all).
    pub fn advance(&mut self, count: usize) {
        let count = count.min(self.len());
        // SAFETY: stays within the range or one past its end.
        self.at = unsafe { self.at.add(count) };
        self.len -= count as u32;
    }

    /// Keeps the first `count` octets (at most all).
    pub fn truncate(&mut self, count: usize) {
        self.len = self.len().min(count) as u32;
    }

    /// The octets of `range`, which is cut to what is there.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let mut part = self.clone();
        part.truncate(range.end);
        part.advance(range.start);
        part
    }

    /// Lets go of a shared buffer by copying, where this is a small part of it: for octets that are kept while
    /// waiting (a partial head, a pipelined request), so that a few octets cannot pin a whole buffer.
    pub fn compact(&mut self) {
        const WORTH_A_COPY: u32 = 8;
        if self.block.pooled_size().is_some_and(|size| self.len < size / WORTH_A_COPY) {
            *self = Self::from(self.to_vec());
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `new` demands it of whoever makes a chunk, and every change narrows the range.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len as usize) }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Chunk {
    /// Takes the vector over without copying; its first 4 GiB, if it should be larger.
    fn from(octets: Vec<u8>) -> Self {
        let len = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        let (block, at) = BlockRef::own(octets);
        // SAFETY: the vector's own memory, which nothing else can reach any more.
        unsafe { Self::new(block, at, len) }
    }
}

impl From<Bytes> for Chunk {
    /// Takes them over without copying; the first 4 GiB, if there should be more.
    fn from(octets: Bytes) -> Self {
        let len = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        let (block, at) = BlockRef::shared(octets);
        // SAFETY: memory that nobody writes while the `Bytes` exists, which the block holds.
        unsafe { Self::new(block, at, len) }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk(\"{}\")", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_shares_and_keeps_order() {
        let mut rest = Chunk::from(b"hello world".to_vec());
        let head = rest.split_to(5);
        assert_eq!((&*head, &*rest), (&b"hello"[..], &b" world"[..]));
        rest.advance(1);
        assert_eq!(&*rest.slice(1..3), b"or");
        rest.truncate(2);
        assert_eq!(&*rest, b"wo");
        rest.advance(99);
        assert!(rest.is_empty());
        drop(rest);
        assert_eq!(&*head, b"hello");
    }

    #[test]
    fn shared_octets_are_taken_over_as_they_lie() {
        let all = Bytes::from(b"hello world".to_vec());
        let at = all[6..].as_ptr();
        let chunk = Chunk::from(all.slice(6..));
        drop(all);
        assert_eq!((&*chunk, chunk.as_ptr()), (&b"world"[..], at));
    }

    #[test]
    fn empty_vector_is_an_empty_chunk() {
        assert!(Chunk::from(Vec::new()).clone().split_to(3).is_empty());
    }
}
