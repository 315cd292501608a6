//! The WebSocket handshake's facts (RFC 6455 section 4).

use super::body::BodyLength;
use super::{Known, Method, Request, Version, octets};

/// A valid offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WebSocket<'a> {
    /// Sec-WebSocket-Key.
    pub key: &'a [u8],
    /// Sec-WebSocket-Version; the origin judges it.
    pub version: &'a [u8],
}

impl<'a> WebSocket<'a> {
    pub(crate) fn offered(request: &Request<'a>) -> Option<Self> {
        let head = request.head;
        let plain_get =
            head.verb() == Method::Get && head.version() >= Version::Http11 && head.body() == BodyLength::None;
        if !head.options.upgrade || !plain_get || head.fields.is_repeated(Known::SecWebSocketKey) {
            return None;
        }
        let mut protocols = head.fields.all(Known::Upgrade).flat_map(|f| octets::list(f.value.of(request.bytes)));
        if !protocols.any(|protocol| protocol.eq_ignore_ascii_case(b"websocket")) {
            return None;
        }
        let key = request.known(Known::SecWebSocketKey).filter(|key| is_key(key))?;
        Some(Self { key, version: request.known(Known::SecWebSocketVersion)? })
    }
}

/// 16 octets in base64.
fn is_key(key: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    matches!(key, [digits @ .., b'=', b'='] if digits.len() == 22 && digits.iter().all(digit))
}

/// The Sec-WebSocket-Accept that answers a key (RFC 6455 section 4.2.2).
pub fn websocket_accept(key: &[u8]) -> [u8; 28] {
    use base64::Engine;
    use sha1::{Digest, Sha1};
    let digest = Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let mut accept = [0; 28];
    // 20 octets are 28 digits: it always fits.
    let _ = base64::engine::general_purpose::STANDARD.encode_slice(digest, &mut accept);
    accept
}
