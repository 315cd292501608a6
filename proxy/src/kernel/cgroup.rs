//! The cgroup whose sockets the flow programs see. A socket keeps the cgroup of its creation, so it is chosen before
//! weir opens any.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How often a child is made anew, where another weir removes it before this one is in.
const TRIES: u32 = 3;
/// What the children's names begin with; the process's id follows.
const PREFIX: &str = "weir-";

/// Where weir's sockets are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Home {
    /// The cgroup's directory.
    pub dir: PathBuf,
    /// Whose sockets are there too.
    pub kind: Kind,
}

/// Whose a cgroup is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub enum Kind {
    /// weir's alone, by whoever started it.
    Own,
    /// weir's alone: it made it.
    Child,
    /// Other processes' too, because none could be made.
    Shared(String),
}

/// This process is in its home; with this value it leaves, and nothing of weir is left.
#[derive(Debug)]
#[must_use = "dropped, it leaves at once"]
pub struct Stay(Home);

impl Stay {
    /// Where that is.
    pub fn home(&self) -> &Home {
        &self.0
    }
}

/// Moves back and removes the cgroup that [`enter`] made.
impl Drop for Stay {
    fn drop(&mut self) {
        leave(&self.0);
    }
}

/// Moves this process to a cgroup of its own, if it is not in one. None without cgroup2, or without the capabilities
/// that make it worth the while.
pub fn enter() -> Option<Stay> {
    if !super::probe::missing_capabilities().is_empty() {
        return None;
    }
    let dir = own_dir()?;
    let home = enter_at(&dir, std::process::id(), Path::new("/proc"));
    if let Kind::Shared(why) = &home.kind {
        tracing::warn!(cgroup = %dir.display(), "no cgroup of weir's own: {why}");
    }
    Some(Stay(home))
}

/// Moves this process to where another one's sockets are, which it takes over: connections belong to their listener's
/// cgroup. A process that was started from there is in already.
pub fn join(home: Home) -> Option<Stay> {
    if own_dir().as_ref() == Some(&home.dir) {
        return Some(Stay(home));
    }
    match fs::write(home.dir.join("cgroup.procs"), "0") {
        Ok(()) => Some(Stay(home)),
        Err(error) => {
            tracing::warn!(cgroup = %home.dir.display(), %error, "this process cannot go where its listeners are");
            Some(Stay(Home { kind: Kind::Shared(error.to_string()), ..home }))
        }
    }
}

fn leave(home: &Home) {
    if home.kind != Kind::Child {
        return;
    }
    let left = home.dir.parent().map(|parent| fs::write(parent.join("cgroup.procs"), "0"));
    // What cannot be removed now is, at the next start.
    if left.is_some_and(|left| left.is_ok()) {
        let _ = fs::remove_dir(&home.dir);
    }
}

/// The directory of the cgroup that this process is in now.
fn own_dir() -> Option<PathBuf> {
    let path = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    directory(own_path(&path)?, &mounts)
}

fn enter_at(dir: &Path, pid: u32, processes: &Path) -> Home {
    remove_stale(dir, processes);
    if is_alone(dir, pid) {
        return Home { dir: dir.to_owned(), kind: Kind::Own };
    }
    let child = dir.join(format!("{PREFIX}{pid}"));
    let mut outcome = Ok(());
    for _ in 0..TRIES {
        outcome = move_to(&child);
        if !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::NotFound) {
            break;
        }
    }
    match outcome {
        Ok(()) => Home { dir: child, kind: Kind::Child },
        Err(error) => {
            let _ = fs::remove_dir(&child);
            Home { dir: dir.to_owned(), kind: Kind::Shared(error.to_string()) }
        }
    }
}

fn move_to(child: &Path) -> io::Result<()> {
    match fs::create_dir(child) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write(child.join("cgroup.procs"), "0")
}

/// Whether the cgroup holds this process and no other.
fn is_alone(dir: &Path, pid: u32) -> bool {
    let inside = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    inside.lines().eq([pid.to_string().as_str()])
}

