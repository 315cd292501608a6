//! Error pages: the operator's own by status or class, else a plain one; JSON as RFC 9457 for clients that ask for it.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::Arc;

use super::status_text;
use crate::base::Reason;

/// The longest page file.
const PAGE_MAX: usize = 64 * 1024;

/// A page with `{status}`, `{reason}` and `{request_id}` in it, cut at those places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Status,
    Reason,
    RequestId,
}

/// Why a page cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// Over 64 KiB.
    TooLarge,
    /// Not UTF-8.
    NotText,
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "an error page has at most 64 KiB",
            Self::NotText => "an error page is UTF-8 text",
        })
    }
}

impl Page {
    /// Cuts a page's text at its placeholders; other braces are text.
    ///
    /// # Errors
    /// Too large, or not UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<Self, PageError> {
        if bytes.len() > PAGE_MAX {
            return Err(PageError::TooLarge);
        }
        let mut rest = std::str::from_utf8(bytes).map_err(|_| PageError::NotText)?;
        let mut pieces = Vec::new();
        let mut text = String::new();
        while let Some(at) = rest.find('{') {
            text.push_str(&rest[..at]);
            rest = &rest[at..];
            let found = [("{status}", Piece::Status), ("{reason}", Piece::Reason), ("{request_id}", Piece::RequestId)]
                .into_iter()
                .find(|(name, _)| rest.starts_with(name));
            if let Some((name, piece)) = found {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(piece);
                rest = &rest[name.len()..];
            } else {
                text.push('{');
                rest = &rest[1..];
            }
        }
        text.push_str(rest);
        pieces.push(Piece::Text(text));
        Ok(Self(pieces))
    }

    fn write(&self, out: &mut Vec<u8>, status: u16, reason: Reason, request_id: &str) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Status => drop(write!(out, "{status}")),
                Piece::Reason => out.extend_from_slice(reason.token().as_bytes()),
                Piece::RequestId => escape_html(out, request_id),
            }
        }
    }
}

/// The pages in force for a request, by status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages(BTreeMap<u16, Arc<Page>>);

impl Pages {
    /// Sets the page for `status`.
    pub fn set(&mut self, status: u16, page: Arc<Page>) {
        self.0.insert(status, page);
    }

    /// The page for `status`.
    pub fn page(&self, status: u16) -> Option<&Page> {
        self.0.get(&status).map(Arc::as_ref)
    }
}

/// The form of error body that the client prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Plain text: what a terminal shows best.
    Text,
    /// A page for a browser.
    Html,
    /// RFC 9457 problem details.
    Json,
}

impl Wanted {
    /// The form for an Accept value: JSON if it names JSON and not HTML, HTML if it names that, else text.
    pub fn from_accept(accept: Option<&[u8]>) -> Self {
        let accept = accept.unwrap_or_default();
        let names = |what: &[u8]| memchr::memmem::find(accept, what).is_some();
        if names(b"text/html") {
            Self::Html
        } else if names(b"application/json") || names(b"application/problem+json") {
            Self::Json
        } else {
            Self::Text
        }
    }
}

/// Appends the error body to `out` and says its media type.
pub fn render(
    out: &mut Vec<u8>,
    pages: &Pages,
    wanted: Wanted,
    status: u16,
    reason: Reason,
    request_id: &str,
) -> &'static str {
    if wanted == Wanted::Json {
        problem_json(out, status, reason, request_id);
        return "application/problem+json";
    }
    if let Some(page) = pages.page(status) {
        page.write(out, status, reason, request_id);
        return "text/html; charset=utf-8";
    }
    let (token, text, title) = (reason.token(), reason.text(), status_text(status));
    match wanted {
        Wanted::Html => {
            let _ = write!(
                out,
                "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{status} {title}</title>\
                 <h1>{status} {title}</h1><p>{text}</p><p><small>{token} &middot; request "
            );
            escape_html(out, request_id);
            out.extend_from_slice(b"</small></p></html>\n");
            "text/html; charset=utf-8"
        }
        Wanted::Text | Wanted::Json => {
            let _ = write!(out, "{status} {title}\n{text}\nreason: {token}\nrequest: {request_id}\n");
            "text/plain; charset=utf-8"
        }
    }
}

fn problem_json(out: &mut Vec<u8>, status: u16, reason: Reason, request_id: &str) {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status_text(status),
        "status": status,
        "detail": reason.text(),
        "reason": reason.token(),
        "request_id": request_id,
    });
    out.extend_from_slice(body.to_string().as_bytes());
}

/// A trusted proxy's request id may hold any token character: markup in it stays text.
fn escape_html(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pages: &Pages, wanted: Wanted, status: u16, id: &str) -> String {
        let mut out = Vec::new();
        render(&mut out, pages, wanted, status, Reason::NoRoute, id);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn placeholders_are_filled_and_escaped_and_other_braces_stay() {
        let mut pages = Pages::default();
        let page = Page::parse(b"a{b {status}/{reason}/{request_id} {}").expect("parses");
        pages.set(404, Arc::new(page));
        assert_eq!(body(&pages, Wanted::Html, 404, "<x>"), "a{b 404/no_route/&lt;x&gt; {}");
        assert!(body(&pages, Wanted::Html, 502, "i").contains("502 Bad Gateway"));
    }

    #[test]
    fn json_is_a_problem_document_with_reason_and_id() {
        let text = body(&Pages::default(), Wanted::from_accept(Some(b"application/json")), 404, "a\"b");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["reason"], "no_route");
        assert_eq!(value["request_id"], "a\"b");
        assert_eq!(value["status"], 404);
    }

    #[test]
    fn oversized_and_binary_pages_are_refused() {
        assert_eq!(Page::parse(&vec![b'a'; PAGE_MAX + 1]), Err(PageError::TooLarge));
        assert_eq!(Page::parse(b"\xff"), Err(PageError::NotText));
    }
}
