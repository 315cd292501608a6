//! An operation with one result, as a future; dropping it cancels.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use io_uring::squeue;

use crate::ring::ops::{Once, Op, Token};
use crate::ring::runtime::{try_with, with};

/// Waits for an operation's result.
pub(in crate::ring) struct Outcome {
    once: Rc<Once>,
    token: Token,
}

/// Starts the operation that `entry` describes; `keep` owns the memory and descriptors it names.
pub(in crate::ring) fn start(entry: squeue::Entry, keep: impl Any) -> Outcome {
    let once = Rc::new(Once { result: Cell::new(None), waker: Cell::new(None), keep: Box::new(keep) });
    let token = with(|driver| driver.start(entry, Op::Once(Rc::clone(&once))));
    Outcome { once, token }
}

impl Future for Outcome {
    type Output = io::Result<u32>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(result) = self.once.result.get() else {
            self.once.waker.set(Some(context.waker().clone()));
            return Poll::Pending;
        };
        Poll::Ready(u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result)))
    }
}

impl Drop for Outcome {
    fn drop(&mut self) {
        if self.once.result.get().is_none() {
            self.once.waker.take();
            try_with(|driver| driver.cancel(self.token));
        }
    }
}
