//! Other people's programs, run for a bounded time.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::dir::Dir;
use crate::weir::Exit;

/// Where a program is. Panics if it is missing: `cargo xtask test` installs it, or leaves its tests out loudly.
#[track_caller]
pub fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = dirs.map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed"))
}

/// Runs a program to its end, in `limit`.
#[track_caller]
pub fn run(name: &str, args: &[&str], limit: Duration) -> Exit {
    finish(Command::new(find(name)).args(args), limit)
}

/// Runs a program to its end, in `limit`, and panics unless its status is 0.
#[track_caller]
pub fn succeed(name: &str, args: &[&str], limit: Duration) -> String {
    let exit = run(name, args, limit);
    assert_eq!(exit.code, Some(0), "{name} {args:?}\n{}\n{}", exit.stdout, exit.stderr);
    exit.stdout
}

/// Runs a command to its end, in `limit`; output goes through files, so that no pipe fills.
#[track_caller]
pub fn finish(command: &mut Command, limit: Duration) -> Exit {
    let mut running = Running::start(command);
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = running.child.try_wait().expect("wait") {
            return Exit { code: status.code(), stdout: running.read("stdout"), stderr: running.read("stderr") };
        }
        assert!(Instant::now() < deadline, "{command:?} has not ended within {limit:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A program that runs until it is dropped.
pub struct Running {
    child: Child,
    dir: Dir,
}

impl Running {
    /// Starts it.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let dir = Dir::new();
        let file = |name| std::fs::File::create(dir.join(name)).expect("an output file");
        // A weir that keeps anything keeps it with the test.
        command.env("STATE_DIRECTORY", dir.join("state"));
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, dir }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far, `stdout` or `stderr`.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join(name)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- a program wrote:\n{}{}", self.read("stderr"), self.read("stdout"));
        }
    }
}
