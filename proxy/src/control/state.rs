//! The node's own directory: what must outlive the process, in files that only weir reads.
//!
//! A directory that somebody named (the document, or the service manager by `STATE_DIRECTORY`) must work, or weir does
//! not start. The usual one may be missing: weir then runs, keeps nothing, and says so.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where state is kept if nobody says.
pub const USUAL: &str = "/var/lib/weir";
/// Set by the service manager; the first of its paths counts.
pub const VARIABLE: &str = "STATE_DIRECTORY";
/// What a weir that uses the directory holds locked.
const LOCK: &str = "lock";
const OWN_DIRECTORY: u32 = 0o700;
const OWN_FILE: u32 = 0o600;

/// The directory, or why there is none.
#[derive(Debug)]
pub struct StateDir(Result<Held, String>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// Locked for as long as it is open.
    lock: File,
}

/// A directory that was named and cannot be used.
#[derive(Debug)]
pub struct Unusable {
    path: PathBuf,
    error: io::Error,
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, error } = self;
        write!(f, "state directory {}: {error}; name another one as node.state_dir", path.display())
    }
}

impl std::error::Error for Unusable {}

impl StateDir {
    /// Takes the directory that the document names, else the environment's, else the usual one. The lock that the
    /// process before has given counts, if it is of that directory.
    pub fn open(named: Option<&Path>, environment: Option<&Path>, given: Option<OwnedFd>) -> Result<Self, Unusable> {
        match named.or(environment) {
            Some(path) => {
                let held = Held::take(path, given).map_err(|error| Unusable { path: path.to_owned(), error })?;
                Ok(Self(Ok(held)))
            }
            None => Ok(Self(Held::take(Path::new(USUAL), given).map_err(|error| format!("{USUAL}: {error}")))),
        }
    }

    /// A duplicate of the lock, for another process: it holds for as long as either is open.
    pub fn lock(&self) -> Option<io::Result<OwnedFd>> {
        self.0.as_ref().ok().map(|held| held.lock.try_clone().map(OwnedFd::from))
    }

    /// The one that the service manager made for weir.
    pub fn of_environment() -> Option<PathBuf> {
        let paths = std::env::var_os(VARIABLE)?;
        std::env::split_paths(&paths).find(|path| path.is_absolute())
    }

    /// None at all.
    pub fn none(why: impl Into<String>) -> Self {
        Self(Err(why.into()))
    }

    /// Why nothing is kept, if so.
    pub fn missing(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }

    /// The whole of a file, if it is there and not larger than `max` octets. Blocks.
    pub fn read(&self, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.held()?.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut octets = Vec::new();
        file.take(max + 1).read_to_end(&mut octets)?;
        if octets.len() as u64 > max {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{name} is larger than {max} octets")));
        }
        Ok(Some(octets))
    }

    /// Puts a file in the place of the one of its name: after a crash there is the old one or the new, whole. Blocks.
    pub fn replace(&self, name: &str, octets: &[u8]) -> io::Result<()> {
        let directory = &self.held()?.path;
        let temporary = directory.join(format!("{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(OWN_FILE).open(&temporary)?;
        file.write_all(octets)?;
        file.sync_all()?;
        std::fs::rename(&temporary, directory.join(name))?;
        File::open(directory)?.sync_all()
    }

    /// Gives a file another name, in place of the one that has it. Blocks.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let directory = &self.held()?.path;
        std::fs::rename(directory.join(from), directory.join(to))
    }

    /// A directory within, made if it is absent. Blocks.
    pub fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.held()?.path.join(name);
        own_directory(&path)?;
        Ok(path)
    }

    fn held(&self) -> io::Result<&Held> {
        self.0.as_ref().map_err(|why| io::Error::new(io::ErrorKind::NotFound, format!("no state directory: {why}")))
    }
}

