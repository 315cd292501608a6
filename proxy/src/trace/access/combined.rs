//! `format = "combined"`: `client - - [time] "request" status body "referer" "user agent"`.

use super::template::{field, header};
use crate::trace::field::Field;
use crate::trace::{Outcome, redact, time};

use super::escape;

pub(super) fn write(outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    field(out, Field::ClientIp.of(outcome));
    out.extend_from_slice(b" - - [");
    time::common(out, outcome.start_unix_ns);
    out.extend_from_slice(b"] \"");
    request_line(outcome, out);
    out.extend_from_slice(b"\" ");
    field(out, Field::Status.of(outcome));
    out.push(b' ');
    field(out, Field::BodyOut.of(outcome));
    out.extend_from_slice(b" \"");
    header(out, outcome, "referer");
    out.extend_from_slice(b"\" \"");
    header(out, outcome, "user-agent");
    out.push(b'"');
}

fn request_line(outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    let (Some(method), Some(path)) = (outcome.method, outcome.path) else {
        out.push(b'-');
        return;
    };
    escape::text(out, method);
    out.push(b' ');
    escape::text(out, path);
    if let Some(query) = outcome.query {
        out.push(b'?');
        redact::query(query, &mut |part| escape::text(out, part));
    }
    if let Some(version) = outcome.http_version {
        out.extend_from_slice(b" HTTP/");
        out.extend_from_slice(version.as_bytes());
    }
}
