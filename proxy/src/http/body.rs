//! Body framing: how long a body is, and where in the received octets its content lies.

use super::chunked::{Chunked, Trailers};
use super::parse::Underscore;
use crate::base::{Fault, Reason};

/// How a body's end is known (RFC 9112 section 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BodyLength {
    /// No body.
    #[default]
    None,
    /// So many octets.
    Length(u64),
    /// The chunked coding tells.
    Chunked,
    /// The connection's end tells, in responses; in HTTP/2 the stream's, in requests too.
    UntilClose,
}

impl BodyLength {
    /// Whether not one octet can follow the head.
    pub const fn is_empty(self) -> bool {
        matches!(self, BodyLength::None | BodyLength::Length(0))
    }

    /// Octets of content, where that is known.
    pub const fn declared(self) -> Option<u64> {
        match self {
            BodyLength::None => Some(0),
            BodyLength::Length(n) => Some(n),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        }
    }
}

/// Whose body it is: decides the reason of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Side {
    /// A client's.
    #[default]
    Request,
    /// An upstream's.
    Response,
}

/// What the octets at the front of the input are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Piece {
    /// `skip` octets of framing, then `len` > 0 octets of content.
    Data {
        /// Framing to drop first.
        skip: usize,
        /// Content behind it.
        len: usize,
    },
    /// `skip` octets of framing, which are all there are: the body goes on.
    More {
        /// Framing to drop.
        skip: usize,
    },
    /// `skip` octets of framing, then the message ends. What follows belongs to the next message.
    End {
        /// Framing to drop.
        skip: usize,
    },
}

/// Follows one body through the received octets, however they are split. It holds no content.
#[derive(Debug)]
pub struct BodyReader {
    state: State,
    side: Side,
    underscore: Underscore,
}

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl BodyReader {
    /// The reader of a client's body; trailers follow the rule for underscores that its head followed.
    pub fn request(length: BodyLength, underscore: Underscore) -> Self {
        Self::new(length, Side::Request, underscore)
    }

    /// The reader of an upstream's body.
    pub fn response(length: BodyLength) -> Self {
        Self::new(length, Side::Response, Underscore::Allow)
    }

    fn new(length: BodyLength, side: Side, underscore: Underscore) -> Self {
        let state = match length {
            BodyLength::None => State::Length(0),
            BodyLength::Length(left) => State::Length(left),
            BodyLength::Chunked => State::Chunked(Chunked::new(underscore)),
            BodyLength::UntilClose => State::UntilClose,
        };
        Self { state, side, underscore }
    }

    /// What stands at the front of `input`. The caller then drops `skip + len` octets and asks again with the rest,
    /// until the answer is [`Piece::More`] or [`Piece::End`].
    pub fn next(&mut self, input: &[u8]) -> Result<Piece, Fault> {
        match &mut self.state {
            State::Length(0) => Ok(Piece::End { skip: 0 }),
            State::Length(_) | State::UntilClose if input.is_empty() => Ok(Piece::More { skip: 0 }),
            State::Length(left) => {
                let len = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= len as u64;
                Ok(Piece::Data { skip: 0, len })
            }
            State::UntilClose => Ok(Piece::Data { skip: 0, len: input.len() }),
            State::Chunked(chunked) => chunked.next(input).map_err(|fault| on_side(self.side, fault)),
        }
    }

    /// Whether the sender's end is the body's.
    pub fn ends_with_input(&self) -> bool {
        matches!(self.state, State::UntilClose)
    }

    /// Whether the body is whole: no octet of it is outstanding.
    pub fn is_done(&self) -> bool {
        match &self.state {
            State::Length(left) => *left == 0,
            State::Chunked(chunked) => chunked.is_done(),
            State::UntilClose => false,
        }
    }

    /// Octets of content that must still come, where that is known. With [`BodyLength::Length`] they may be moved
    /// without a look at them (splice): report those with [`BodyReader::advance`].
    pub fn remaining(&self) -> Option<u64> {
        match &self.state {
            State::Length(left) => Some(*left),
            State::Chunked(_) | State::UntilClose => None,
        }
    }

    /// Counts octets of content that went by without [`BodyReader::next`].
    pub fn advance(&mut self, octets: u64) {
        if let State::Length(left) = &mut self.state {
            *left = left.saturating_sub(octets);
        }
    }

    /// The sender closed: fine if the body was whole or ends so, else it was cut.
    pub fn end_of_input(&self) -> Result<(), Fault> {
        if self.is_done() || matches!(self.state, State::UntilClose) {
            return Ok(());
        }
        Err(Fault::new(match self.side {
            Side::Request => Reason::ClientCancelled,
            Side::Response => Reason::UpstreamBodyTruncated,
        }))
    }

    /// The sender ended its stream, with this section of trailers: lines, the empty one last.
    pub fn end_with(&mut self, trailers: Option<&[u8]>) -> Result<(), Fault> {
        self.end_of_input()?;
        if let State::UntilClose = self.state {
            let mut section = Chunked::trailers_only(self.underscore);
            section.next(trailers.unwrap_or(b"\r\n")).map_err(|fault| on_side(self.side, fault))?;
            self.state = State::Chunked(section);
        }
        Ok(())
    }

    /// Trailers of a whole chunked body, or of a stream.
    pub fn trailers(&self) -> Option<&Trailers> {
        match &self.state {
            State::Chunked(chunked) => chunked.trailers(),
            State::Length(_) | State::UntilClose => None,
        }
    }
}

fn on_side(side: Side, fault: Fault) -> Fault {
    match side {
        Side::Request => fault,
        Side::Response => Fault { offset: fault.offset, ..Fault::new(Reason::UpstreamBadResponse) },
    }
}
