//! The worker's io_uring driver and executor: tasks, sockets, timers, mailboxes. One runtime per thread; everything
//! here is found through a thread-local and is `!Send`, but for [`Remote`] and [`Sender`].
//!
//! A turn of the loop reads the clock once, lets due timers wake their tasks, runs the tasks that were woken, and
//! then makes the one system call that submits what they started and waits for what completes. An operation in
//! flight owns its descriptor and its memory through its slot in [`ops`], so a task may drop whatever it waits for.

mod driver;
mod event;
mod executor;
mod listener;
mod op;
mod ops;
mod remote;
mod runtime;
mod socket;
mod stats;
mod timer;
mod wheel;

pub use crate::buf::{Chunk, SendBuf, spare_vec};
pub use driver::Settings;
pub use event::{Either, Event, select2, yield_now};
pub use executor::spawn;
pub use listener::Listener;
pub use op::connect::{Endpoint, connect};
pub use op::poll::readable;
pub use op::splice::{Pipe, splice};
pub use remote::{Mailbox, Remote, Sender};
pub use runtime::{Runtime, expect, forbidden, now, recv_cap, remote, stats};
pub use socket::{Probe, Socket};
pub use stats::Stats;
pub use timer::{Elapsed, Timer, sleep_until};

#[cfg(test)]
mod tests;
