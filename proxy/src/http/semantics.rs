//! What fields mean for framing and for the connection: host, lengths, codings, connection options.

use super::body::BodyLength;
use super::fields::{Field, Fields};
use super::head::{Head, Method, Options, Version};
use super::host::normalise_host;
use super::scan::fault;
use super::uri::Form;
use super::{Known, forward, octets};
use crate::base::{Fault, Reason};

/// Names that Connection may hold.
const OPTIONS_MAX: usize = 16;

/// Judges a head whose lines are all well-formed, and fills in what it means.
pub(crate) fn conclude(head: &mut Head, view: &[u8]) -> Result<(), Fault> {
    host(head, view)?;
    let length = content_length(&head.fields, view)?;
    let chunked = transfer_encoding(&head.fields, view, head.line.version)?;
    head.body = match (length, chunked) {
        // RFC 9112 section 6.1 lets a proxy repair this; it is how requests are smuggled.
        (Some(_), true) => return Err(field_fault(Reason::LengthConflict, &head.fields, Known::ContentLength)),
        (None, true) => BodyLength::Chunked,
        (Some(length), false) => BodyLength::Length(length),
        (None, false) => BodyLength::None,
    };
    // RFC 9110 section 9.3.6: content of a CONNECT request has no meaning.
    if head.line.verb == Method::Connect && head.body != BodyLength::None {
        let framing = if chunked { Known::TransferEncoding } else { Known::ContentLength };
        return Err(field_fault(Reason::ConnectWithBody, &head.fields, framing));
    }
    if head.fields.has(Known::Connection) {
        head.options = connection(&mut head.fields, view, Nominations::Refuse)?;
    }
    rare(head, view)
}

/// Fields that few requests have.
fn rare(head: &mut Head, view: &[u8]) -> Result<(), Fault> {
    const RARE: u64 = super::known::set(&[Known::Expect, Known::Te, Known::Via]);
    if !head.fields.has_any(RARE) {
        return Ok(());
    }
    for field in head.fields.all(Known::Expect) {
        // RFC 9110 section 10.1.1.
        if !field.value.of(view).eq_ignore_ascii_case(b"100-continue") {
            return Err(fault(Reason::ExpectationFailed, field.value.start as usize));
        }
        head.options.expect_continue = head.line.version >= Version::Http11;
    }
    head.options.te_trailers =
        list(&head.fields, view, Known::Te).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    if forward::own_hops(list(&head.fields, view, Known::Via)) >= forward::HOPS_MAX {
        return Err(field_fault(Reason::LoopDetected, &head.fields, Known::Via));
    }
    Ok(())
}

/// RFC 9112 section 3.2: exactly one Host in HTTP/1.1, at most one in HTTP/1.0, and equal to the target's authority.
fn host(head: &mut Head, view: &[u8]) -> Result<(), Fault> {
    let line = &head.line;
    let Some(field) = head.fields.first(Known::Host) else {
        if line.version == Version::Http11 {
            return Err(fault(Reason::HostMissing, head.progress.whole()));
        }
        if !line.authority.is_empty() || line.form == Form::Absolute {
            let authority = line.authority;
            let read = head.host.read(authority.of(view));
            read.map_err(|_| fault(Reason::InvalidRequestTarget, authority.start as usize))?;
        }
        return Ok(());
    };
    let at = field.value.start as usize;
    if head.fields.is_repeated(Known::Host) {
        return Err(fault(Reason::HostInvalid, at));
    }
    head.host.read(field.value.of(view)).map_err(|_| fault(Reason::HostInvalid, at))?;
    // The authority stands in the target only in these forms.
    if line.default_port != 0 || line.form == Form::Authority { same_authority(head, view, at) } else { Ok(()) }
}

fn same_authority(head: &mut Head, view: &[u8], at: usize) -> Result<(), Fault> {
    let line = &head.line;
    let mut named = String::new();
    let named_port = normalise_host(line.authority.of(view), &mut named)
        .map_err(|_| fault(Reason::InvalidRequestTarget, line.authority.start as usize))?;
    let same_port = match line.form {
        // RFC 9112 section 3.2.3: the port is part of that form; many clients leave it out of Host.
        Form::Authority if named_port.is_none() => {
            return Err(fault(Reason::InvalidRequestTarget, line.authority.start as usize));
        }
        Form::Authority => head.port().is_none() || head.port() == named_port,
        _ => named_port.unwrap_or(line.default_port) == head.port().unwrap_or(line.default_port),
    };
    if named != head.host() || !same_port {
        return Err(fault(Reason::HostMismatch, at));
    }
    head.host.set_port(named_port);
    Ok(())
}

