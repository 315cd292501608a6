//! Accept: one multishot operation per listener, or one operation after the other where the socket is shared.

use std::ptr::null_mut;
use std::rc::Rc;

use io_uring::opcode;

use crate::ring::driver::Driver;
use crate::ring::listener::Acceptor;
use crate::ring::ops::{Op, Token};

impl Driver {
    /// Starts an accept. Of those that wait at one socket the kernel calls the first: a multishot accept would stay that
    /// for ever, and no other worker ever be called, so there each connection takes a new place at the end. The sockets block, because the ring answers one that must not block at once, with
    /// EAGAIN, in place of waiting for it.
    pub(in crate::ring) fn start_accept(&self, acceptor: &Rc<Acceptor>) -> Token {
        let entry = if acceptor.is_shared() {
            opcode::Accept::new(acceptor.fd(), null_mut(), null_mut()).flags(libc::SOCK_CLOEXEC).build()
        } else {
            opcode::AcceptMulti::new(acceptor.fd()).flags(libc::SOCK_CLOEXEC).build()
        };
        self.start(entry, Op::Accept(Rc::clone(acceptor)))
    }
}
