//! Ordered parts of a message to send, each kept alive until the kernel has taken it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Chunk;

/// Vectors kept for [`spare_vec`], and the largest one worth keeping.
const SPARE_MAX: usize = 256;
const SPARE_CAPACITY_MAX: usize = 16 << 10;
/// Room for octets that are copied one after the other.
const COPY_MIN: usize = 4 << 10;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty vector, with the capacity of one that was sent before where there is one.
pub fn spare_vec() -> Vec<u8> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

fn keep_spare(mut spare: Vec<u8>) {
    if (1..=SPARE_CAPACITY_MAX).contains(&spare.capacity()) {
        spare.clear();
        SPARE.with_borrow_mut(|all| {
            if all.len() < SPARE_MAX {
                all.push(spare)
            }
        });
    }
}

/// What a send takes: parts in order, sent by as few system calls as possible.
#[derive(Default, Debug)]
pub struct SendBuf {
    parts: SmallVec<[Part; 2]>,
    len: usize,
}

#[derive(Debug)]
enum Part {
    Vec(Vec<u8>),
    Chunk(Chunk),
    Static(&'static [u8]),
    Arc(Arc<[u8]>),
    Rc(Rc<[u8]>),
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
        self.push(part.len(), Part::Vec(part));
    }

    /// Appends received octets.
    pub fn push_chunk(&mut self, part: Chunk) {
        self.push(part.len(), Part::Chunk(part));
    }

    /// Appends constant octets.
    pub fn push_static(&mut self, part: &'static [u8]) {
        self.push(part.len(), Part::Static(part));
    }

    /// Appends octets shared between threads.
    pub fn push_arc(&mut self, part: Arc<[u8]>) {
        self.push(part.len(), Part::Arc(part));
    }

    /// Appends octets shared within the worker.
    pub fn push_rc(&mut self, part: Rc<[u8]>) {
        self.push(part.len(), Part::Rc(part));
    }

    /// Appends the parts of another.
    pub fn append(&mut self, mut other: Self) {
        self.len += other.len;
        self.parts.append(&mut other.parts);
        other.len = 0;
    }

    /// Takes out the first part, if that is a vector of its own.
    pub fn take_vec(&mut self) -> Option<Vec<u8>> {
        if !matches!(self.parts.first(), Some(Part::Vec(_))) {
            return None;
        }
        let Part::Vec(first) = self.parts.remove(0) else { return None };
        self.len -= first.len();
        Some(first)
    }

    /// Appends octets by copying them, to the last part where that is a vector of its own with room for them.
    pub fn copy(&mut self, octets: &[u8]) {
        if let Some(Part::Vec(last)) = self.parts.last_mut()
            && last.capacity() - last.len() >= octets.len()
        {
            last.extend_from_slice(octets);
            self.len += octets.len();
            return;
        }
        let mut part = spare_vec();
        part.reserve(octets.len().max(COPY_MIN));
        part.extend_from_slice(octets);
        self.push_vec(part);
    }

    /// Part `at` of its parts: those in the place of parts that were let go of are empty.
    pub(super) fn part(&self, at: usize) -> &[u8] {
        self.parts.get(at).map_or(b"", Part::octets)
    }

    /// Part `at`, if it is received octets, which can be shared.
    pub(super) fn chunk(&self, at: usize) -> Option<&Chunk> {
        match self.parts.get(at) {
            Some(Part::Chunk(chunk)) => Some(chunk),
            _ => None,
        }
    }

    /// Lets go of part `at` before the others.
    pub(super) fn let_go(&mut self, at: usize) {
        if let Some(part) = self.parts.get_mut(at)
            && let Part::Vec(vec) = std::mem::replace(part, Part::Static(b""))
        {
            keep_spare(vec);
        }
    }

    /// The parts as slices, in order.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(Part::octets)
    }

    fn push(&mut self, len: usize, part: Part) {
        if len > 0 {
            self.len += len;
            self.parts.push(part);
        }
    }

    /// Lets go of every part.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        for part in self.parts.drain(..) {
            if let Part::Vec(vec) = part {
                keep_spare(vec);
            }
        }
    }
}

impl Drop for SendBuf {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Part {
    fn octets(&self) -> &[u8] {
        match self {
            Self::Vec(part) => part,
            Self::Chunk(part) => part,
            Self::Static(part) => part,
            Self::Arc(part) => part,
            Self::Rc(part) => part,
        }
    }
}

/// Where the next octets to send lie: at most so many ranges as one system call is given.
pub(crate) type Views = SmallVec<[libc::iovec; 4]>;

impl SendBuf {
    /// The ranges after the first `skip` octets, at most `count` of them. Valid while `self` is neither changed nor
    /// dropped; moving it moves no octet.
    pub(crate) fn views(&self, mut skip: usize, count: usize, views: &mut Views) {
        views.clear();
        for part in self.parts.iter().map(Part::octets) {
            if skip >= part.len() {
                skip -= part.len();
                continue;
            }
            let rest = &part[skip..];
            skip = 0;
            views.push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() });
            if views.len() == count {
                break;
            }
        }
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

impl From<&'static [u8]> for SendBuf {
    fn from(part: &'static [u8]) -> Self {
        let mut all = Self::new();
        all.push_static(part);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_start_after_what_is_sent_and_skip_empty_parts() {
        let mut all = SendBuf::from(b"head".to_vec());
        all.push_static(b"");
        all.push_chunk(Chunk::from(b"body".to_vec()));
        all.push_rc(Rc::from(&b"tail"[..]));
        assert_eq!(all.len(), 12);
        let mut views = Views::new();
        for (skip, lens) in [(0, &[4, 4, 4][..]), (3, &[1, 4, 4]), (4, &[4, 4]), (9, &[3]), (12, &[])] {
            all.views(skip, 8, &mut views);
            assert_eq!(views.iter().map(|view| view.iov_len).collect::<Vec<_>>(), lens);
        }
        all.views(0, 2, &mut views);
        assert_eq!(views.len(), 2);
    }

    #[test]
    fn copied_octets_share_a_part() {
        let mut all = SendBuf::new();
        for octets in [&b"ab"[..], b"cd"] {
            all.copy(octets);
        }
        all.push_static(b"ef");
        all.copy(b"gh");
        assert_eq!(all.slices().collect::<Vec<_>>(), [&b"abcd"[..], b"ef", b"gh"]);
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn sent_vectors_are_used_again() {
        let mut vec = spare_vec();
        vec.extend_from_slice(&[0; 300]);
        let memory = vec.as_ptr();
        drop(SendBuf::from(vec));
        let again = spare_vec();
        assert!(again.is_empty() && again.capacity() >= 300);
        assert_eq!(again.as_ptr(), memory);
    }
}
