//! The chunked transfer coding, read as it arrives (RFC 9112 section 7.1).

use super::body::Piece;
use super::fields::Field;
use super::parse::Underscore;
use super::scan::{FieldLine, Line, Resume, Stop, fault, field_line};
use crate::base::{Fault, Reason};

/// Digits of a chunk size.
const DIGITS_MAX: u8 = 16;
/// Octets of chunk extensions in a body.
const EXTENSIONS_MAX: u16 = 4 << 10;
/// Octets of a trailer section.
const TRAILERS_LEN_MAX: usize = 8 << 10;
/// Lines of a trailer section.
const TRAILERS_MAX: usize = 32;

/// Trailers of a chunked body, those that may not stand there left out (RFC 9110 section 6.5.1). Never merged into the
/// head's fields.
#[derive(Debug, Default)]
pub struct Trailers {
    bytes: Vec<u8>,
    kept: Vec<Field>,
    lines: usize,
}

impl Trailers {
    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.kept.iter().map(|field| (field.name.of(&self.bytes), field.value.of(&self.bytes)))
    }

    /// The lines that are kept, the empty one last.
    pub fn section(&self) -> Vec<u8> {
        let mut lines = Vec::with_capacity(self.bytes.len());
        for (name, value) in self.iter() {
            for piece in [name, b": ", value, b"\r\n"] {
                lines.extend_from_slice(piece);
            }
        }
        lines.extend_from_slice(b"\r\n");
        lines
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

/// The decoder: it counts, and holds nothing but trailers.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    /// Octets of the body seen before the input at hand.
    position: u64,
    /// Octets of extensions so far.
    extensions: u16,
    underscore: Underscore,
    trailers: Trailers,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// In the trailer line that starts at this place of the section.
    Trailers {
        line: usize,
    },
    Done,
}

impl Chunked {
    pub(crate) fn new(underscore: Underscore) -> Self {
        let state = State::Size { value: 0, digits: 0 };
        Self { state, position: 0, extensions: 0, underscore, trailers: Trailers::default() }
    }

