//! The worker's io_uring driver and executor: tasks, sockets, timers, mailboxes. One runtime per thread; everything
//! here is found through a thread-local and is `!Send`, but for [`Remote`] and [`Sender`].

mod skeleton;

pub use crate::buf::{Chunk, SendBuf, spare_vec};
pub use skeleton::*;
