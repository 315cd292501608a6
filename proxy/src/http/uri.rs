//! Forms of the request target (RFC 9112 section 3.2).

use super::fields::Span;
use super::head::{Method, RequestLine};
use super::scan::fault;
use crate::base::{Fault, Reason};

/// How the request names its target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Form {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://authority/path?query`
    Absolute,
    /// `host:port`, with CONNECT only.
    Authority,
    /// `*`, with OPTIONS only: the server as a whole.
    Asterisk,
}

/// Splits the line's target into its parts. The authority's validity is Host's business: they must be equal.
pub(crate) fn read_target(view: &[u8], line: &mut RequestLine) -> Result<(), Fault> {
    let target = line.target.of(view);
    let start = line.target.start as usize;
    if line.verb == Method::Connect {
        line.form = Form::Authority;
        line.authority = line.target;
        return Ok(());
    }
    match target {
        [b'/', ..] => {
            line.form = Form::Origin;
            path_and_query(view, line, start);
            Ok(())
        }
        b"*" if line.verb == Method::Options => {
            line.form = Form::Asterisk;
            Ok(())
        }
        _ => absolute(view, line, start),
    }
}

fn absolute(view: &[u8], line: &mut RequestLine, start: usize) -> Result<(), Fault> {
    let target = line.target.of(view);
    let Some(scheme) = [&b"http://"[..], b"https://"].into_iter().find(|s| has_prefix(target, s)) else {
        return Err(fault(Reason::InvalidRequestTarget, start));
    };
    let rest = &target[scheme.len()..];
    let len = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let authority = start + scheme.len();
    line.form = Form::Absolute;
    line.default_port = if scheme.len() == 7 { 80 } else { 443 };
    line.authority = Span::new(authority, authority + len);
    path_and_query(view, line, authority + len);
    // RFC 9112 section 3.2.4: such a target without path and query is what a proxy turns into `*`.
    if line.verb == Method::Options && line.path.is_empty() && line.query.is_none() {
        line.form = Form::Asterisk;
    }
    Ok(())
}

fn has_prefix(text: &[u8], lower: &[u8]) -> bool {
    text.get(..lower.len()).is_some_and(|start| start.eq_ignore_ascii_case(lower))
}

fn path_and_query(view: &[u8], line: &mut RequestLine, start: usize) {
    let end = line.target.end as usize;
    let mark = memchr::memchr(b'?', &view[start..end]).map(|at| start + at);
    line.path = Span::new(start, mark.unwrap_or(end));
    line.query = mark.map(|mark| Span::new(mark + 1, end));
}
