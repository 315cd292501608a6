//! A look at a socket that others own: it keeps nothing open.

use std::io;
use std::os::fd::AsFd;
use std::rc::{Rc, Weak};
use std::time::Duration;

use super::stream::{self, Stream};
use crate::base::TcpInfo;

/// Answers for as long as the socket is there.
#[derive(Clone)]
pub struct Probe(Weak<Stream>);

impl Probe {
    pub(super) fn of(stream: &Rc<Stream>) -> Self {
        Self(Rc::downgrade(stream))
    }

    /// TCP_INFO; none on a Unix socket. A system call.
    pub fn tcp_info(&self) -> Option<TcpInfo> {
        stream::tcp_info(self.0.upgrade()?.as_fd())
    }

    /// Whether its close resets the connection. A system call.
    pub fn resets(&self) -> bool {
        let linger = self.0.upgrade().and_then(|stream| socket2::SockRef::from(&*stream).linger().ok()?);
        linger == Some(Duration::ZERO)
    }

    /// The error that a receive or a send ended with.
    pub fn error(&self) -> Option<io::Error> {
        self.0.upgrade()?.error()
    }

    /// Whether the peer's end of stream has come.
    pub fn has_ended(&self) -> bool {
        self.0.upgrade().is_some_and(|stream| stream.has_ended())
    }
}
