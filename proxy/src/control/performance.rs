//! Performance mode: whether weir observes, or only serves. Kept in the state directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The file in the state directory.
const FILE: &str = "performance-mode.json";

/// Who said so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Source {
    /// This node's operator.
    Local,
}

/// The setting, as the API shows it and the file keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Setting {
    /// False: findings, wiretap and flows are off.
    pub(super) enabled: bool,
    /// None: it was never set.
    pub(super) source: Option<Source>,
}

/// The one value that all of control asks.
pub(super) struct PerformanceMode {
    setting: watch::Sender<Setting>,
    /// Held while the file is written, so that it and the value never differ.
    writing: Mutex<()>,
    /// None: there is no state directory, and a restart forgets.
    file: Option<PathBuf>,
}

impl PerformanceMode {
    /// What was kept in the directory; observing, if nothing was.
    pub(super) fn load(state_dir: Option<&Path>) -> Self {
        let file = state_dir.map(|dir| dir.join(FILE));
        let kept = file.as_deref().and_then(|file| match read(file) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "performance mode not read: weir observes");
                None
            }
        });
        let setting = kept.unwrap_or(Setting { enabled: true, source: None });
        Self { setting: watch::Sender::new(setting), writing: Mutex::new(()), file }
    }

    /// The setting now.
    pub(super) fn setting(&self) -> Setting {
        *self.setting.borrow()
    }

    /// Whether weir observes.
    pub(super) fn is_enabled(&self) -> bool {
        self.setting().enabled
    }

    /// Keeps the setting, and follows it. May wait for a disk.
    ///
    /// # Errors
    /// It cannot be kept; nothing changes then.
    pub(super) fn set(&self, enabled: bool) -> io::Result<Setting> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Setting { enabled, source: Some(Source::Local) };
        if let Some(file) = &self.file {
            write(file, &new)?;
        }
        self.setting.send_replace(new);
        Ok(new)
    }
}

fn read(file: &Path) -> io::Result<Option<Setting>> {
    match fs::read(file) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Beside it, then in its place: a process that dies midway leaves the old file whole.
fn write(file: &Path, setting: &Setting) -> io::Result<()> {
    let beside = file.with_extension("new");
    let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    new.write_all(&serde_json::to_vec(setting)?)?;
    new.sync_all()?;
    fs::rename(&beside, file)?;
    match file.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_outlives_the_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let mode = PerformanceMode::load(Some(dir.path()));
        assert_eq!(mode.setting(), Setting { enabled: true, source: None });
        mode.set(false).expect("a writable directory");
        let again = PerformanceMode::load(Some(dir.path()));
        assert_eq!(again.setting(), Setting { enabled: false, source: Some(Source::Local) });
    }

    #[test]
    fn what_cannot_be_kept_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let mode = PerformanceMode::load(Some(&dir.path().join("absent")));
        assert!(mode.set(false).is_err());
        assert!(mode.is_enabled());
    }

    #[test]
    fn a_broken_file_leaves_weir_observing() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join(FILE), "{\"enabled\":").expect("a writable directory");
        assert!(PerformanceMode::load(Some(dir.path())).is_enabled());
    }
}
