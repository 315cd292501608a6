//! Poll: readiness of a descriptor that is not one of the ring's sockets.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use io_uring::opcode;
use io_uring::types::Fd;

use super::once;

/// Waits until `fd` can be read, or has failed or ended.
pub async fn readable(fd: Rc<OwnedFd>) -> io::Result<()> {
    let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), libc::POLLIN as u32).build();
    once::start(entry, fd).await.map(drop)
}
