//! A ring of provided buffers: blocks lent to the kernel, which fills them as octets arrive.
#![expect(unsafe_code, reason = "memory shared with the kernel")]

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::{BufRingEntry, IOU_PBUF_RING_INC};

use super::Chunk;
use super::block::{Block, BlockRef};

/// The blocks of one buffer group. A block is free, or lent to the kernel, or read by chunks, or both of the latter:
/// an incremental ring takes a block piece by piece, so that many small messages share one.
///
/// Few blocks are lent at a time and the one used last is lent first, so that the memory in use stays small and warm.
pub(crate) struct Pool {
    group: u16,
    incremental: bool,
    /// Blocks the kernel should have.
    lend_max: u16,
    size: u32,
    entries: Mapping,
    /// What the blocks are cut from.
    _memory: Mapping,
    blocks: Box<[Block]>,
    free: RefCell<Vec<u16>>,
    /// Fewest free blocks since the last trim: that many were not needed.
    free_min: Cell<usize>,
    tail: Cell<u16>,
    lent: Cell<u16>,
    read: Cell<u32>,
}

impl Pool {
    /// At most `count` blocks of `size` octets, of which the kernel has `lend_max` at a time.
    pub(crate) fn new(group: u16, size: u32, count: u16, lend_max: u16) -> io::Result<Self> {
        let slots = lend_max.next_power_of_two();
        let entries = Mapping::new(usize::from(slots) * size_of::<BufRingEntry>())?;
        let memory = Mapping::new(usize::from(count) * size as usize)?;
        let block = |id: u16| {
            // SAFETY: within the mapping made for `count` blocks.
            let at = unsafe { memory.at.add(usize::from(id) * size as usize) };
            Block::of_pool(id, size, at)
        };
        let blocks = (0..count).map(block).collect();
        let free = RefCell::new((0..count).rev().collect());
        let (tail, lent, read, free_min) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(0));
        let incremental = false;
        Ok(Self {
            group,
            incremental,
            lend_max,
            size,
            entries,
            _memory: memory,
            blocks,
            free,
            free_min,
            tail,
            lent,
            read,
        })
    }

    /// Makes the ring known to the kernel; EINVAL where it should be `incremental` and cannot (before 6.12).
    pub(crate) fn register(&mut self, submitter: &Submitter<'_>, incremental: bool) -> io::Result<()> {
        let flags = if incremental { IOU_PBUF_RING_INC as u16 } else { 0 };
        let (at, slots) = (self.entries.at.as_ptr() as u64, self.lend_max.next_power_of_two());
        self.incremental = incremental;
        // SAFETY: page-aligned, large enough for `slots` entries, and mapped until the pool is dropped, which its
        // owner does after the ring.
        unsafe { submitter.register_buf_ring_with_flags(at, slots, self.group, flags) }
    }

    /// Octets of one block.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Blocks that chunks read.
    pub(crate) fn read(&self) -> u32 {
        self.read.get()
    }

    /// Whether most blocks are taken, so that small messages are worth copying.
    pub(crate) fn scarce(&self) -> bool {
        self.free.borrow().len() * 4 < self.blocks.len()
    }

    /// Whether the kernel has a block to fill.
    pub(crate) fn ready(&self) -> bool {
        self.lent.get() > 0
    }

    /// Lends blocks until the kernel has its share; costs nothing where it has.
    pub(crate) fn lend(&self) {
        if self.lent.get() >= self.lend_max {
            return;
        }
        let mut free = self.free.borrow_mut();
        let mut tail = self.tail.get();
        while self.lent.get() < self.lend_max {
            let Some(id) = free.pop() else { break };
            let block = &self.blocks[usize::from(id)];
            block.used.set(0);
            block.lent.set(true);
            block.touched.set(true);
            self.write_entry(tail, block);
            tail = tail.wrapping_add(1);
            self.lent.set(self.lent.get() + 1);
        }
        self.free_min.set(self.free_min.get().min(free.len()));
        self.tail.set(tail);
        let entries = self.entries.at.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the tail lies within the first entry, is aligned for an atomic, and the kernel only reads it.
        let shared = unsafe { &*BufRingEntry::tail(entries).cast::<AtomicU16>() };
        shared.store(tail, Ordering::Release);
    }

    fn write_entry(&self, tail: u16, block: &Block) {
        let slot = usize::from(tail & (self.lend_max.next_power_of_two() - 1));
        // SAFETY: `slot` is within the mapping, and free: at most `lend_max` entries stand before the tail, and the
        // kernel reads an entry only once the tail has passed it.
        let entry = unsafe { &mut *self.entries.at.cast::<BufRingEntry>().add(slot).as_ptr() };
        entry.set_addr(block.memory.as_ptr() as u64);
        entry.set_len(block.size);
        entry.set_bid(block.id);
    }

    /// The kernel has written `len` octets to block `id`, behind those it wrote before. That it keeps the rest follows
    /// from the count: kernels disagree on the flag that says so at the end of a stream.
    pub(crate) fn filled(self: &Rc<Self>, id: u16, len: u32) -> Option<Chunk> {
        let block = self.blocks.get(usize::from(id)).filter(|block| block.lent.get())?;
        let (start, end) = (block.used.get(), block.used.get() + len);
        debug_assert!(end <= block.size, "the kernel wrote past block {id}");
        block.used.set(end);
        let first_reader = block.readers() == 0;
        // SAFETY: `block` is one of `blocks`.
        let reader = (len > 0).then(|| unsafe { BlockRef::pooled(self, block) });
        if reader.is_some() && first_reader {
            self.read.set(self.read.get() + 1);
        }
        if !self.incremental || end >= block.size {
            block.lent.set(false);
            self.lent.set(self.lent.get() - 1);
            self.reclaim(block);
        }
        // SAFETY: the octets from `start` on were just written, for this chunk alone; the kernel goes on behind them,
        // and gets the block anew only when nothing reads it.
        reader.map(|reader| unsafe { Chunk::new(reader, block.memory.add(start as usize), len) })
    }

    /// The last chunk of `block` is gone.
    pub(super) fn unread(&self, block: &Block) {
        self.read.set(self.read.get() - 1);
        self.reclaim(block);
    }

    fn reclaim(&self, block: &Block) {
        if block.idle() {
            self.free.borrow_mut().push(block.id);
        }
    }

    /// Gives the memory of blocks that were not needed since the last trim back to the system.
    pub(crate) fn trim(&self) {
        let free = self.free.borrow();
        for &id in &free[..self.free_min.get().min(free.len())] {
            let block = &self.blocks[usize::from(id)];
            if block.touched.replace(false) {
                // SAFETY: whole pages of the mapping that neither the kernel nor a chunk uses.
                unsafe { libc::madvise(block.memory.as_ptr().cast(), self.size as usize, libc::MADV_DONTNEED) };
            }
        }
        self.free_min.set(free.len());
    }

    /// Octets that may be resident.
    pub(crate) fn memory(&self) -> u64 {
        self.blocks.iter().filter(|block| block.touched.get()).count() as u64 * u64::from(self.size)
    }
}

/// Anonymous memory, page-aligned, zero, resident once touched.
struct Mapping {
    at: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Self> {
        let len = len.max(1);
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping touches no memory that exists.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags | libc::MAP_NORESERVE, -1, 0) };
        match NonNull::new(at.cast::<u8>()) {
            Some(at) if at.as_ptr().cast() != libc::MAP_FAILED => Ok(Self { at, len }),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; the pool drops it last of all, when neither chunks nor the ring are left.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}
