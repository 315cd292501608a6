//! Scanners of head lines, shared by requests, responses and trailers.
//!
//! They go strictly from left to right, and what they refuse is decided by the octets up to the offending one alone. So
//! a message meets the same end however it was split.

use super::fields::{Field, Span};
use super::{Known, octets};
use crate::base::{Fault, Reason};

/// Why a scan ends early.
pub(crate) enum Stop {
    /// The octets are right so far, but not all there.
    More,
    /// They are refused.
    Bad(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Bad(fault)
    }
}

pub(crate) type Scan<T> = Result<T, Stop>;

/// The fault of the octet at `at`.
pub(crate) fn fault(reason: Reason, at: usize) -> Fault {
    Fault::new(reason).at(u32::try_from(at).unwrap_or(u32::MAX))
}

fn bad<T>(reason: Reason, at: usize) -> Scan<T> {
    Err(Stop::Bad(fault(reason, at)))
}

/// How far the parsing of a head got, between two arrivals of octets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    stage: Stage,
    /// Start of the line that is next.
    pub(crate) at: usize,
    /// That line does not end before here; 0 if it was not looked at yet.
    searched: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    #[default]
    StartLine,
    Fields,
    Whole,
}

impl Progress {
    /// Length of the head once it is whole, else 0.
    pub(crate) fn whole(&self) -> usize {
        if self.stage == Stage::Whole { self.at } else { 0 }
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.at > 0 || self.searched > 0
    }

    pub(crate) fn in_start_line(&self) -> bool {
        self.stage == Stage::StartLine
    }

    /// The line is done; the next one starts at `at`.
    pub(crate) fn line_done(&mut self, at: usize) {
        *self = Self { stage: Stage::Fields, at, searched: 0 };
    }

    pub(crate) fn head_done(&mut self, at: usize) {
        *self = Self { stage: Stage::Whole, at, searched: 0 };
    }

    /// Whether a look at the current line can tell anything new: it was not looked at, its end has come, or as many
    /// octets as decide about it without its end. Each octet is searched once, so slow arrival costs no more.
    pub(crate) fn is_due(&mut self, buf: &[u8], decisive: usize) -> bool {
        let unseen = buf.get(self.searched..).unwrap_or_default();
        let due = self.searched <= self.at || buf.len() >= decisive || memchr::memchr(b'\n', unseen).is_some();
        self.searched = buf.len();
        due
    }
}

/// The CRLF that must stand at `at`; `other` is the reason for octets that cannot be meant as a line's end. Returns what
/// follows it. Bare CR, LF and NUL are always refused as such (RFC 9112 section 2.2).
pub(crate) fn line_end(buf: &[u8], at: usize, other: Reason) -> Scan<usize> {
    match buf.get(at) {
        None => Err(Stop::More),
        Some(b'\r') => match buf.get(at + 1) {
            None => Err(Stop::More),
            Some(b'\n') => Ok(at + 2),
            Some(_) => bad(Reason::BadLineEnding, at),
        },
        Some(b'\n' | 0) => bad(Reason::BadLineEnding, at),
        Some(_) => bad(other, at),
    }
}

/// Refuses the octet at `at`: as a line's wrong end if it is one, else for `reason`, a proper CRLF included.
pub(crate) fn refuse<T>(buf: &[u8], at: usize, reason: Reason) -> Scan<T> {
    line_end(buf, at, reason)?;
    bad(reason, at)
}

/// Reads the line at `start`: a field and where the next line starts, or none if it is the empty line that ends the
/// section (RFC 9112 section 5).
pub(crate) fn field_line(buf: &[u8], start: usize) -> Scan<(Option<Field>, usize)> {
    let name_end = name_end(buf, start);
    match buf.get(name_end) {
        Some(b':') if name_end > start => {}
        None => return Err(Stop::More),
        Some(b'\r') if name_end == start => return Ok((None, line_end(buf, start, Reason::BadLineEnding)?)),
        // RFC 9112 section 5.2: a line folded onto the next, or a first line that only looks so.
        Some(b' ' | b'\t') if name_end == start => return bad(Reason::ObsFold, start),
        // RFC 9112 section 5.1: no space before the colon.
        Some(_) => return refuse(buf, name_end, Reason::BadHeaderName),
    }
    let mut value_start = name_end + 1;
    while let Some(b' ' | b'\t') = buf.get(value_start) {
        value_start += 1;
    }
    let line_stop = octets::value_end(buf, value_start);
    let next = line_end(buf, line_stop, Reason::BadHeaderValue)?;
    let mut value_end = line_stop;
    while value_end > value_start && matches!(buf[value_end - 1], b' ' | b'\t') {
        value_end -= 1;
    }
    let field = Field {
        name: Span::new(start, name_end),
        value: Span::new(value_start, value_end),
        known: Known::of(&buf[start..name_end]),
        nominated: false,
        canonical: value_end == line_stop && value_start == name_end + 2 && buf[name_end + 1] == b' ',
    };
    Ok((Some(field), next))
}

fn name_end(buf: &[u8], start: usize) -> usize {
    let rest = buf.get(start..).unwrap_or_default();
    start + rest.iter().position(|&b| !octets::is_tchar(b)).unwrap_or(rest.len())
}

/// Whether a field's name holds an underscore, which many origins read as a hyphen.
pub(crate) fn has_underscore(buf: &[u8], field: &Field) -> bool {
    field.known == Known::Other && memchr::memchr(b'_', field.name.of(buf)).is_some()
}
