//! Poll: readiness of a descriptor.

use std::any::Any;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use io_uring::opcode;
use io_uring::types::Fd;

use super::once;

/// Waits until `fd` can be read, or has failed or ended.
pub async fn readable(fd: Rc<OwnedFd>) -> io::Result<()> {
    readable_while(Fd(fd.as_raw_fd()), fd).await
}

/// The same of a descriptor that is open for as long as `keep` is there.
pub(in crate::ring) async fn readable_while(fd: Fd, keep: impl Any) -> io::Result<()> {
    let entry = opcode::PollAdd::new(fd, libc::POLLIN as u32).build();
    once::start(entry, keep).await.map(drop)
}
