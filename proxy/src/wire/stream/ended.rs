//! How a stream ended before its end, also inside an [`io::Error`].

use std::fmt;
use std::io;

/// Why nothing more comes or goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The peer reset the stream.
    Reset(h2::Reason),
    /// The codec reset the stream, or gave the connection up, because the peer broke the protocol.
    Broken(h2::Reason),
    /// The peer has not looked at the request, and never will (RFC 9113 section 6.8).
    Refused,
    /// The peer closed the connection.
    Closed,
    /// The connection is lost, or what was sent was wrong.
    Lost,
    /// HTTP/2 has no words for the head: nothing was sent.
    Unsendable,
}

/// How the stream behind an error of its wire ended; none if it was no stream's.
pub fn ended(error: &io::Error) -> Option<Ended> {
    error.get_ref()?.downcast_ref::<Ended>().copied()
}

impl Ended {
    pub(super) fn of(error: &h2::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, UnexpectedEof};
        match (error.reason(), error.get_io()) {
            // Only what stands above the last stream that a GOAWAY names is ended by it.
            (Some(_), _) if error.is_go_away() && error.is_remote() => Self::Refused,
            (Some(code), _) if error.is_library() || error.is_go_away() => Self::Broken(code),
            (Some(code), _) => Self::Reset(code),
            (None, Some(error)) if matches!(error.kind(), BrokenPipe | UnexpectedEof) => Self::Closed,
            (None, _) => Self::Lost,
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
            Self::Broken(code) => write!(f, "protocol broken: {code}"),
            Self::Refused => f.write_str("request refused"),
            Self::Closed => f.write_str("connection closed"),
            Self::Lost => f.write_str("connection lost"),
            Self::Unsendable => f.write_str("head that HTTP/2 cannot say"),
        }
    }
}

impl std::error::Error for Ended {}
