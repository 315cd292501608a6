//! Compression of response bodies: for whom, of what, and what then becomes of the head. The coders are sans-I/O.
//!
//! Off unless configured: a body that holds a secret beside what an attacker chose tells of it by its compressed length
//! (BREACH).

mod accept;
mod encoder;
mod fields;
mod room;

use self::fields::Fields;
use crate::base::metric::Coding;
use crate::config::raw::Compression;
use crate::config::value::MediaRange;
use crate::http::{Edits, Request, Response};

pub use encoder::{Encoder, Extent};
pub use fields::is_digest;
pub use room::{Held, Room};

/// What is compressed, in one place of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Compress {
    /// In the order of preference, each once.
    codings: Vec<Coding>,
    size_min: u64,
    types: Vec<MediaRange>,
    /// Octets of memory that a worker's coders may take together; 0: no bound.
    pub memory_max: u64,
}

/// A response before it is sent.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// What it answers.
    pub request: &'a Request<'a>,
    /// Its status.
    pub status: u16,
    /// The upstream's head; none for answers of weir's own.
    pub head: Option<&'a Response<'a>>,
    /// Octets of its body, where that is known.
    pub length: Option<u64>,
}

impl Compress {
    /// None where no coding is offered.
    pub fn new(raw: &Compression) -> Option<Self> {
        let mut codings = raw.algorithms.clone();
        let mut seen = [false; Coding::COUNT];
        codings.retain(|&coding| !std::mem::replace(&mut seen[coding as usize], true));
        let (size_min, types, memory_max) = (raw.size_min, raw.types.clone(), raw.memory_max);
        (!codings.is_empty()).then_some(Self { codings, size_min, types, memory_max })
    }

    /// The coding that the response's body is to be put into, if any. Where the same request could have been answered
    /// by either, `edits` learns that it varies (RFC 9110 section 12.5.5).
    pub fn choose(&self, subject: Subject<'_>, edits: &mut Edits) -> Option<Coding> {
        if subject.status == 304 {
            fields::return_validator(subject.request, subject.head, edits);
            return None;
        }
        if !self.concerns(subject, &Fields { head: subject.head, edits }) {
            return None;
        }
        fields::vary(subject.head, edits);
        if fields::forbids_transform(subject.request.fields_named(b"cache-control")) {
            return None;
        }
        accept::choose(subject.request.fields_named(b"accept-encoding"), &self.codings)
    }

    /// Has the head tell of a body in that coding.
    pub fn announce(coding: Coding, head: Option<&Response<'_>>, edits: &mut Edits) {
        fields::announce(coding, head, edits);
    }

    /// Whether it is a response that is compressed for those who like it so.
    fn concerns(&self, subject: Subject<'_>, fields: &Fields<'_>) -> bool {
        // 206 carries a part of the content as the origin has it; 204 and 304 carry none.
        let carries = subject.status >= 200 && !matches!(subject.status, 204..=206);
        carries
            && subject.length.is_none_or(|length| length > 0 && length >= self.size_min)
            && !fields.has(b"content-encoding")
            && fields.values(b"content-type").next().is_some_and(|kind| self.takes(kind))
            && !fields::forbids_transform(fields.values(b"cache-control"))
    }

    fn takes(&self, content_type: &[u8]) -> bool {
        // gRPC compresses its messages one by one, and reads none of this.
        const GRPC: &[u8] = b"application/grpc";
        let is_grpc = content_type.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC));
        !is_grpc && self.types.iter().any(|range| range.holds(content_type))
    }
}

#[cfg(test)]
mod tests;
