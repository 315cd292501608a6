//! `format = "template"`: text with `{field}` and `{req.header.NAME}`; `{{` stands for one brace.

use super::escape;
use crate::trace::field::{Field, Value};
use crate::trace::redact::{self, Show};
use crate::trace::{Outcome, redact::header as shown};

const HEADER: &str = "req.header.";

/// A parsed template.
#[derive(Debug)]
pub struct Template(Vec<Piece>);

#[derive(PartialEq, Eq, Debug)]
enum Piece {
    Text(Vec<u8>),
    Field(Field),
    Header { name: String, show: Show },
}

/// Why a template cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TemplateError {
    /// A brace is not closed.
    Unclosed {
        /// Offset of the brace.
        at: usize,
    },
    /// There is no such field.
    Unknown {
        /// What stands between the braces.
        field: String,
        /// The most similar field.
        nearest: Option<&'static str>,
    },
    /// A line break would end the line within a record.
    LineBreak,
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unclosed { at } => write!(f, "the brace at offset {at} is not closed; \"{{{{\" stands for a brace"),
            Self::Unknown { field, nearest: Some(nearest) } => {
                write!(f, "unknown field \"{field}\"; nearest: \"{nearest}\"")
            }
            Self::Unknown { field, nearest: None } => write!(f, "unknown field \"{field}\""),
            Self::LineBreak => write!(f, "a line break in the template"),
        }
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.contains(['\n', '\r']) {
            return Err(TemplateError::LineBreak);
        }
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(brace) = rest.find('{') {
            literal.extend_from_slice(&rest.as_bytes()[..brace]);
            let after = &rest[brace + 1..];
            if let Some(escaped) = after.strip_prefix('{') {
                literal.push(b'{');
                rest = escaped;
                continue;
            }
            let at = text.len() - rest.len() + brace;
            let (name, after) = after.split_once('}').ok_or(TemplateError::Unclosed { at })?;
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
            pieces.push(piece(name)?);
            rest = after;
        }
        literal.extend_from_slice(rest.as_bytes());
        pieces.push(Piece::Text(literal));
        pieces.retain(|piece| !matches!(piece, Piece::Text(text) if text.is_empty()));
        Ok(Self(pieces))
    }

    pub(super) fn write(&self, outcome: &Outcome<'_>, out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Field(name) => field(out, name.of(outcome)),
                Piece::Header { name, show } => header_as(out, outcome, name, *show),
            }
        }
    }
}

fn piece(name: &str) -> Result<Piece, TemplateError> {
    if let Some(header) = name.strip_prefix(HEADER).filter(|header| !header.is_empty()) {
        let name = header.to_ascii_lowercase();
        return Ok(Piece::Header { show: shown(&name), name });
    }
    Field::named(name).map(Piece::Field).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> TemplateError {
    let distance = |field: &Field| strsim::damerau_levenshtein(name, field.token());
    let nearest = Field::ALL.iter().min_by_key(|field| distance(field)).filter(|field| distance(field) <= 3);
    TemplateError::Unknown { field: name.to_owned(), nearest: nearest.map(|field| field.token()) }
}

/// A field's value as text, `-` where it is absent.
pub(super) fn field(out: &mut Vec<u8>, value: Value<'_>) {
    match value.plain(out) {
        None => {}
        Some(Value::Octets(octets)) => escape::text(out, octets),
        Some(Value::Query(query)) => redact::query(query, &mut |part| escape::text(out, part)),
        Some(_) => out.push(b'-'),
    }
}

/// A request header field's value, credentials withheld, `-` where it is absent.
pub(super) fn header(out: &mut Vec<u8>, outcome: &Outcome<'_>, name: &str) {
    header_as(out, outcome, name, shown(name));
}

fn header_as(out: &mut Vec<u8>, outcome: &Outcome<'_>, name: &str, show: Show) {
    match outcome.headers.field(name) {
        Some(value) => redact::value(show, value, &mut |part| escape::text(out, part)),
        None => out.push(b'-'),
    }
}
