//! The memory behind chunks: a block counts the chunks that read it, and goes home when the last one is gone.
#![expect(unsafe_code, reason = "shared ranges of memory that the kernel fills piece by piece")]

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;

use bytes::Bytes;

use super::Pool;

/// One buffer. While `lent`, the kernel writes behind the octets that are `used`; chunks only cover used octets.
pub(super) struct Block {
    /// Chunks that read this block.
    readers: Cell<u32>,
    pub(super) used: Cell<u32>,
    pub(super) lent: Cell<bool>,
    /// Whether its pages may be resident.
    pub(super) touched: Cell<bool>,
    pub(super) id: u16,
    pub(super) size: u32,
    pub(super) memory: NonNull<u8>,
    home: Home,
}

enum Home {
    /// The pool's address; the pool lives as long as a chunk of it, see [`BlockRef::first`].
    Pool(Cell<*const Pool>),
    Own(#[expect(dead_code, reason = "kept for its memory")] Vec<u8>),
    Shared(#[expect(dead_code, reason = "kept for its memory")] Bytes),
}

impl Block {
    pub(super) fn of_pool(id: u16, size: u32, memory: NonNull<u8>) -> Self {
        let (readers, used) = (Cell::new(0), Cell::new(0));
        let (lent, touched) = (Cell::new(false), Cell::new(false));
        Self { readers, used, lent, touched, id, size, memory, home: Home::Pool(Cell::new(std::ptr::null())) }
    }

    pub(super) fn readers(&self) -> u32 {
        self.readers.get()
    }

    pub(super) fn idle(&self) -> bool {
        self.readers.get() == 0 && !self.lent.get()
    }
}

/// A counted reference to a block.
pub(super) struct BlockRef(NonNull<Block>);

impl BlockRef {
    /// A reference to `pool`'s block `block`, which keeps the pool alive.
    ///
    /// # Safety
    /// `block` lies in `pool`'s own array.
    pub(super) unsafe fn pooled(pool: &Rc<Pool>, block: &Block) -> Self {
        if block.readers.get() == 0 {
            let Home::Pool(home) = &block.home else { unreachable!("pools hold blocks of pools") };
            home.set(Rc::into_raw(Rc::clone(pool)));
        }
        block.readers.set(block.readers.get() + 1);
        Self(NonNull::from(block))
    }

    pub(super) fn own(mut octets: Vec<u8>) -> (Self, NonNull<u8>) {
        let memory = NonNull::new(octets.as_mut_ptr()).unwrap_or(NonNull::dangling());
        let size = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        let block = Box::new(Block { home: Home::Own(octets), ..Block::of_pool(0, size, memory) });
        block.readers.set(1);
        (Self(NonNull::from(Box::leak(block))), memory)
    }

    /// A reference to octets that others may read too, and nobody writes any more.
    pub(super) fn shared(octets: Bytes) -> (Self, NonNull<u8>) {
        let memory = NonNull::new(octets.as_ptr().cast_mut()).unwrap_or(NonNull::dangling());
        let size = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        let block = Box::new(Block { home: Home::Shared(octets), ..Block::of_pool(0, size, memory) });
        block.readers.set(1);
        (Self(NonNull::from(Box::leak(block))), memory)
    }

    fn block(&self) -> &Block {
        // SAFETY: a block lives while it has readers: a vector's until its last `BlockRef` frees it, a pool's as long
        // as its pool, of which a block with readers holds a count. Nobody holds `&mut Block`.
        unsafe { self.0.as_ref() }
    }

    /// The size of the whole block, where it belongs to a pool.
    pub(super) fn pooled_size(&self) -> Option<u32> {
        matches!(self.block().home, Home::Pool(_)).then(|| self.block().size)
    }
}

impl Clone for BlockRef {
    fn clone(&self) -> Self {
        let readers = &self.block().readers;
        readers.set(readers.get() + 1);
        Self(self.0)
    }
}

impl Drop for BlockRef {
    fn drop(&mut self) {
        let block = self.block();
        let left = block.readers.get() - 1;
        block.readers.set(left);
        if left > 0 {
            return;
        }
        match &block.home {
            Home::Pool(home) => {
                // SAFETY: the count that `pooled` took for the first reader; this was the last one.
                let pool = unsafe { Rc::from_raw(home.get()) };
                pool.unread(block);
            }
            // SAFETY: leaked by `own` or `shared`, and this was its last reference.
            Home::Own(_) | Home::Shared(_) => drop(unsafe { Box::from_raw(self.0.as_ptr()) }),
        }
    }
}
