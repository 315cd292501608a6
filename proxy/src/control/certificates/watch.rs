//! News of files, wherever symbolic links lead: each folder in which a file or a link on the way to it stands is
//! watched, so that a file that is written, renamed into place or reached by another link is seen.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use inotify::{Inotify, WatchMask};
use tokio::io::unix::AsyncFd;

/// News that come close together are one.
const SETTLE: Duration = Duration::from_millis(200);
/// Files that change all the time are looked at so often nevertheless.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// Links that are followed to one file, as the kernel does (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// The watched folders, and how they are told from others that have taken their place.
#[derive(Default)]
pub(super) struct Folders {
    watched: BTreeMap<PathBuf, Option<(u64, u64)>>,
    inotify: Option<AsyncFd<Inotify>>,
}

impl Folders {
    /// None yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Watches the folders of these files, and no others. What cannot be watched is told; whoever asks looks at the
    /// files from time to time anyway. Blocks; runs within the runtime.
    pub(super) fn watch<'a>(&mut self, files: impl Iterator<Item = &'a PathBuf>) {
        let wanted = files.flat_map(|file| folders(file)).map(|folder| {
            let id = identity(&folder);
            (folder, id)
        });
        let wanted: BTreeMap<_, _> = wanted.collect();
        if wanted == self.watched {
            return;
        }
        self.inotify = None;
        if !wanted.is_empty() {
            self.inotify = begin(wanted.keys())
                .inspect_err(
                    |error| tracing::warn!(%error, "files of certificates are not watched, but looked at each 10 s"),
                )
                .ok();
        }
        self.watched = wanted;
    }

    /// Waits until something has happened in a watched folder, and for what happens right after it.
    pub(super) async fn news(&mut self) {
        let Some(inotify) = &mut self.inotify else { return std::future::pending().await };
        event(inotify).await;
        let end = tokio::time::Instant::now() + SETTLE_MAX;
        while tokio::time::Instant::now() < end && tokio::time::timeout(SETTLE, event(inotify)).await.is_ok() {}
    }
}

#[expect(deprecated, reason = "the newer way is unsafe, for descriptors that may be closed: this one is owned")]
fn begin<'a>(folders: impl Iterator<Item = &'a PathBuf>) -> std::io::Result<AsyncFd<Inotify>> {
    let inotify = Inotify::init()?;
    let mask = WatchMask::CREATE
        | WatchMask::CLOSE_WRITE
        | WatchMask::MOVE
        | WatchMask::DELETE
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
        | WatchMask::ONLYDIR;
    for folder in folders {
        // One that is not there is looked for when the one above it has news.
        match inotify.watches().add(folder, mask) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    AsyncFd::new(inotify)
}

/// Waits for events, and takes all that are there.
async fn event(inotify: &mut AsyncFd<Inotify>) {
    loop {
        let Ok(mut ready) = inotify.readable_mut().await else { return std::future::pending().await };
        let mut some = false;
        let mut octets = [0; 4096];
        while ready.get_inner_mut().read_events(&mut octets).is_ok_and(|mut events| events.next().is_some()) {
            some = true;
        }
        ready.clear_ready();
        if some {
            return;
        }
    }
}

fn identity(folder: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(folder).ok().map(|seen| (seen.dev(), seen.ino()))
}

/// The folders in which the file and the links on the way to it stand; where the way ends early, the last one that is
/// there.
fn folders(file: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let Ok(absolute) = std::path::absolute(file) else { return found };
    let mut rest = steps(&absolute);
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(step) = rest.pop_front() {
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&step);
        let Ok(seen) = std::fs::symlink_metadata(&next) else {
            found.insert(at);
            return found;
        };
        if seen.is_symlink() {
            found.insert(at.clone());
            links += 1;
            let Ok(target) = std::fs::read_link(&next) else { return found };
            if links > LINKS_MAX {
                return found;
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            let mut onward = steps(&target);
            onward.append(&mut rest);
            rest = onward;
        } else if rest.is_empty() {
            found.insert(at.clone());
        } else {
            at = next;
        }
    }
    found
}

/// The names of a path, from left to right.
fn steps(path: &Path) -> VecDeque<OsString> {
    let step = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// As Kubernetes mounts a secret: names that lead through one link, which is renamed over.
    #[test]
    fn folders_of_links_and_of_what_they_lead_to_are_watched() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("its true path");
        std::fs::create_dir(root.join("..1")).expect("a directory");
        std::fs::write(root.join("..1/tls.crt"), "").expect("a file");
        symlink("..1", root.join("..data")).expect("a link");
        symlink("..data/tls.crt", root.join("tls.crt")).expect("a link");
        assert_eq!(folders(&root.join("tls.crt")), [root.clone(), root.join("..1")].into());
        assert_eq!(folders(&root.join("none/tls.crt")), [root.clone()].into());
        symlink("loop", root.join("loop")).expect("a link");
        assert_eq!(folders(&root.join("loop/x")), [root].into());
    }

    #[tokio::test]
    async fn file_that_is_renamed_into_place_is_news() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("cert.pem");
        std::fs::write(&file, "1").expect("a file");
        let mut watched = Folders::new();
        watched.watch([&file].into_iter());
        let quiet = tokio::time::timeout(Duration::from_millis(50), watched.news()).await;
        assert!(quiet.is_err());
        let new = directory.path().join("new");
        std::fs::write(&new, "2").and_then(|()| std::fs::rename(&new, &file)).expect("a file");
        tokio::time::timeout(Duration::from_secs(10), watched.news()).await.expect("news");
    }

    #[tokio::test]
    async fn folder_that_another_one_replaces_is_watched_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let (folder, aside) = (directory.path().join("tls"), directory.path().join("aside"));
        std::fs::create_dir(&folder).expect("a directory");
        let file = folder.join("cert.pem");
        std::fs::write(&file, "1").expect("a file");
        let mut watched = Folders::new();
        watched.watch([&file].into_iter());
        std::fs::rename(&folder, &aside).and_then(|()| std::fs::create_dir(&folder)).expect("directories");
        watched.news().await;
        watched.watch([&file].into_iter());
        std::fs::write(&file, "2").expect("a file");
        tokio::time::timeout(Duration::from_secs(10), watched.news()).await.expect("news");
    }
}
