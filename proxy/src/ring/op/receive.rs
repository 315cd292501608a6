//! Receive: one multishot operation per socket, into provided buffers.
#![expect(unsafe_code, reason = "one field of the entry that the io-uring crate does not set")]

use std::rc::Rc;

use io_uring::{opcode, squeue};

use crate::ring::driver::Driver;
use crate::ring::ops::{Op, Token};
use crate::ring::socket::Stream;

impl Driver {
    /// Starts a multishot receive from buffer group `group`. Where the kernel can (6.17), it ends after `limit`
    /// octets by itself, so that a flood is stopped in the kernel.
    pub(in crate::ring) fn start_receive(&self, stream: &Rc<Stream>, group: u16, limit: u32) -> Token {
        let mut entry = opcode::RecvMulti::new(stream.fd(), group).build();
        if self.recv_limit.get() {
            set_limit(&mut entry, limit);
        }
        self.start(entry, Op::Receive(Rc::clone(stream)))
    }
}

/// Sets `optlen` (`mshot_total_len` of a receive).
fn set_limit(entry: &mut squeue::Entry, limit: u32) {
    const OPTLEN: usize = 44;
    const _: () = assert!(size_of::<squeue::Entry>() == 64);
    // SAFETY: an entry is the kernel's `struct io_uring_sqe`, 64 octets of plain numbers, `optlen` at offset 44.
    unsafe { (&raw mut *entry).cast::<u8>().add(OPTLEN).cast::<u32>().write_unaligned(limit) };
}
