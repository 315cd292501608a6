//! `weir upgrade`'s side: asks the process that serves to start another binary, and waits for how it went.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::READY_MAX;
use super::message::{Ask, Outcome};
use super::talk::{SHORT, Talk, may};

/// How much longer than the upgrade itself its outcome may take.
const GRACE: Duration = Duration::from_secs(10);

/// How it went, as far as whoever asks can know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Another process serves, and the one before finishes its connections.
    Done {
        /// The one that serves.
        pid: u32,
        /// The one before.
        before: u32,
    },
    /// The same process serves as before.
    Failed(String),
    /// It did not become ready in time; the same process serves as before.
    Late(String),
    /// Nobody answers there.
    Nobody(String),
    /// Only weir's own user, and root, may ask.
    NotAllowed(String),
}

/// Asks for an upgrade to `binary`, or to what now has the name of the binary that runs. Blocks.
pub fn ask(path: &Path, binary: Option<PathBuf>) -> Asked {
    let nobody = |error: &io::Error| Asked::Nobody(format!("{}: {error}", path.display()));
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Asked::NotAllowed(format!("{}: {error}", path.display()));
        }
        Err(error) => return nobody(&error),
    };
    match converse(stream, binary) {
        Ok(asked) => asked,
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Asked::Late("the running weir does not say how it went: see its log".to_owned())
        }
        Err(error) => nobody(&error),
    }
}

fn converse(stream: UnixStream, binary: Option<PathBuf>) -> io::Result<Asked> {
    let deadline = Instant::now() + READY_MAX + GRACE;
    let mut talk = Talk::on(stream)?;
    let (_, uid) = talk.peer()?;
    // Root commands every weir, whoever it runs as.
    if !may(uid) && !rustix::process::geteuid().is_root() {
        return Ok(Asked::NotAllowed(format!("user {uid} listens there, who is neither you nor root")));
    }
    // Who is refused may be so before having said anything, and the answer is there.
    let said = talk.say(&Ask::Upgrade { binary }, deadline);
    let heard = talk.hear(SHORT, deadline);
    Ok(match heard.or_else(|error| said.and(Err(error)))? {
        Outcome::Done { pid, before } => Asked::Done { pid, before },
        Outcome::Failed { why } => Asked::Failed(why),
        Outcome::Late { why } => Asked::Late(why),
        Outcome::NotAllowed { uid } => Asked::NotAllowed(format!("user {uid} is neither weir's own nor root")),
    })
}