/// RFC 9110 section 8.6: 1-19 digits, below 2^63; repeats, by line or list, only if they are equal.
pub(crate) fn content_length(fields: &Fields, view: &[u8]) -> Result<Option<u64>, Fault> {
    let mut length = None;
    for field in fields.all(Known::ContentLength) {
        for element in field.value.of(view).split(|&b| b == b',') {
            let value = decimal(octets::trim(element));
            if value.is_none() || (length.is_some() && length != value) {
                return Err(fault(Reason::ContentLengthInvalid, field.value.start as usize));
            }
            length = value;
        }
    }
    Ok(length)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if !(1..=19).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // 19 digits always fit 64 bits.
    let value = digits.iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
    (value < 1 << 63).then_some(value)
}

/// RFC 9112 section 6.1: one line, `chunked` alone, not in HTTP/1.0. Another coding before it is understood but not
/// implemented: 501.
pub(crate) fn transfer_encoding(fields: &Fields, view: &[u8], version: Version) -> Result<bool, Fault> {
    let Some(field) = fields.first(Known::TransferEncoding) else { return Ok(false) };
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let value = field.value.of(view);
    let one_line = !fields.is_repeated(Known::TransferEncoding) && version == Version::Http11;
    if one_line && is_chunked(value) {
        return Ok(true);
    }
    let refused = fault(Reason::TransferEncodingInvalid, field.value.start as usize);
    let mut codings: Vec<&[u8]> = octets::list(value).take(OPTIONS_MAX).collect();
    let chunked_is_last = codings.pop().is_some_and(is_chunked);
    let unimplemented = one_line && chunked_is_last && !codings.is_empty() && !codings.into_iter().any(is_chunked);
    Err(if unimplemented { refused.status(501) } else { refused })
}

/// What to do when Connection names a field that must not be dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nominations {
    /// A client that asks for this attacks what stands behind: refuse.
    Refuse,
    /// Keep the field.
    Ignore,
}

/// RFC 9110 section 7.6.1: reads Connection's options and marks the fields that it names.
pub(crate) fn connection(fields: &mut Fields, view: &[u8], barred: Nominations) -> Result<Options, Fault> {
    let mut options = Options::default();
    let mut seen = 0;
    let mut from = 0;
    while let Some((index, value)) = next_connection(fields, from) {
        from = index + 1;
        for option in octets::list(value.of(view)) {
            seen += 1;
            let keeps = !mark(fields, view, option, &mut options);
            if seen > OPTIONS_MAX || (keeps && barred == Nominations::Refuse) {
                return Err(fault(Reason::ConnectionNominates, value.start as usize));
            }
        }
    }
    options.upgrade &= fields.has(Known::Upgrade);
    Ok(options)
}

fn next_connection(fields: &Fields, from: usize) -> Option<(usize, super::Span)> {
    let is_connection = |field: &Field| field.known == Known::Connection;
    let index = from + fields.list().get(from..)?.iter().position(is_connection)?;
    Some((index, fields.list()[index].value))
}

/// Applies one option; false if it names a field that must not be dropped.
fn mark(fields: &mut Fields, view: &[u8], option: &[u8], options: &mut Options) -> bool {
    if option.eq_ignore_ascii_case(b"keep-alive") {
        options.keep_alive = true;
    } else if option.eq_ignore_ascii_case(b"close") {
        options.close = true;
    } else if option.eq_ignore_ascii_case(b"upgrade") {
        options.upgrade = true;
    } else if must_stay(option) {
        return false;
    } else {
        let named = |field: &&mut Field| field.name.of(view).eq_ignore_ascii_case(option);
        fields.list_mut().iter_mut().filter(named).for_each(|field| field.nominated = true);
    }
    true
}

/// Fields that carry the message's meaning or say who the client is: dropping them changes what an origin decides.
fn must_stay(name: &[u8]) -> bool {
    const NAMES: u64 = super::known::set(&[
        Known::Host,
        Known::Authorization,
        Known::Cookie,
        Known::SetCookie,
        Known::Forwarded,
        Known::XForwarded,
        Known::XForwardedFor,
        Known::XForwardedHost,
        Known::XForwardedProto,
        Known::XForwardedPort,
        Known::XRealIp,
    ]);
    let content = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
    content || NAMES & Known::of(name).bit() != 0
}

/// The elements of all fields of a name.
pub(crate) fn list<'a>(fields: &'a Fields, view: &'a [u8], known: Known) -> impl Iterator<Item = &'a [u8]> {
    fields.all(known).flat_map(move |field| octets::list(field.value.of(view)))
}

fn field_fault(reason: Reason, fields: &Fields, known: Known) -> Fault {
    Fault { offset: fields.first(known).map(|field| field.name.start), ..Fault::new(reason) }
}
