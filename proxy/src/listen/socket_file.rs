//! The file of a Unix listener: whose it is, who may connect to it, and when it goes.

use std::fs::{Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a listener of this process. It goes when this is dropped, unless another file stands in its place by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    file: Option<Identity>,
}

/// Which file it is: its number alone may be another one's as soon as it is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Identity {
    device: u64,
    inode: u64,
    created: Option<SystemTime>,
}

impl Identity {
    fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino(), created: meta.created().ok() }
    }
}

impl SocketFile {
    /// The socket file that stands there now.
    pub fn of(path: &Path) -> Self {
        let meta = std::fs::symlink_metadata(path).ok().filter(|meta| meta.file_type().is_socket());
        Self { path: path.to_owned(), file: meta.as_ref().map(Identity::of) }
    }

    /// Leaves it where it is: another process goes on with its socket.
    pub fn leave(mut self) {
        self.file = None;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let Some(file) = self.file else { return };
        let now = std::fs::symlink_metadata(&self.path).ok().as_ref().map(Identity::of);
        if now == Some(file)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket file stays");
        }
    }
}

/// Who may connect: the file's mode, and its owner and group where they are to be others than the process's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    mode: u32,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl Access {
    /// By names or numbers.
    ///
    /// # Errors
    /// A name that the machine does not know.
    pub fn new(mode: u32, owner: Option<&str>, group: Option<&str>) -> io::Result<Self> {
        let uid = owner.map(|name| lookup("/etc/passwd", name)).transpose()?;
        let gid = group.map(|name| lookup("/etc/group", name)).transpose()?;
        Ok(Self { mode, uid, gid })
    }

    /// Gives a new file to them.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn grant(&self, path: &Path) -> io::Result<()> {
        if self.uid.is_some() || self.gid.is_some() {
            chown(path, self.uid, self.gid)?;
        }
        std::fs::set_permissions(path, Permissions::from_mode(self.mode))
    }

    /// Gives a file to them that may have been given to others; what is as it should be is left alone.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn change(&self, path: &Path) -> io::Result<()> {
        let meta = std::fs::symlink_metadata(path)?;
        let uid = self.uid.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let gid = self.gid.unwrap_or_else(|| rustix::process::getegid().as_raw());
        let differs = |wanted: u32, is: u32| (wanted != is).then_some(wanted);
        let (uid, gid) = (differs(uid, meta.uid()), differs(gid, meta.gid()));
        if uid.is_some() || gid.is_some() {
            chown(path, uid, gid)?;
        }
        std::fs::set_permissions(path, Permissions::from_mode(self.mode))
    }
}

/// Removes a socket file that nobody listens on.
///
/// # Errors
/// Somebody listens there, or it is a file of another kind: it stays.
pub(super) fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is in the way"));
    }
    match try_connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        // A listener whose queue is full: it would have this one wait.
        Ok(()) => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::Error::from_raw_os_error(libc::EADDRINUSE)),
        Err(error) => Err(error),
    }
}

/// Connects without waiting.
fn try_connect(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

/// The id of `name` in a file of the form `name:password:id:...`; a number stands for itself.
fn lookup(file: &str, name: &str) -> io::Result<u32> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("{name:?} is not in {file}"));
    std::fs::read_to_string(file)?
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(found, _)| *found == name)
        .and_then(|(_, rest)| rest.split(':').nth(1)?.parse().ok())
        .ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("a file").mode() & 0o777
    }

    #[test]
    fn a_file_goes_with_its_listener_unless_another_stands_there() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).expect("binds");
        let file = SocketFile::of(&path);
        drop(file);
        assert!(!path.exists());
        drop(listener);
        let first = UnixListener::bind(&path).expect("binds");
        let file = SocketFile::of(&path);
        std::fs::remove_file(&path).expect("removed");
        let _second = UnixListener::bind(&path).expect("binds");
        drop((first, file));
        assert!(path.exists(), "it is another's");
        SocketFile::of(&path).leave();
        assert!(path.exists(), "it was left");
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "data").expect("written");
        drop((SocketFile::of(&plain), SocketFile::of(&dir.path().join("absent"))));
        assert!(plain.exists());
    }

    #[test]
    fn a_full_queue_is_no_stale_file_and_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("s");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        socket.bind(&SockAddr::unix(&path).expect("a path")).expect("binds");
        socket.listen(0).expect("listens");
        let _first = UnixStream::connect(&path).expect("connects");
        // The queue takes one more than it is said to; from then on a blocking connect would wait.
        let full = (0..8).any(|_| try_connect(&path).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
        assert!(full);
        assert_eq!(remove_stale(&path).expect_err("live").kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn access_is_changed_where_it_differs() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("s");
        let _listener = UnixListener::bind(&path).expect("binds");
        Access::new(0o600, None, None).expect("no names").grant(&path).expect("granted");
        assert_eq!(mode(&path), 0o600);
        let own = rustix::process::geteuid().as_raw().to_string();
        Access::new(0o666, Some(&own), None).expect("a number").change(&path).expect("changed");
        assert_eq!(mode(&path), 0o666);
        assert!(Access::new(0o600, Some("nobody-knows-me"), None).is_err());
        assert!(Access::new(0o600, Some("root"), Some("root")).is_ok());
    }
}
