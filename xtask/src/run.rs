//! Running other programs, and where things are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What went wrong, for people.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// The workspace's directory.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask stands in the workspace").to_owned()
}

/// The target directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// cargo, in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Runs a command, shown, to its end; anything but success is an error.
pub(crate) fn succeed(command: &mut Command) -> Outcome {
    eprintln!("$ {}", shown(command));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} ended with {status}", shown(command))),
        Err(e) => Err(format!("{}: {e}", shown(command))),
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Where a program is, in PATH or where system programs stand.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    dirs.map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// What ten thousand connections through a proxy need, with room.
const DESCRIPTORS: &str = "65536";

/// Raises the limit of open descriptors of this process, and so of what it starts, as far as allowed.
pub(crate) fn raise_descriptor_limit() {
    let pid = std::process::id().to_string();
    let prlimit = |args: &[&str]| Command::new("prlimit").args(["--pid", &pid]).args(args).output();
    let most = format!("--nofile={DESCRIPTORS}:{DESCRIPTORS}");
    if prlimit(&[&most]).is_ok_and(|output| output.status.success()) {
        return;
    }
    if let Ok(hard) = prlimit(&["--nofile", "-o", "HARD", "--noheadings"]) {
        let hard = String::from_utf8_lossy(&hard.stdout).trim().to_owned();
        let _ = prlimit(&[&format!("--nofile={hard}:{hard}")]);
    }
}
