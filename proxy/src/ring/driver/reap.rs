//! Completions: each goes to the operation it belongs to.

use io_uring::cqueue;

use super::Driver;
use crate::ring::ops::Op;
use crate::ring::stats;

impl Driver {
    pub(super) fn reap(&self) {
        while let Some(entry) = self.enter.completion() {
            stats::count(&self.stats.completions);
            let more = cqueue::more(entry.flags());
            let op = self.ops.borrow_mut().completed(entry.user_data(), more);
            let Some(op) = op else { continue };
            self.complete(op, &entry, more);
        }
    }

    fn complete(&self, op: Op, entry: &cqueue::Entry, more: bool) {
        match op {
            Op::Receive(stream) => stream.received(self, entry, more),
            Op::Send(stream) => stream.sent(self, entry.result()),
            Op::Accept(acceptor) => acceptor.accepted(self, entry.result(), more),
            Op::Once(once) => {
                once.result.set(Some(entry.result()));
                if let Some(waker) = once.waker.take() {
                    waker.wake();
                }
            }
            Op::Close => {
                stats::discount(&self.stats.sockets);
                self.resume_accepts();
            }
            Op::Wake => self.woken(),
        }
    }
}
