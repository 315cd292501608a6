//! Exit statuses: what scripts may rely on.

use std::process::{ExitCode, Termination};

use crate::config::{Code, Problems};

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Yes; done.
    Yes = 0,
    /// No: invalid, unanswered, not ready, refused.
    No = 1,
    /// Wrong arguments.
    Usage = 2,
    /// Nobody answers there.
    Unreachable = 3,
    /// Not allowed.
    NotAllowed = 4,
    /// Some of it.
    Partial = 5,
    /// Not in time.
    Timeout = 6,
    /// The system refuses what weir needs.
    System = 7,
}

impl Exit {
    /// How a command ends whose document has `problems`: the system's fault if it could not be read at all.
    pub fn of(problems: &Problems) -> Self {
        match problems.iter().find(|problem| !problem.warning) {
            None => Self::Yes,
            Some(problem) if problem.code == Code::Unreadable => Self::System,
            Some(_) => Self::No,
        }
    }

    /// The same for commands that only work with a document: their No means something else.
    pub fn of_input(problems: &Problems) -> Self {
        match Self::of(problems) {
            Self::No => Self::Usage,
            exit => exit,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
