//! A directory of one test, removed with it.

use std::path::{Path, PathBuf};

/// A temporary directory. `WEIR_TESTS_KEEP=1` keeps it for a look.
pub struct Dir(tempfile::TempDir);

impl Dir {
    /// A new one.
    pub fn new() -> Self {
        let mut dir = tempfile::Builder::new().prefix("weir-test-").tempdir().expect("a temporary directory");
        dir.disable_cleanup(std::env::var_os("WEIR_TESTS_KEEP").is_some());
        Self(dir)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where a file of that name stands in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file into it, with its parent directories, and says where.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        std::fs::write(&path, content).expect("a file in the test's directory");
        path
    }
}

impl Default for Dir {
    fn default() -> Self {
        Self::new()
    }
}
