//! Splice: moves octets from one socket to another through a pipe, without a copy to user space.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use io_uring::opcode;
use io_uring::types::Fd;

use super::once;
use crate::ring::Socket;

/// The pipe through which octets are moved.
pub struct Pipe {
    reader: Rc<OwnedFd>,
    writer: Rc<OwnedFd>,
}

impl Pipe {
    /// A pipe of the system's default capacity.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { reader: Rc::new(reader.into()), writer: Rc::new(writer.into()) })
    }
}

/// Moves up to `count` octets from `from`, which must not have been received from, to `to`, which must have nothing
/// to send; returns how many, less only at the end of the stream. The kernel runs each step on a thread of its own.
pub async fn splice(from: &Socket, to: &Socket, pipe: &Pipe, count: u64) -> io::Result<u64> {
    let (source, sink) = (from.descriptor(), to.descriptor());
    let mut moved = 0;
    while moved < count {
        let step = u32::try_from(count - moved).unwrap_or(u32::MAX).min(STEP_MAX);
        let entry = opcode::Splice::new(source.fd(), -1, Fd(pipe.writer.as_raw_fd()), -1, step).build();
        let mut held = once::start(entry, (Rc::clone(&source), Rc::clone(&pipe.writer))).await?;
        if held == 0 {
            break;
        }
        moved += u64::from(held);
        while held > 0 {
            let entry = opcode::Splice::new(Fd(pipe.reader.as_raw_fd()), -1, sink.fd(), -1, held).build();
            held -= once::start(entry, (Rc::clone(&sink), Rc::clone(&pipe.reader))).await?;
        }
    }
    Ok(moved)
}

/// The capacity of a pipe.
const STEP_MAX: u32 = 64 << 10;
