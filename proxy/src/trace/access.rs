//! Lines of the access log: an outcome as JSON, in the combined format, or by a template.

mod combined;
mod escape;
mod json;
mod template;

use std::time::Duration;

pub use template::TemplateError as FormatError;

use super::Outcome;
use template::Template;

/// How a log's lines look.
pub enum Format {
    /// One object per line, all fields.
    Json,
    /// As nginx and Apache name it.
    Combined,
    /// As the operator wrote it.
    Template(Template),
}

impl Format {
    /// Parses a template.
    pub fn template(text: &str) -> Result<Self, FormatError> {
        Template::parse(text).map(Self::Template)
    }

    /// Appends an outcome's line, without its end of line. Allocates nothing but what `out` needs to grow.
    pub fn write(&self, outcome: &Outcome<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Json => json::write(outcome, out),
            Self::Combined => combined::write(outcome, out),
            Self::Template(template) => template.write(outcome, out),
        }
    }
}

/// Which outcomes a log keeps.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Selection {
    /// The share that is kept, 0 to 1, chosen by the id: the same on all nodes.
    pub sample: f64,
    /// Whether requests that failed, or were answered 500 and up, are kept in any case.
    pub errors: bool,
    /// Requests that took this long are kept in any case.
    pub slow: Option<Duration>,
}

impl Default for Selection {
    fn default() -> Self {
        Self { sample: 1.0, errors: true, slow: Some(Duration::from_secs(1)) }
    }
}

impl Selection {
    /// Whether this outcome is kept.
    pub fn keeps(&self, outcome: &Outcome<'_>) -> bool {
        self.sampled(outcome.id.0)
            || self.errors && is_error(outcome)
            || self.slow.is_some_and(|slow| outcome.total >= slow)
    }

    /// The low 56 bits of an id are random (W3C Trace Context level 2, random-trace-id).
    fn sampled(&self, id: u128) -> bool {
        const RANDOM_BITS: u32 = 56;
        let random = (id & ((1 << RANDOM_BITS) - 1)) as u64;
        self.sample >= 1.0 || (random as f64) < self.sample * (1_u64 << RANDOM_BITS) as f64
    }
}

fn is_error(outcome: &Outcome<'_>) -> bool {
    outcome.reason != crate::base::Reason::Ok || outcome.status.is_some_and(|status| status >= 500)
}

#[cfg(test)]
mod tests;
