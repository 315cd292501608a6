//! How a stream ended before its end, also inside an [`io::Error`].

use std::fmt;
use std::io;

/// Why nothing more comes or goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The peer reset the stream.
    Reset(h2::Reason),
    /// The codec reset it, because the peer broke the rules.
    Broken(h2::Reason),
    /// The connection was given up, by either side.
    GoneAway(h2::Reason),
    /// The connection is lost, or what was sent was wrong.
    Lost,
}

/// How the stream behind an error of its wire ended; none if it was no stream's.
pub fn ended(error: &io::Error) -> Option<Ended> {
    error.get_ref()?.downcast_ref::<Ended>().copied()
}

impl Ended {
    pub(super) fn of(error: &h2::Error) -> Self {
        match error.reason() {
            Some(code) if error.is_go_away() => Self::GoneAway(code),
            Some(code) if error.is_library() => Self::Broken(code),
            Some(code) => Self::Reset(code),
            None => Self::Lost,
        }
    }
}

impl From<Ended> for io::Error {
    fn from(ended: Ended) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, ended)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset(code) => write!(f, "stream reset: {code}"),
            Self::Broken(code) => write!(f, "stream broken: {code}"),
            Self::GoneAway(code) => write!(f, "connection given up: {code}"),
            Self::Lost => f.write_str("connection lost"),
        }
    }
}

impl std::error::Error for Ended {}
