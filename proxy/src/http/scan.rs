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
    begun: bool,
    /// Start of the line that is next.
    pub(crate) at: usize,
    pub(crate) line: Resume,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    #[default]
    StartLine,
    Fields,
    Whole,
}

/// How far the scan of a line got. No long run of octets is scanned twice, so slow arrival costs no more than fast.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resume {
    /// The run that is being scanned (target, field name or value) goes on at least to here.
    pub(crate) scanned: usize,
    /// Place of the colon behind a field's name; 0 if it was not found yet.
    colon: usize,
}

impl Progress {
    /// Length of the head once it is whole, else 0.
    pub(crate) fn whole(&self) -> usize {
        if self.stage == Stage::Whole { self.at } else { 0 }
    }

    pub(crate) fn begin(&mut self, buf: &[u8]) {
        self.begun |= !buf.is_empty();
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(crate) fn in_start_line(&self) -> bool {
        self.stage == Stage::StartLine
    }

    /// The line is done; the next one starts at `at`.
    pub(crate) fn line_done(&mut self, at: usize) {
        *self = Self { stage: Stage::Fields, at, begun: true, line: Resume::default() };
    }

    pub(crate) fn head_done(&mut self, at: usize) {
        *self = Self { stage: Stage::Whole, at, begun: true, line: Resume::default() };
    }
}

/// The CRLF that must stand at `at`; `other` is the reason for octets that cannot be meant as a line's end. Returns what
/// follows it. Bare CR, LF and NUL are always refused as such (RFC 9112 section 2.2).
#[inline]
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

/// A line of a field section.
pub(crate) enum Line {
    /// A field.
    Field(FieldLine),
    /// The empty line that ends the section; the place behind it.
    End(usize),
}

/// Places of a field line's parts.
#[derive(Clone, Copy)]
pub(crate) struct FieldLine {
    pub(crate) start: usize,
    colon: usize,
    /// Where the CRLF stands.
    line_stop: usize,
}

/// Reads the line at `start` (RFC 9112 section 5). `resume` is of the last attempt at this line.
#[inline]
pub(crate) fn field_line(buf: &[u8], start: usize, resume: &mut Resume) -> Scan<Line> {
    if resume.colon == 0 {
        let name_end = name_end(buf, start.max(resume.scanned));
        resume.scanned = name_end;
        match buf.get(name_end) {
            Some(b':') if name_end > start => resume.colon = name_end,
            None => return Err(Stop::More),
            Some(b'\r') if name_end == start => return Ok(Line::End(line_end(buf, start, Reason::BadLineEnding)?)),
            // RFC 9112 section 5.2: a line folded onto the next, or a first line that only looks so.
            Some(b' ' | b'\t') if name_end == start => return bad(Reason::ObsFold, start),
            // RFC 9112 section 5.1: no space before the colon.
            Some(_) => return refuse(buf, name_end, Reason::BadHeaderName),
        }
    }
    let colon = resume.colon;
    let line_stop = octets::value_end(buf, resume.scanned.max(colon + 1));
    resume.scanned = line_stop;
    line_end(buf, line_stop, Reason::BadHeaderValue)?;
    Ok(Line::Field(FieldLine { start, colon, line_stop }))
}

#[inline]
fn name_end(buf: &[u8], start: usize) -> usize {
    let rest = buf.get(start..).unwrap_or_default();
    start + rest.iter().position(|&b| !octets::is_tchar(b)).unwrap_or(rest.len())
}

impl FieldLine {
    /// Where the next line starts.
    pub(crate) fn next(&self) -> usize {
        self.line_stop + 2
    }

    /// Whether the name holds an underscore, which many origins read as a hyphen.
    #[inline]
    pub(crate) fn has_underscore(&self, buf: &[u8]) -> bool {
        buf[self.start..self.colon].contains(&b'_')
    }

    // Built in registers where it is stored: by way of memory, loads wider than their stores stall.
    #[inline(always)]
    pub(crate) fn field(&self, buf: &[u8]) -> Field {
        let Self { start, colon, line_stop } = *self;
        let (mut value_start, mut value_end) = (colon + 1, line_stop);
        while value_start < value_end && matches!(buf[value_start], b' ' | b'\t') {
            value_start += 1;
        }
        while value_end > value_start && matches!(buf[value_end - 1], b' ' | b'\t') {
            value_end -= 1;
        }
        Field {
            name: Span::new(start, colon),
            value: Span::new(value_start, value_end),
            known: Known::of(&buf[start..colon]),
            nominated: false,
            canonical: value_end == line_stop && value_start == colon + 2 && buf[colon + 1] == b' ',
        }
    }
}
