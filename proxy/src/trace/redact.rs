//! Credentials never reach an output: which header fields and query values are withheld, and what stands for them.

/// What stands in place of a withheld value.
pub(super) const REDACTED: &[u8] = b"[redacted]";

/// Parts of names, of header fields and query keys alike, whose values are withheld.
const SECRET_PARTS: [&[u8]; 4] = [b"token", b"secret", b"password", b"key"];
/// Further parts for query keys.
const SECRET_QUERY_PARTS: [&[u8]; 4] = [b"auth", b"code", b"session", b"sig"];

/// How a header field's value is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Show {
    /// As it is.
    Whole,
    /// Not at all.
    Nothing,
    /// The authentication scheme alone (RFC 9110 section 11.4).
    Scheme,
    /// The cookies' names alone.
    CookieNames,
    /// A URL: without userinfo, its query redacted.
    Url,
}

/// How the field of this lower-case name is shown.
pub(super) fn header(name: &str) -> Show {
    match name {
        "authorization" | "proxy-authorization" => Show::Scheme,
        "cookie" | "set-cookie" => Show::CookieNames,
        "referer" | "location" => Show::Url,
        name if contains_any(name.as_bytes(), &SECRET_PARTS) => Show::Nothing,
        _ => Show::Whole,
    }
}

/// Writes a field's value as `show` says; `put` escapes what it is given.
pub(super) fn value(show: Show, value: &[u8], put: &mut impl FnMut(&[u8])) {
    match show {
        Show::Whole => put(value),
        Show::Nothing => put(REDACTED),
        Show::Scheme => scheme(value, put),
        Show::CookieNames => cookie_names(value, put),
        Show::Url => url(value, put),
    }
}

/// `Bearer abc` is shown as `Bearer [redacted]`; a value without a scheme not at all.
fn scheme(value: &[u8], put: &mut impl FnMut(&[u8])) {
    if let Some(space) = memchr::memchr(b' ', value) {
        put(&value[..=space]);
    }
    put(REDACTED);
}

/// `a=1; b=2` is shown as `a=[redacted]; b=[redacted]`. A Set-Cookie's attributes are withheld with the values; a part
/// without `=` is a value whose cookie has no name.
fn cookie_names(value: &[u8], put: &mut impl FnMut(&[u8])) {
    for (n, part) in value.split(|&b| b == b';').enumerate() {
        if n > 0 {
            put(b"; ");
        }
        if let Some(equals) = memchr::memchr(b'=', part) {
            put(part[..=equals].trim_ascii_start());
        }
        put(REDACTED);
    }
}

/// A URL without its userinfo (RFC 3986 section 3.2.1) and with its query redacted.
fn url(value: &[u8], put: &mut impl FnMut(&[u8])) {
    let query_at = memchr::memchr(b'?', value).unwrap_or(value.len());
    let (before, after) = value.split_at(query_at);
    match userinfo(before) {
        Some((start, end)) => {
            put(&before[..start]);
            put(REDACTED);
            put(&before[end..]);
        }
        None => put(before),
    }
    if let Some(after) = after.strip_prefix(b"?") {
        put(b"?");
        query(after, put);
    }
}

/// Where the userinfo of a URL's authority lies.
fn userinfo(url: &[u8]) -> Option<(usize, usize)> {
    let start = memchr::memmem::find(url, b"//")? + 2;
    let authority = url[start..].split(|&b| b == b'/').next()?;
    Some((start, start + memchr::memrchr(b'@', authority)?))
}

/// A query whose secret keys have their values withheld. Keys are compared decoded.
pub(super) fn query(query: &[u8], put: &mut impl FnMut(&[u8])) {
    for (n, pair) in query.split(|&b| b == b'&').enumerate() {
        if n > 0 {
            put(b"&");
        }
        match memchr::memchr(b'=', pair) {
            Some(equals) if is_secret_key(&pair[..equals]) => {
                put(&pair[..=equals]);
                put(REDACTED);
            }
            _ => put(pair),
        }
    }
}

/// Whether a key as spelled, once decoded, holds one of the parts.
fn is_secret_key(key: &[u8]) -> bool {
    if memchr::memchr(b'%', key).is_none() {
        return contains_any(key, &SECRET_PARTS) || contains_any(key, &SECRET_QUERY_PARTS);
    }
    // Encoded keys are rare enough that a window of decoded octets beats a buffer: compare from each start.
    let parts = SECRET_PARTS.iter().chain(&SECRET_QUERY_PARTS);
    parts.into_iter().any(|part| (0..key.len()).any(|start| starts_decoded(&key[start..], part)))
}

fn starts_decoded(mut key: &[u8], part: &[u8]) -> bool {
    part.iter().all(|&wanted| {
        let Some((octet, rest)) = decode_one(key) else { return false };
        key = rest;
        octet.eq_ignore_ascii_case(&wanted)
    })
}

fn decode_one(key: &[u8]) -> Option<(u8, &[u8])> {
    let hex = |octet: u8| char::from(octet).to_digit(16).map(|digit| digit as u8);
    match *key {
        [b'%', high, low, ..] => match (hex(high), hex(low)) {
            (Some(high), Some(low)) => Some((high << 4 | low, &key[3..])),
            _ => Some((b'%', &key[1..])),
        },
        [octet, ..] => Some((octet, &key[1..])),
        [] => None,
    }
}

fn contains_any(text: &[u8], parts: &[&[u8]]) -> bool {
    parts.iter().any(|part| text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, raw: &str) -> String {
        let mut out = Vec::new();
        value(header(name), raw.as_bytes(), &mut |part| out.extend_from_slice(part));
        String::from_utf8(out).expect("text in, text out")
    }

    fn shown_query(raw: &str) -> String {
        let mut out = Vec::new();
        query(raw.as_bytes(), &mut |part| out.extend_from_slice(part));
        String::from_utf8(out).expect("text in, text out")
    }

    #[test]
    fn credentials_keep_their_scheme_and_cookies_their_names() {
        assert_eq!(shown("authorization", "Bearer s3cret"), "Bearer [redacted]");
        assert_eq!(shown("proxy-authorization", "s3cret"), "[redacted]");
        assert_eq!(shown("cookie", "sid=1; theme=dark; lone"), "sid=[redacted]; theme=[redacted]; [redacted]");
        assert_eq!(shown("x-api-key", "s3cret"), "[redacted]");
        assert_eq!(shown("user-agent", "curl/8"), "curl/8");
    }

    #[test]
    fn query_keys_are_compared_decoded_and_in_any_case() {
        assert_eq!(shown_query("a=1&Access_TOKEN=x&b"), "a=1&Access_TOKEN=[redacted]&b");
        assert_eq!(shown_query("%74oken=x&q=token"), "%74oken=[redacted]&q=token");
        assert_eq!(shown_query("x%zztok%65n=1"), "x%zztok%65n=[redacted]");
        assert_eq!(shown_query("sig=1&&=2"), "sig=[redacted]&&=2");
    }

    #[test]
    fn urls_lose_userinfo_and_secret_query_values() {
        assert_eq!(
            shown("referer", "https://u:p@h.test/x?code=1&n=2"),
            "https://[redacted]@h.test/x?code=[redacted]&n=2"
        );
        assert_eq!(shown("referer", "/local@x?session=1"), "/local@x?session=[redacted]");
    }
}
