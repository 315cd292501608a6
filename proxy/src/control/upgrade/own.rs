//! The socket that a process listens on for the next one.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Conversations that may wait.
const BACKLOG: i32 = 16;
/// For weir's own user, and root.
const MODE: u32 = 0o600;

/// A listening socket, and its file.
#[derive(Debug)]
pub(in crate::control) struct OwnSocket {
    pub(super) path: PathBuf,
    pub(super) listener: UnixListener,
    /// Another process has it too, and keeps it if this one does not come to serve.
    pub(super) is_taken: bool,
}

impl OwnSocket {
    /// Listens. A file that a process left which was killed is replaced; one that somebody listens on is not.
    pub(in crate::control) fn open(path: &Path) -> io::Result<Self> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Before it has a name: the file is made with these permissions, less those of the umask.
        let descriptor = File::from(OwnedFd::from(socket));
        descriptor.set_permissions(Permissions::from_mode(MODE))?;
        let socket = Socket::from(OwnedFd::from(descriptor));
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(BACKLOG)?;
        Ok(Self { is_taken: false, ..Self::of(path, socket.into())? })
    }

    /// One that another process has listened on.
    pub(in crate::control) fn of(path: &Path, descriptor: OwnedFd) -> io::Result<Self> {
        let listener = UnixListener::from(descriptor);
        listener.set_nonblocking(true)?;
        Ok(Self { path: path.to_owned(), listener, is_taken: true })
    }

    /// The file that this process has made, if it has made one.
    pub(in crate::control) fn made(&self) -> Option<PathBuf> {
        (!self.is_taken).then(|| self.path.clone())
    }

    /// Removes the file: nobody is to connect any more.
    pub(in crate::control) fn remove(path: &Path) {
        // Who cannot be connected to is as good as gone.
        let _ = std::fs::remove_file(path);
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is in the way"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another weir listens there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_for_its_owner_alone_from_the_beginning() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("upgrade.sock");
        let own = OwnSocket::open(&path).expect("bound");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode, MODE);
        assert_eq!(OwnSocket::open(&path).expect_err("in use").kind(), io::ErrorKind::AddrInUse);
        drop(own);
        OwnSocket::open(&path).expect("what a killed process left is replaced");
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "precious").expect("written");
        assert_eq!(OwnSocket::open(&path).expect_err("a file").kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).ok().as_deref(), Some("precious"));
    }
}
