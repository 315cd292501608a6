//! Field sections: lines on one side, a map on the other.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::http::fields::HOP_BY_HOP;
use crate::http::{Known, known};

/// Lines that say something of a connection alone (RFC 9113 section 8.2.2); Content-Length and `TE: trailers` do not.
const OF_CONNECTION: u64 = (HOP_BY_HOP | known::set(&[Known::Http2Settings]))
    & !known::set(&[Known::ContentLength, Known::Te, Known::ProxyAuthenticate, Known::ProxyAuthorization]);

/// Lines that are none: a defect of who wrote them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldError;

/// Reads `name: value CRLF` lines from the front of `octets` to the empty line or the end; returns what stands behind
/// it. Lines that only concern a connection are left out. Values are shared, not copied.
pub fn read_fields(octets: &Bytes, map: &mut HeaderMap) -> Result<usize, FieldError> {
    let mut at = 0;
    while at < octets.len() {
        let end = memchr::memchr(b'\r', &octets[at..]).ok_or(FieldError)? + at;
        if end == at {
            return Ok(end + 2);
        }
        let colon = memchr::memchr(b':', &octets[at..end]).ok_or(FieldError)? + at;
        let name = &octets[at..colon];
        if OF_CONNECTION & Known::of(name).bit() == 0 {
            let value = octets.slice((colon + 2).min(end)..end);
            let value = HeaderValue::from_maybe_shared(value).map_err(|_| FieldError)?;
            map.append(HeaderName::from_bytes(name).map_err(|_| FieldError)?, value);
        }
        at = end + 2;
    }
    Ok(at)
}

/// Appends a line for each field, cookies in one (RFC 9113 section 8.2.3).
pub fn write_fields(map: &HeaderMap, out: &mut Vec<u8>) {
    let mut cookies: Option<Vec<u8>> = None;
    for (name, value) in map {
        if name == http::header::COOKIE {
            let crumbs = cookies.get_or_insert_default();
            if !crumbs.is_empty() {
                crumbs.extend_from_slice(b"; ");
            }
            crumbs.extend_from_slice(value.as_bytes());
        } else {
            line(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if let Some(cookies) = cookies {
        line(out, b"cookie", &cookies);
    }
}

pub(super) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for piece in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<(HeaderMap, usize), FieldError> {
        let mut map = HeaderMap::new();
        read_fields(&Bytes::from_static(text.as_bytes()), &mut map).map(|used| (map, used))
    }

    #[test]
    fn lines_of_the_connection_are_left_out() {
        let text = "Date: now\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a\r\nset-cookie: b\r\n\
                    Keep-Alive: 1\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello";
        let (map, used) = read(text).unwrap();
        assert_eq!(&text[used..], "hello");
        let names: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            names,
            [("date", "now"), ("set-cookie", "a"), ("set-cookie", "b"), ("x-a", "1"), ("content-length", "5")]
        );
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for text in ["a", "a\r\n", "a: b", ": b\r\n", "a b: c\r\n", "a: \u{1}\r\n"] {
            assert_eq!(read(text), Err(FieldError), "{text:?}");
        }
        assert_eq!(read("").map(|(_, used)| used), Ok(0));
        assert_eq!(read("a:\r\n").map(|(map, _)| map["a"].is_empty()), Ok(true));
    }

    #[test]
    fn cookie_crumbs_become_one_line() {
        let mut map = HeaderMap::new();
        for crumb in ["a=1", "b=2"] {
            map.append("cookie", HeaderValue::from_static(crumb));
        }
        map.append("x", HeaderValue::from_static("y"));
        let mut out = Vec::new();
        write_fields(&map, &mut out);
        assert_eq!(out, b"x: y\r\ncookie: a=1; b=2\r\n");
    }
}
