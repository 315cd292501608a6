//! The demo's own folder, removed with it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// A folder among the temporary ones that only this user may enter.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes one. A name that exists already, perhaps as somebody's link, is an error.
    pub(super) fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("weir-demo-{}-{:08x}", std::process::id(), fastrand::u32(..)));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where a file or folder of that name stands in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file into it and says where.
    pub(super) fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_goes_with_its_files() {
        let folder = Folder::new().unwrap_or_else(|error| panic!("{error}"));
        let path = folder.write("a", "b").unwrap_or_else(|error| panic!("{error}"));
        assert!(path.is_file());
        drop(folder);
        assert!(!path.parent().is_some_and(|path| path.exists()));
    }
}