impl Held {
    fn take(path: &Path, given: Option<OwnedFd>) -> io::Result<Self> {
        own_directory(path)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(OWN_FILE).open(path.join(LOCK))?;
        if let Some(given) = given.map(File::from).filter(|given| is_same(given, &lock)) {
            return Ok(Self { path: path.to_owned(), lock: given });
        }
        lock.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another weir uses it"),
            std::fs::TryLockError::Error(error) => error,
        })?;
        Ok(Self { path: path.to_owned(), lock })
    }
}

fn is_same(one: &File, other: &File) -> bool {
    let identity = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    identity(one).is_some_and(|one| identity(other) == Some(one))
}

/// Makes a directory that nobody else may enter, or makes it so.
fn own_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWN_DIRECTORY).create(path)?;
    if std::fs::metadata(path)?.permissions().mode() & 0o777 != OWN_DIRECTORY {
        std::fs::set_permissions(path, Permissions::from_mode(OWN_DIRECTORY))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn the_directory_and_its_files_are_weirs_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/state");
        let state = StateDir::open(Some(&path), None, None).expect("usable");
        state.replace("bans.json", b"[]").expect("written");
        assert_eq!((mode(&path), mode(&path.join("bans.json")), mode(&path.join(LOCK))), (0o700, 0o600, 0o600));
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("permitted");
        assert_eq!(state.folder("findings").map(|path| mode(&path)).ok(), Some(0o700));
        drop(state);
        StateDir::open(None, Some(&path), None).expect("usable again");
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn one_weir_at_a_time_has_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = StateDir::open(Some(folder.path()), None, None).expect("usable");
        let refused = StateDir::open(Some(folder.path()), None, None).expect_err("taken");
        assert!(refused.to_string().contains("another weir uses it"), "{refused}");
        drop(first);
        assert!(StateDir::open(Some(folder.path()), None, None).is_ok());
    }

    #[test]
    fn a_lock_that_is_given_is_held_until_the_last_has_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = StateDir::open(Some(folder.path()), None, None).expect("usable");
        let given = first.lock().expect("a lock").expect("a descriptor");
        let second = StateDir::open(Some(folder.path()), None, Some(given)).expect("handed over");
        drop(first);
        assert!(StateDir::open(Some(folder.path()), None, None).is_err(), "the second has it");
        let other = tempfile::tempdir().expect("a folder");
        let given = second.lock().expect("a lock").expect("a descriptor");
        StateDir::open(Some(other.path()), None, Some(given)).expect("another directory has a lock of its own");
        drop(second);
        assert!(StateDir::open(Some(folder.path()), None, None).is_ok());
    }

    #[test]
    fn a_file_is_replaced_whole_and_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(Some(folder.path()), None, None).expect("usable");
        assert_eq!(state.read("x", 10).expect("readable"), None);
        state.replace("x", b"first, and long").expect("written");
        state.replace("x", b"second").expect("written");
        assert_eq!(state.read("x", 6).expect("readable").as_deref(), Some(&b"second"[..]));
        assert_eq!(state.read("x", 5).expect_err("too large").kind(), io::ErrorKind::FileTooLarge);
        let names: Vec<_> = std::fs::read_dir(folder.path()).expect("readable").flatten().collect();
        assert_eq!(names.len(), 2, "the file and the lock: {names:?}");
    }

    #[test]
    fn without_a_directory_nothing_is_kept_and_it_says_why() {
        let state = StateDir::none("/var/lib/weir: permission denied");
        assert_eq!(state.missing(), Some("/var/lib/weir: permission denied"));
        for error in [state.replace("x", b"").err(), state.read("x", 1).err(), state.folder("x").err()] {
            assert!(error.is_some_and(|error| error.to_string().contains("permission denied")));
        }
    }

    #[test]
    fn a_named_directory_must_work() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        let refused = StateDir::open(Some(&file.join("state")), None, None).expect_err("no directory");
        assert!(refused.to_string().contains("node.state_dir"), "{refused}");
    }
}
