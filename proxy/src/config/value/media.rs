//! Media types, one by one or many at once.

use std::fmt;

use crate::config::format::FromText;

/// Media types: `text/html`, `text/*`, `application/*+json`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MediaRange {
    kind: Box<str>,
    subtype: Subtype,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Subtype {
    Any,
    Suffix(Box<str>),
    Exact(Box<str>),
}

impl MediaRange {
    /// Whether a Content-Type's type is among them, whatever its parameters (RFC 9110 section 8.3.1).
    pub fn holds(&self, content_type: &[u8]) -> bool {
        let media = content_type.split(|&octet| octet == b';').next().unwrap_or_default().trim_ascii();
        let Some(slash) = media.iter().position(|&octet| octet == b'/') else { return false };
        let (kind, subtype) = (&media[..slash], &media[slash + 1..]);
        kind.eq_ignore_ascii_case(self.kind.as_bytes())
            && match &self.subtype {
                Subtype::Any => true,
                Subtype::Suffix(suffix) => ends_with(subtype, suffix.as_bytes()),
                Subtype::Exact(exact) => subtype.eq_ignore_ascii_case(exact.as_bytes()),
            }
    }
}

fn ends_with(subtype: &[u8], suffix: &[u8]) -> bool {
    let end = subtype.len().checked_sub(suffix.len()).map(|at| &subtype[at..]);
    end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}

impl FromText for MediaRange {
    const KIND: &'static str = "a media type such as \"text/html\", \"text/*\" or \"application/*+json\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let token = |text: &str| text.len() <= 127 && crate::http::is_token(text.as_bytes()) && !text.contains('*');
        let (kind, rest) = text.split_once('/').filter(|(kind, _)| token(kind)).unwrap_or_default();
        let subtype = match (rest, rest.strip_prefix('*')) {
            ("*", _) => Some(Subtype::Any),
            (_, Some(suffix)) if suffix.len() > 1 && suffix.starts_with('+') && token(suffix) => {
                Some(Subtype::Suffix(suffix.into()))
            }
            (exact, None) if token(exact) => Some(Subtype::Exact(exact.into())),
            _ => None,
        };
        let subtype = subtype.ok_or_else(|| format!("must be {}", Self::KIND))?;
        Ok(Self { kind: kind.into(), subtype })
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subtype {
            Subtype::Any => write!(f, "{}/*", self.kind),
            Subtype::Suffix(suffix) => write!(f, "{}/*{suffix}", self.kind),
            Subtype::Exact(exact) => write!(f, "{}/{exact}", self.kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_it_names_whatever_the_parameters() {
        let holds = |range: &str, kind: &str| MediaRange::from_text(range).unwrap().holds(kind.as_bytes());
        assert!(holds("text/*", "Text/HTML; charset=utf-8"));
        assert!(holds("application/json", "application/json;charset=utf-8"));
        assert!(holds("application/*+json", "application/problem+JSON"));
        assert!(holds("image/svg+xml", "image/svg+xml "));
        for (range, kind) in [
            ("text/*", "texts/html"),
            ("text/*", "text"),
            ("text/*", ""),
            ("text/html", "text/htm"),
            ("text/html", "text/html5"),
            ("application/*+json", "application/json"),
            ("application/*+json", "application/n"),
        ] {
            assert!(!holds(range, kind), "{range} {kind}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in
            ["", "text", "*/*", "/html", "text/", "text/h*", "te xt/html", "text/html;q=1", "text/*json", "a/*+"]
        {
            assert!(MediaRange::from_text(text).is_err(), "{text}");
        }
        let round = |text: &str| MediaRange::from_text(text).unwrap().to_string();
        assert_eq!(round("application/*+json"), "application/*+json");
    }
}
