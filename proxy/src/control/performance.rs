//! Performance mode: whether weir observes, or only serves. Kept in the state directory, if there is one.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::state::StateDir;

/// The file in the state directory.
const FILE: &str = "performance-mode.json";
/// Its octets at most.
const FILE_MAX: u64 = 4096;

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
    state: Arc<StateDir>,
}

impl PerformanceMode {
    /// What was kept; observing, if nothing was.
    pub(super) fn load(state: Arc<StateDir>) -> Self {
        let setting = kept(&state);
        Self { setting: watch::Sender::new(setting), writing: Mutex::new(()), state }
    }

    /// Reads it again: another process has changed it until now. Blocks.
    pub(super) fn read_kept(&self) {
        if self.state.missing().is_none() {
            self.setting.send_replace(kept(&self.state));
        }
    }

    /// The setting now.
    pub(super) fn setting(&self) -> Setting {
        *self.setting.borrow()
    }

    /// Whether weir observes.
    pub(super) fn is_enabled(&self) -> bool {
        self.setting().enabled
    }

    /// Keeps the setting, and follows it. May wait for a disk. Without a state directory it lasts as long as the process.
    ///
    /// # Errors
    /// It cannot be kept; nothing changes then.
    pub(super) fn set(&self, enabled: bool) -> io::Result<Setting> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let new = Setting { enabled, source: Some(Source::Local) };
        if self.state.missing().is_none() {
            self.state.replace(FILE, &serde_json::to_vec(&new)?)?;
        }
        self.setting.send_replace(new);
        Ok(new)
    }
}

/// What was kept; observing, if nothing was.
fn kept(state: &StateDir) -> Setting {
    let kept = if state.missing().is_some() { Ok(None) } else { read(state) };
    let kept = kept.unwrap_or_else(|error| {
        tracing::warn!(file = FILE, %error, "performance mode not read: weir observes");
        None
    });
    kept.unwrap_or(Setting { enabled: true, source: None })
}

fn read(state: &StateDir) -> io::Result<Option<Setting>> {
    let text = state.read(FILE, FILE_MAX)?;
    Ok(text.map(|text| serde_json::from_slice(&text)).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(dir: &std::path::Path) -> PerformanceMode {
        PerformanceMode::load(Arc::new(StateDir::open(Some(dir), None, None).expect("usable")))
    }

    #[test]
    fn what_was_set_outlives_the_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = mode(dir.path());
        assert_eq!(first.setting(), Setting { enabled: true, source: None });
        first.set(false).expect("a writable directory");
        drop(first);
        assert_eq!(mode(dir.path()).setting(), Setting { enabled: false, source: Some(Source::Local) });
    }

    #[test]
    fn what_cannot_be_kept_changes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let mode = mode(dir.path());
        std::fs::create_dir(dir.path().join(format!("{FILE}.new"))).expect("a writable directory");
        assert!(mode.set(false).is_err());
        assert!(mode.is_enabled());
    }

    #[test]
    fn a_broken_file_leaves_weir_observing_and_no_directory_forgets() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE), "{\"enabled\":").expect("a writable directory");
        assert!(mode(dir.path()).is_enabled());
        let forgetful = PerformanceMode::load(Arc::new(StateDir::none("a test")));
        assert_eq!(forgetful.set(false).map(|setting| setting.enabled).ok(), Some(false));
        assert!(!forgetful.is_enabled());
    }
}
