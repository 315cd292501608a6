//! Ordered parts of a message to send, each kept alive until the kernel has taken it.

use super::Chunk;
use std::rc::Rc;
use std::sync::Arc;

/// An empty vector, with the capacity of one that was sent before where there is one.
pub fn spare_vec() -> Vec<u8> {
    Vec::new()
}

/// What a send takes: parts in order, sent by as few system calls as possible.
#[derive(Default, Debug)]
pub struct SendBuf {
    len: usize,
}

impl SendBuf {
    /// Nothing to send.
    pub fn new() -> Self {
        Self::default()
    }
    /// Octets to send.
    pub fn len(&self) -> usize {
        self.len
    }
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Appends octets of its own; their vector goes to the pool of [`spare_vec`] afterwards.
    pub fn push_vec(&mut self, part: Vec<u8>) {
        self.len += part.len();
    }
    /// Appends received octets.
    pub fn push_chunk(&mut self, part: Chunk) {
        self.len += part.len();
    }
    /// Appends constant octets.
    pub fn push_static(&mut self, part: &'static [u8]) {
        self.len += part.len();
    }
    /// Appends octets shared between threads.
    pub fn push_arc(&mut self, part: Arc<[u8]>) {
        self.len += part.len();
    }
    /// Appends octets shared within the worker.
    pub fn push_rc(&mut self, part: Rc<[u8]>) {
        self.len += part.len();
    }
    /// Appends the parts of another.
    pub fn append(&mut self, other: Self) {
        self.len += other.len;
    }
}

impl From<Chunk> for SendBuf {
    fn from(part: Chunk) -> Self {
        let mut all = Self::new();
        all.push_chunk(part);
        all
    }
}

impl From<Vec<u8>> for SendBuf {
    fn from(part: Vec<u8>) -> Self {
        let mut all = Self::new();
        all.push_vec(part);
        all
    }
}
