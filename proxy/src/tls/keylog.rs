//! Secrets of sessions in a file, for debugging by those who may read it (the NSS key log format).
//!
//! Lines are written by a thread of their own: a worker waits for no disk.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::KeyLog;

/// Lines that may wait.
const LINES_MAX: usize = 4096;

/// The open key logs of the process, by path.
#[derive(Default, Debug)]
pub struct KeyLogs {
    open: Mutex<HashMap<PathBuf, Weak<Lines>>>,
    lost: Arc<AtomicU64>,
}

impl KeyLogs {
    /// The key log in a file, which is made for its owner alone; the one that is open already, if one is.
    ///
    /// # Errors
    /// The file cannot be opened or made private, or no thread can be started.
    pub fn open(&self, path: &Path) -> io::Result<Arc<dyn KeyLog>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, lines| lines.strong_count() > 0);
        if let Some(lines) = open.get(path).and_then(Weak::upgrade) {
            return Ok(lines);
        }
        let file = private(path)?;
        let (queue, waiting) = sync_channel(LINES_MAX);
        std::thread::Builder::new().name("weir-keylog".to_owned()).spawn(move || write(file, &waiting))?;
        let lines = Arc::new(Lines { queue, lost: self.lost.clone() });
        open.insert(path.to_owned(), Arc::downgrade(&lines));
        Ok(lines)
    }

    /// Lines that found the queue full.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Opens a file for appending that nobody else may read.
fn private(path: &Path) -> io::Result<File> {
    let nofollow = libc::O_NOFOLLOW;
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(nofollow).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no ordinary file"));
    }
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Ends when the last session that writes there has.
fn write(mut file: File, waiting: &Receiver<String>) {
    while let Ok(line) = waiting.recv() {
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "a key log takes no more lines");
            return;
        }
    }
}

/// The way to one file.
struct Lines {
    queue: SyncSender<String>,
    lost: Arc<AtomicU64>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

impl KeyLog for Lines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::with_capacity(label.len() + 2 * (client_random.len() + secret.len()) + 3);
        line.push_str(label);
        for octets in [client_random, secret] {
            line.push(' ');
            push_hex(&mut line, octets);
        }
        line.push('\n');
        if self.queue.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn push_hex(line: &mut String, octets: &[u8]) {
    for octet in octets {
        // Writing to a string does not fail.
        let _ = write!(line, "{octet:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_for_the_owner_alone_even_in_a_file_that_was_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys");
        std::fs::write(&path, "before\n").expect("a file");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("permissions");
        let logs = KeyLogs::default();
        let log = logs.open(&path).expect("a key log");
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        log.log("CLIENT_RANDOM", &[0xab, 1], &[2]);
        while std::fs::read_to_string(&path).expect("a file").lines().count() < 2 {
            std::thread::yield_now();
        }
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "before\nCLIENT_RANDOM ab01 02\n");
    }

    #[test]
    fn one_file_is_opened_once_and_symbolic_links_are_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys");
        let logs = KeyLogs::default();
        let (first, again) = (logs.open(&path).expect("a key log"), logs.open(&path).expect("the same"));
        assert!(Arc::ptr_eq(&first, &again));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert!(logs.open(&link).is_err());
        assert!(logs.open(directory.path()).is_err());
    }
}