    /// Behind the last chunk of a body that had none.
    pub(crate) fn trailers_only(underscore: Underscore) -> Self {
        Self { state: State::Trailers { line: 0 }, ..Self::new(underscore) }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(crate) fn trailers(&self) -> Option<&Trailers> {
        self.is_done().then_some(&self.trailers)
    }

    pub(crate) fn next(&mut self, input: &[u8]) -> Result<Piece, Fault> {
        let mut at = 0;
        let piece = loop {
            match self.state {
                State::Done => break Piece::End { skip: at },
                _ if at == input.len() => break Piece::More { skip: at },
                State::Data { left } => break self.data(left, at, input.len() - at),
                State::Trailers { line } => at += self.trailer_line(line, &input[at..], at)?,
                _ => {
                    self.state = self.framing(input[at]).map_err(|reason| self.fault(reason, at as u64))?;
                    at += 1;
                }
            }
        };
        self.position += at as u64;
        if let Piece::Data { len, .. } = piece {
            self.position += len as u64;
        }
        Ok(piece)
    }

    fn data(&mut self, left: u64, skip: usize, available: usize) -> Piece {
        let len = available.min(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - len as u64;
        self.state = if left == 0 { State::DataCr } else { State::Data { left } };
        Piece::Data { skip, len }
    }

    /// The state after one octet of framing.
    fn framing(&mut self, octet: u8) -> Result<State, Reason> {
        match (self.state, octet) {
            (State::Size { digits: 1.., value }, b'\r') => Ok(State::SizeLf { size: value }),
            (State::Size { digits: 1.., value }, b';') => self.extension(value),
            (State::Size { digits, value }, _) => match (octet as char).to_digit(16) {
                Some(digit) if digits < DIGITS_MAX => {
                    Ok(State::Size { value: value << 4 | u64::from(digit), digits: digits + 1 })
                }
                _ => Err(wrong(octet)),
            },
            (State::Extension { size }, b'\r') => Ok(State::SizeLf { size }),
            (State::Extension { size }, b'\t' | 0x20..=0x7e | 0x80..) => self.extension(size),
            (State::SizeLf { size: 0 }, b'\n') => Ok(State::Trailers { line: 0 }),
            (State::SizeLf { size }, b'\n') => Ok(State::Data { left: size }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { value: 0, digits: 0 }),
            // A CR that no LF follows.
            (State::SizeLf { .. } | State::DataLf, _) => Err(Reason::BadLineEnding),
            _ => Err(wrong(octet)),
        }
    }

    fn extension(&mut self, size: u64) -> Result<State, Reason> {
        self.extensions += 1;
        if self.extensions > EXTENSIONS_MAX { Err(Reason::ChunkInvalid) } else { Ok(State::Extension { size }) }
    }

    /// Takes what the input holds of a trailer line, at most up to its end; returns how much that is. A line is judged
    /// when it is whole, or when the section's bound is reached.
    fn trailer_line(&mut self, line: usize, input: &[u8], at: usize) -> Result<usize, Fault> {
        let end = memchr::memchr(b'\n', input).map(|lf| lf + 1);
        let room = TRAILERS_LEN_MAX - self.trailers.bytes.len();
        let taken = end.unwrap_or(input.len());
        // Place of the section's first octet in the body.
        let section = self.position + at as u64 - self.trailers.bytes.len() as u64;
        self.trailers.bytes.extend_from_slice(&input[..taken.min(room)]);
        if end.is_none() && taken <= room {
            return Ok(taken);
        }
        let placed = |fault: Fault| Fault {
            offset: fault.offset.map(|offset| u32::try_from(section + u64::from(offset)).unwrap_or(u32::MAX)),
            ..fault
        };
        match field_line(&self.trailers.bytes, line, &mut Resume::default()) {
            Ok(Line::End(_)) => self.state = State::Done,
            Ok(Line::Field(line)) => {
                self.keep(line).map_err(placed)?;
                self.state = State::Trailers { line: line.next() };
            }
            Err(Stop::Bad(fault)) => return Err(placed(fault)),
            Err(Stop::More) => return Err(placed(too_large(TRAILERS_LEN_MAX))),
        }
        Ok(taken)
    }

    fn keep(&mut self, line: FieldLine) -> Result<(), Fault> {
        let trailers = &mut self.trailers;
        trailers.lines += 1;
        if trailers.lines > TRAILERS_MAX {
            return Err(too_large(line.start));
        }
        let underscore = self.underscore != Underscore::Allow && line.has_underscore(&trailers.bytes);
        if underscore && self.underscore == Underscore::Reject {
            return Err(fault(Reason::HeaderUnderscore, line.start));
        }
        let field = line.field(&trailers.bytes);
        if !underscore && !is_barred(field.name.of(&trailers.bytes)) {
            trailers.kept.push(field);
        }
        Ok(())
    }

    fn fault(&self, reason: Reason, at: u64) -> Fault {
        Fault::new(reason).at(u32::try_from(self.position + at).unwrap_or(u32::MAX))
    }
}

fn too_large(at: usize) -> Fault {
    Fault::new(Reason::TrailersTooLarge).at(at as u32)
}

/// The reason for an octet that does not belong where it stands: LF and NUL have one of their own.
fn wrong(octet: u8) -> Reason {
    if matches!(octet, b'\n' | 0) { Reason::BadLineEnding } else { Reason::ChunkInvalid }
}

/// RFC 9110 section 6.5.1: names for framing, routing, request modification, authentication, response control and
/// content format; besides, those by which weir and origins tell who the client is. A digest of the content can only be
/// known behind it (RFC 9530 section 2, RFC 1864).
fn is_barred(name: &[u8]) -> bool {
    const PREFIXES: &[&[u8]] = &[b"content-", b"if-", b"proxy-", b"x-forwarded-", b"access-control-", b"sec-"];
    const DIGESTS: &[&[u8]] = &[b"content-digest", b"content-md5"];
    const NAMES: &[&[u8]] = &[
        b"age",
        b"authorization",
        b"cache-control",
        b"connection",
        b"cookie",
        b"date",
        b"expect",
        b"expires",
        b"forwarded",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"location",
        b"max-forwards",
        b"pragma",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"vary",
        b"via",
        b"warning",
        b"www-authenticate",
        b"x-real-ip",
        b"x-request-id",
    ];
    let starts = |prefix: &&[u8]| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let is_in = |names: &[&[u8]]| names.iter().any(|one| name.eq_ignore_ascii_case(one));
    (PREFIXES.iter().any(starts) && !is_in(DIGESTS)) || is_in(NAMES)
}
