//! `format = "json"`: one object per line, all fields, absent ones null.

use super::escape;
use crate::trace::field::{Field, Value};
use crate::trace::{Outcome, redact};

pub(super) fn write(outcome: &Outcome<'_>, out: &mut Vec<u8>) {
    let mut object = None;
    out.push(b'{');
    for (n, field) in Field::ALL.iter().enumerate() {
        let (inside, name) = field.member();
        if object.is_some() && inside != object {
            out.push(b'}');
        }
        if n > 0 {
            out.push(b',');
        }
        if let Some(opened) = inside.filter(|_| inside != object) {
            key(out, opened);
            out.push(b'{');
        }
        object = inside;
        key(out, name);
        value(out, field.of(outcome));
    }
    out.extend_from_slice(if object.is_some() { b"}}" } else { b"}" });
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn value(out: &mut Vec<u8>, value: Value<'_>) {
    let quoted = !value.is_bare();
    if quoted {
        out.push(b'"');
    }
    match value.plain(out) {
        None => {}
        Some(Value::Octets(octets)) => escape::json(out, octets),
        Some(Value::Query(query)) => redact::query(query, &mut |part| escape::json(out, part)),
        Some(_) => out.extend_from_slice(b"null"),
    }
    if quoted {
        out.push(b'"');
    }
}