/// Removes what weirs that were killed have left. The kernel keeps a cgroup that is in use.
fn remove_stale(dir: &Path, processes: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).filter(|pid| pid.parse::<u32>().is_ok());
        if pid.is_some_and(|pid| !processes.join(pid).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The path in the unified hierarchy: line `0::` of /proc/PID/cgroup.
fn own_path(cgroups: &str) -> Option<&str> {
    cgroups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Where the cgroup at `path` is among the mounts: alone (unified), or beside the older hierarchies (hybrid).
fn directory(path: &str, mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        if after.split(' ').next() != Some("cgroup2") {
            return None;
        }
        // proc(5): id, parent, device, the directory that is mounted, where.
        let mut fields = before.split(' ').skip(3);
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        let below = Path::new(path).strip_prefix(root).ok()?;
        Some(if below == Path::new("") { point.into() } else { Path::new(&point).join(below) })
    })
}

/// Blanks, tabs, line breaks and backslashes stand as `\040`, in octal.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok());
        match code {
            Some(code) => {
                text.push(code.into());
                text.push_str(&part[3..]);
            }
            None => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices\n\
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn cgroup_is_found_in_both_layouts() {
        assert_eq!(own_path("9:name=systemd:/a\n0::/system.slice/weir.service\n"), Some("/system.slice/weir.service"));
        assert_eq!(own_path("9:name=systemd:/a\n"), None);
        let dir = |path, mounts| directory(path, mounts).map(|dir| dir.display().to_string());
        assert_eq!(dir("/", HYBRID).as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(dir("/a/b", HYBRID).as_deref(), Some("/sys/fs/cgroup/unified/a/b"));
        let unified = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        assert_eq!(dir("/a", unified).as_deref(), Some("/sys/fs/cgroup/a"));
        assert_eq!(dir("/a", "36 31 0:33 / /sys/fs/cgroup/devices rw - cgroup cgroup rw\n"), None);
    }

    #[test]
    fn cgroup_is_found_below_a_mount_of_a_part() {
        let part = "30 24 0:26 /pod/7 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(directory("/pod/7/a", part), Some("/sys/fs/cgroup/a".into()));
        assert_eq!(directory("/pod/8", part), None);
        let odd = "30 24 0:26 / /mnt/a\\040b\\x rw - cgroup2 cgroup2 rw\n";
        assert_eq!(directory("/", odd), Some("/mnt/a b\\x".into()));
    }

    /// A directory that stands for a cgroup, with its processes.
    fn cgroup(inside: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::write(dir.path().join("cgroup.procs"), inside).expect("written");
        dir
    }

    #[test]
    fn cgroup_without_others_is_taken_as_it_is() {
        let dir = cgroup("7\n");
        let home = enter_at(dir.path(), 7, Path::new("/nowhere"));
        assert_eq!(home, Home { dir: dir.path().into(), kind: Kind::Own });
    }

    #[test]
    fn cgroup_with_others_gets_a_child() {
        let dir = cgroup("7\n8\n");
        let home = enter_at(dir.path(), 7, Path::new("/nowhere"));
        assert_eq!(home, Home { dir: dir.path().join("weir-7"), kind: Kind::Child });
        assert_eq!(fs::read_to_string(home.dir.join("cgroup.procs")).expect("moved"), "0");
    }

    #[test]
    fn end_of_a_stay_moves_back() {
        let dir = cgroup("7\n8\n");
        let child = dir.path().join("weir-7");
        fs::create_dir(&child).expect("made");
        drop(Stay(Home { dir: child.clone(), kind: Kind::Child }));
        let stays = child.exists();
        assert_eq!((fs::read_to_string(dir.path().join("cgroup.procs")).expect("moved"), stays), ("0".into(), false));
    }

    #[test]
    fn shared_cgroup_is_used_where_no_child_can_be_made() {
        let dir = cgroup("7\n8\n");
        fs::write(dir.path().join("weir-7"), "a file in the way").expect("written");
        let home = enter_at(dir.path(), 7, Path::new("/nowhere"));
        assert!(matches!(home, Home { dir: at, kind: Kind::Shared(_) } if at == dir.path()));
    }

    #[test]
    fn children_of_dead_weirs_are_removed() {
        let (dir, processes) = (cgroup("7\n8\n"), tempfile::tempdir().expect("temp dir"));
        fs::create_dir(processes.path().join("3")).expect("made");
        for name in ["weir-3", "weir-4", "weir-x", "other-4"] {
            fs::create_dir(dir.path().join(name)).expect("made");
        }
        remove_stale(dir.path(), processes.path());
        let stays = |name: &str| dir.path().join(name).exists();
        assert_eq!([stays("weir-3"), stays("weir-4"), stays("weir-x"), stays("other-4")], [true, false, true, true]);
    }
}
