//! The answer to a request that a rule denies.

use std::sync::Arc;

use crate::config::raw::DenyResponse;
use crate::http::Edits;

/// Status, header fields and body, made when the document is loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// 400 to 599.
    pub status: u16,
    /// The body.
    pub body: Arc<[u8]>,
    /// The media type first, then the rule's own.
    lines: Box<[(Box<str>, Box<str>)]>,
}

impl Denial {
    /// The answer as a document has it; `template` knows the bodies that answers share.
    pub fn of(raw: &DenyResponse, template: &dyn Fn(&str) -> Option<Arc<[u8]>>) -> Self {
        let shared = raw.template.as_ref().and_then(|name| template(name));
        let body = shared.unwrap_or_else(|| raw.body.as_bytes().into());
        let own = raw.headers.iter().flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value)));
        let lines = [("Content-Type", &raw.content_type)].into_iter().chain(own);
        let lines = lines.map(|(name, value)| (name.into(), value.as_str().into()));
        Self { status: raw.status, body, lines: lines.collect() }
    }

    /// Adds its header fields. It stands for this moment alone, so nobody keeps it.
    pub fn write(&self, edits: &mut Edits) {
        for (name, value) in &self.lines {
            edits.add(name.as_bytes(), value.as_bytes());
        }
        edits.add_missing(b"Cache-Control", b"no-store", false);
    }
}
