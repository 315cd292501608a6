//! Accept: one multishot operation per listener.

use std::rc::Rc;

use io_uring::opcode;

use crate::ring::driver::Driver;
use crate::ring::listener::Acceptor;
use crate::ring::ops::{Op, Token};

impl Driver {
    /// Starts a multishot accept. The sockets block, because the ring answers one that must not block at once, with
    /// EAGAIN, in place of waiting for it.
    pub(in crate::ring) fn start_accept(&self, acceptor: &Rc<Acceptor>) -> Token {
        let entry = opcode::AcceptMulti::new(acceptor.fd()).flags(libc::SOCK_CLOEXEC).build();
        self.start(entry, Op::Accept(Rc::clone(acceptor)))
    }
}
