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
    /// The form for the lines of Accept (RFC 9110 section 12.5.1): HTML or JSON, whichever they name with the higher
    /// weight, HTML if both have the same; text if they name neither.
    pub fn from_accept<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let (mut html, mut json) = (0, 0);
        for range in lines.into_iter().flat_map(|line| line.split(|&octet| octet == b',')) {
            let mut parts = range.split(|&octet| octet == b';').map(<[u8]>::trim_ascii);
            let best = match parts.next().unwrap_or_default() {
                media if media.eq_ignore_ascii_case(b"text/html") => &mut html,
                media if is_json(media) => &mut json,
                _ => continue,
            };
            *best = weight(parts).max(*best);
        }
        match (html, json) {
            (0, 0) => Self::Text,
            (html, json) if html >= json => Self::Html,
            _ => Self::Json,
        }
    }
}

/// `application/json`, or a type whose suffix says that it is JSON (RFC 6839 section 3.1).
fn is_json(media: &[u8]) -> bool {
    let ends =
        |suffix: &[u8]| media.len() > suffix.len() && media[media.len() - suffix.len()..].eq_ignore_ascii_case(suffix);
    media.eq_ignore_ascii_case(b"application/json") || ends(b"+json")
}

/// The weight among a media range's parameters, in thousandths; one that cannot be read is none.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> u16 {
    let Some(q) = parameters.find_map(|one| one.strip_prefix(b"q=").or_else(|| one.strip_prefix(b"Q="))) else {
        return 1000;
    };
    match q {
        [b'1', ..] => 1000,
        [b'0', b'.', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            let digit = |at: usize| digits.get(at).map_or(0, |digit| u16::from(digit - b'0'));
            digit(0) * 100 + digit(1) * 10 + digit(2)
        }
        _ => 0,
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
    let mut body = serde_json::json!({
        "type": "about:blank",
        "title": status_text(status),
        "status": status,
        "reason": reason.token(),
        "request_id": request_id,
    });
    // Of an upstream's own error weir knows no more than its status.
    if reason != Reason::Ok {
        body["detail"] = reason.text().into();
    }
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
        let text = body(&Pages::default(), Wanted::from_accept([&b"application/json"[..]]), 404, "a\"b");
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["reason"], "no_route");
        assert_eq!(value["request_id"], "a\"b");
        assert_eq!(value["status"], 404);
    }

    #[test]
    fn accept_says_which_form_by_its_weights() {
        let cases: [(&[&str], Wanted); 13] = [
            (&[], Wanted::Text),
            (&["*/*"], Wanted::Text),
            (&["text/*, application/*"], Wanted::Text),
            (&["application/json"], Wanted::Json),
            (&["Application/Problem+JSON; q=0.5"], Wanted::Json),
            (&["application/vnd.api+json"], Wanted::Json),
            (&["text/html,application/json"], Wanted::Html),
            (&["text/html;q=0.5, application/json;q=0.6"], Wanted::Json),
            (&["text/html;level=1;q=0.9", "application/json;q=0.85"], Wanted::Html),
            (&["text/html;q=0, application/json;q=0.001"], Wanted::Json),
            (&["text/html;q=0, application/json;q=0.0"], Wanted::Text),
            (&["text/html;q=x, application/json;q="], Wanted::Text),
            (&["text/html+json2, +json, ;,,"], Wanted::Text),
        ];
        for (lines, wanted) in cases {
            assert_eq!(Wanted::from_accept(lines.iter().map(|line| line.as_bytes())), wanted, "{lines:?}");
        }
    }

    #[test]
    fn a_problem_that_is_an_upstreams_has_no_detail() {
        let mut out = Vec::new();
        let kind = render(&mut out, &Pages::default(), Wanted::Json, 503, Reason::Ok, "i");
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(kind, "application/problem+json");
        assert!(value.get("detail").is_none() && value["status"] == 503 && value["title"] == "Service Unavailable");
    }

    #[test]
    fn oversized_and_binary_pages_are_refused() {
        assert_eq!(Page::parse(&vec![b'a'; PAGE_MAX + 1]), Err(PageError::TooLarge));
        assert_eq!(Page::parse(b"\xff"), Err(PageError::NotText));
    }
}
