//! Cgroups of a test's own.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::wait;

/// What the name of each begins with; the id of the process that made it follows.
const PREFIX: &str = "netns-test-";

/// A cgroup below this process's own, in the hierarchy of version 2; gone with this value.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// One that single threads can enter, as tests are threads.
    pub fn threaded() -> Self {
        let cgroup = Self::domain();
        cgroup.write("cgroup.type", "threaded").expect("a parent without controllers for its children");
        cgroup
    }

    /// One for processes.
    pub fn domain() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let parent = own().expect("a hierarchy of cgroup version 2");
        sweep(&parent);
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let path = parent.join(name);
        std::fs::create_dir(&path).expect("a cgroup: is this root?");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// For programs to attach to.
    pub fn file(&self) -> File {
        File::open(&self.0).expect("a cgroup that exists")
    }

    /// Moves the calling thread in, for good: the sockets that it opens are of this cgroup.
    pub fn enter(&self) {
        let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
        self.write("cgroup.threads", &thread).expect("a threaded cgroup");
    }

    /// A command that starts a program inside, from its first instruction on; the program follows.
    pub fn starter(&self) -> [String; 4] {
        let procs = self.0.join("cgroup.procs").display().to_string();
        ["sh".into(), "-c".into(), "echo $$ >\"$0\" && exec \"$@\"".into(), procs]
    }

    /// The cgroups inside.
    pub fn children(&self) -> Vec<PathBuf> {
        children(&self.0)
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        std::fs::write(self.0.join(file), text)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if remove(&self.0).is_err() {
            // A process that still runs is a test's that failed: it must not outlive the test.
            let _ = self.write("cgroup.kill", "1");
            let gone = wait::holds_within(Duration::from_secs(5), || remove(&self.0).is_ok());
            if !gone && !std::thread::panicking() {
                panic!("{} does not go", self.0.display());
            }
        }
    }
}

/// This process's cgroup, wherever the hierarchy is mounted.
fn own() -> Option<PathBuf> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mount()?.join(path))
}

/// Where the hierarchy of version 2 is mounted.
fn mount() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    // ID parent major:minor root mount-point options ... - type source options
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

fn children(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// Removes a cgroup and what is in it; what its processes leave takes a moment to go.
fn remove(path: &Path) -> io::Result<()> {
    for child in children(path) {
        remove(&child)?;
    }
    std::fs::remove_dir(path)
}

/// Removes what killed test processes left behind.
fn sweep(parent: &Path) {
    for child in children(parent) {
        let name = child.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = remove(&child);
        }
    }
}
