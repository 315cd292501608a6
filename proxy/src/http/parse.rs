//! Request heads: every rule of HTTP/1 framing, strictly.

use super::fields::Span;
use super::head::{Head, Method, Version};
use super::scan::{Line, Resume, Scan, Stop, fault, field_line, line_end, refuse};
use super::{octets, query, semantics, uri};
use crate::base::{Fault, Reason};

/// Octets of a method.
const METHOD_MAX: usize = 32;
/// Octets of ` HTTP/1.1`.
const VERSION_LEN: usize = 8;

/// What to do with field names that hold an underscore: key `underscore_headers`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Underscore {
    /// Leave the field out: many origins read `_` as `-`.
    #[default]
    Drop,
    /// Treat it as any other.
    Allow,
    /// Refuse the request.
    Reject,
}

/// Bounds and choices of a listener for request heads.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Octets of a head: else 431.
    pub head_max: usize,
    /// Octets of a request target: else 414.
    pub target_max: usize,
    /// Field lines, at most 65,535: else 431.
    pub fields_max: usize,
    /// Pairs of a query: else 400.
    pub query_pairs_max: usize,
    /// Names with underscores.
    pub underscore: Underscore,
    /// Whether CONNECT may be asked here: else 405.
    pub connect: bool,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_max: 32 << 10,
            target_max: 8 << 10,
            fields_max: 128,
            query_pairs_max: 256,
            underscore: Underscore::Drop,
            connect: false,
        }
    }
}

/// Parses the head at the front of `buf`. `Ok(None)`: not whole yet; call again with the same octets and more behind
/// them. `Ok(Some(n))`: whole, n octets long. The result is the same however the octets were split, and takes time
/// linear in their number. A whole head is forgotten by the next call; [`Head::clear`] forgets an incomplete one.
pub fn parse_request(buf: &[u8], limits: &HeadLimits, head: &mut Head) -> Result<Option<usize>, Fault> {
    if !head.is_empty() {
        head.clear();
    }
    let view = &buf[..buf.len().min(limits.head_max)];
    match read(view, limits, head) {
        Ok(()) => {
            semantics::conclude(head, view)?;
            Ok(Some(head.len()))
        }
        Err(Stop::More) if buf.len() >= limits.head_max => Err(fault(Reason::HeadersTooLarge, limits.head_max)),
        Err(Stop::More) => Ok(None),
        Err(Stop::Bad(fault)) => Err(fault),
    }
}

fn read(view: &[u8], limits: &HeadLimits, head: &mut Head) -> Scan<()> {
    head.progress.begin(view);
    if head.progress.in_start_line() {
        let start = leading_empty_line(view)?;
        let next = request_line(view, start, limits, head)?;
        head.progress.line_done(next);
    }
    loop {
        let at = head.progress.at;
        if head.fields.lines_seen() == limits.fields_max && !matches!(view.get(at), None | Some(b'\r')) {
            return Err(fault(Reason::HeadersTooMany, at).into());
        }
        let line = match field_line(view, at, &mut head.progress.line)? {
            Line::Field(line) => line,
            Line::End(next) => {
                head.progress.head_done(next);
                return Ok(());
            }
        };
        if limits.underscore == Underscore::Allow || !line.has_underscore(view) {
            head.fields.push(line.field(view));
        } else if limits.underscore == Underscore::Drop {
            head.fields.leave_out();
        } else {
            return Err(fault(Reason::HeaderUnderscore, at).into());
        }
        head.progress.line_done(line.next());
    }
}

/// RFC 9112 section 2.2: one empty line may precede the request line. A second one is a malformed request line.
fn leading_empty_line(view: &[u8]) -> Scan<usize> {
    match view.first() {
        Some(b'\r') => line_end(view, 0, Reason::BadLineEnding),
        _ => Ok(0),
    }
}

fn request_line(view: &[u8], start: usize, limits: &HeadLimits, head: &mut Head) -> Scan<usize> {
    let line = &mut head.line;
    line.method = method(view, start)?;
    line.verb = Method::of(line.method.of(view));
    line.target = target(view, line.method.end as usize + 1, limits.target_max, &mut head.progress.line)?;
    let (version, next) = version(view, line.target.end as usize + 1)?;
    line.version = version;
    // TRACE would show a client what intermediaries added; CONNECT is for listed destinations only.
    if line.verb == Method::Trace || (line.verb == Method::Connect && !limits.connect) {
        return Err(fault(Reason::MethodNotAllowed, start).into());
    }
    uri::read_target(view, line)?;
    if let Some(query) = line.query
        && query::pieces(query.of(view)) > limits.query_pairs_max
    {
        return Err(fault(Reason::QueryTooMany, query.start as usize).into());
    }
    Ok(next)
}

fn method(view: &[u8], start: usize) -> Scan<Span> {
    let room = &view[start.min(view.len())..view.len().min(start + METHOD_MAX + 1)];
    let len = room.iter().position(|&b| !octets::is_tchar(b)).unwrap_or(room.len());
    match room.get(len) {
        Some(b' ') if len > 0 => Ok(Span::new(start, start + len)),
        None if len <= METHOD_MAX => Err(Stop::More),
        _ => refuse(view, start + len.min(METHOD_MAX), Reason::BadRequestLine),
    }
}

fn target(view: &[u8], start: usize, target_max: usize, resume: &mut Resume) -> Scan<Span> {
    let room = &view[..view.len().min(start + target_max + 1)];
    let end = octets::target_end(room, start.max(resume.scanned));
    resume.scanned = end;
    if end > start + target_max {
        return Err(fault(Reason::TargetTooLong, start + target_max).into());
    }
    match room.get(end) {
        None => Err(Stop::More),
        Some(b' ') if end > start => Ok(Span::new(start, end)),
        // No target or no version: HTTP/0.9 is not served.
        Some(b' ' | b'\r') => refuse(view, end, Reason::BadRequestLine),
        Some(_) => refuse(view, end, Reason::InvalidRequestTarget),
    }
}

/// RFC 9112 section 2.3. Reads the version at `start` and the line's end.
pub(crate) fn version(view: &[u8], start: usize) -> Scan<(Version, usize)> {
    const SHAPE: &[u8; VERSION_LEN] = b"HTTP/0.0";
    for (offset, &wanted) in SHAPE.iter().enumerate() {
        match view.get(start + offset) {
            None => return Err(Stop::More),
            Some(digit) if wanted == b'0' && digit.is_ascii_digit() => {}
            Some(&octet) if octet == wanted => {}
            Some(_) => return refuse(view, start + offset, Reason::BadRequestLine),
        }
    }
    let next = line_end(view, start + VERSION_LEN, Reason::BadRequestLine)?;
    match &view[start..start + VERSION_LEN] {
        b"HTTP/1.1" => Ok((Version::Http11, next)),
        b"HTTP/1.0" => Ok((Version::Http10, next)),
        _ => Err(fault(Reason::VersionUnsupported, start).into()),
    }
}
