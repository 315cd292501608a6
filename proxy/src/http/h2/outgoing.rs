//! What a client gets: a response's head, as the serialisers write it, turned into one of HTTP/2.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, Version};

use super::{FieldError, read_fields};

/// A response head for an HTTP/2 stream.
#[derive(Debug)]
pub struct Outgoing {
    /// The head.
    pub head: Response<()>,
    /// Octets that it took.
    pub used: usize,
    /// Octets of content that follow; `None`: until the stream's end.
    pub content: Option<u64>,
}

/// Reads the head at the front of `octets`. `bodiless`: it answers HEAD. A 101 becomes the 200 by which HTTP/2 agrees to
/// a protocol (RFC 8441 section 5).
///
/// # Errors
/// It is none: a defect of who wrote it.
pub fn read_outgoing(octets: &Bytes, bodiless: bool) -> Result<Outgoing, FieldError> {
    const STATUS_AT: usize = b"HTTP/1.1 ".len();
    let line = memchr::memchr(b'\r', octets).ok_or(FieldError)?;
    let code = octets.get(STATUS_AT..STATUS_AT + 3).filter(|_| line >= STATUS_AT + 3).ok_or(FieldError)?;
    let status = StatusCode::from_bytes(code).map_err(|_| FieldError)?;
    let mut fields = HeaderMap::new();
    let used = line + 2 + read_fields(&octets.slice((line + 2).min(octets.len())..), &mut fields)?;
    let content = content(status.as_u16(), bodiless, &fields);
    // gRPC says its errors in a head that ends the stream, and then knows no length.
    if content == Some(0) && fields.contains_key("grpc-status") {
        fields.remove(http::header::CONTENT_LENGTH);
    }
    let switched = status == StatusCode::SWITCHING_PROTOCOLS;
    if switched {
        fields.remove("sec-websocket-accept");
    }
    let mut head = Response::new(());
    *head.status_mut() = if switched { StatusCode::OK } else { status };
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = fields;
    Ok(Outgoing { head, used, content })
}

fn content(status: u16, bodiless: bool, fields: &HeaderMap) -> Option<u64> {
    match status {
        101 => None,
        100..=199 | 204 | 304 => Some(0),
        _ if bodiless => Some(0),
        _ => fields.get(http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str, bodiless: bool) -> Outgoing {
        read_outgoing(&Bytes::from_static(text.as_bytes()), bodiless).unwrap()
    }

    #[test]
    fn a_head_says_what_follows_it() {
        let out = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", false);
        assert_eq!((out.head.status().as_u16(), out.content, out.used), (200, Some(5), 57));
        assert!(!out.head.headers().contains_key("connection"));
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true).content, Some(0));
        assert_eq!(read("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false).content, Some(0));
        assert_eq!(read("HTTP/1.1 204 \r\n\r\n", false).content, Some(0));
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\n", false).content, None);
        assert_eq!(read("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", false).head.headers().len(), 1);
    }

    #[test]
    fn a_switch_of_protocols_is_a_200() {
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
        let out = read(head, false);
        assert_eq!((out.head.status().as_u16(), out.content), (200, None));
        let names: Vec<_> = out.head.headers().keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["sec-websocket-protocol"]);
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in ["", "HTTP/1.1", "HTTP/1.1 20\r\n\r\n", "HTTP/1.1 099 x\r\n\r\n", "HTTP/1.1 200 OK\r\nx\r\n\r\n"] {
            assert!(read_outgoing(&Bytes::from_static(text.as_bytes()), false).is_err(), "{text:?}");
        }
    }
}
