//! Send: the octets at the head of a socket's queue, by one operation that ends when all are taken.
#![expect(unsafe_code, reason = "messages name their octets by address")]

use std::mem;
use std::rc::Rc;

use io_uring::opcode;

use crate::buf::{SendBuf, Views};
use crate::ring::driver::Driver;
use crate::ring::ops::{Op, Token};
use crate::ring::socket::Stream;

/// Ranges in one call: more cost more to import than the call they spare.
const VIEWS_MAX: usize = 64;
/// MSG_WAITALL: the kernel goes on until everything is taken, so that a whole send is one completion.
const FLAGS: i32 = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

/// A send in flight and what follows it. The socket keeps it until the last completion; the kernel reads `views` and
/// `message` while the operation is prepared, the octets themselves until it completes.
pub(in crate::ring) struct Transmit {
    pub(in crate::ring) current: SendBuf,
    /// Octets of `current` that the kernel has taken.
    pub(in crate::ring) done: usize,
    /// What is sent after `current`.
    pub(in crate::ring) next: SendBuf,
    pub(in crate::ring) token: Token,
    views: Views,
    message: libc::msghdr,
}

impl Default for Transmit {
    fn default() -> Self {
        // SAFETY: a message header is numbers and pointers, for which zero means none.
        let message = unsafe { mem::zeroed() };
        let (current, next, views) = (SendBuf::new(), SendBuf::new(), Views::new());
        Self { current, done: 0, next, token: Token::NOBODY, views, message }
    }
}

impl Transmit {
    /// Forgets what it holds.
    pub(in crate::ring) fn clear(&mut self) {
        self.current.clear();
        self.next.clear();
        self.done = 0;
    }
}

impl Driver {
    /// Starts the send of what is left of `transmit.current`.
    pub(in crate::ring) fn start_send(&self, stream: &Rc<Stream>, transmit: &mut Transmit) {
        transmit.current.views(transmit.done, VIEWS_MAX, &mut transmit.views);
        let entry = if let [only] = transmit.views[..] {
            let len = u32::try_from(only.iov_len).unwrap_or(i32::MAX as u32);
            opcode::Send::new(stream.fd(), only.iov_base.cast(), len).flags(FLAGS).build()
        } else {
            transmit.message.msg_iov = transmit.views.as_mut_ptr();
            transmit.message.msg_iovlen = transmit.views.len() as _;
            opcode::SendMsg::new(stream.fd(), &raw const transmit.message).flags(FLAGS as u32).build()
        };
        transmit.token = self.start(entry, Op::Send(Rc::clone(stream)));
    }
}
