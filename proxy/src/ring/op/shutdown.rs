//! Shutdown: ends one or both directions of a stream.

use std::io;
use std::net::Shutdown;

use io_uring::opcode;

use super::once;
use crate::ring::Socket;

impl Socket {
    /// Shuts one or both directions, after what was sent before (see [`Socket::flush`]).
    pub async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => libc::SHUT_RD,
            Shutdown::Write => libc::SHUT_WR,
            Shutdown::Both => libc::SHUT_RDWR,
        };
        let descriptor = self.descriptor();
        once::start(opcode::Shutdown::new(descriptor.fd(), how).build(), descriptor).await.map(drop)
    }
}
