//! Close: a descriptor is closed by the ring, with the next submission, once nothing in flight names it.
#![expect(unsafe_code, reason = "the descriptor is taken out of its owner in drop")]

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

use io_uring::opcode;
use io_uring::types::Fd;

use crate::ring::ops::Op;
use crate::ring::runtime::try_with;
use crate::ring::stats;

/// An open socket. Whoever works on it holds it (through an `Rc`), so that its number cannot be used again meanwhile.
pub(in crate::ring) struct Descriptor(ManuallyDrop<OwnedFd>);

impl Descriptor {
    pub(in crate::ring) fn new(fd: OwnedFd) -> Self {
        try_with(|driver| stats::count(&driver.stats.sockets));
        Self(ManuallyDrop::new(fd))
    }

    pub(in crate::ring) fn fd(&self) -> Fd {
        Fd(self.0.as_raw_fd())
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: taken once, here, and not used again.
        let fd = unsafe { ManuallyDrop::take(&mut self.0) };
        // Without a runtime, which has ended, the closure is dropped, and the descriptor closes as any other does.
        try_with(move |driver| driver.start(opcode::Close::new(Fd(fd.into_raw_fd())).build(), Op::Close));
    }
}
