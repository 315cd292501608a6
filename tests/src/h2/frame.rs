//! Frames as octets (RFC 9113 4.1, 6): made field by field, so that a test can break each of them.

use std::fmt;

/// Types of frames.
pub mod kind {
    /// DATA.
    pub const DATA: u8 = 0x0;
    /// HEADERS.
    pub const HEADERS: u8 = 0x1;
    /// PRIORITY.
    pub const PRIORITY: u8 = 0x2;
    /// RST_STREAM.
    pub const RST_STREAM: u8 = 0x3;
    /// SETTINGS.
    pub const SETTINGS: u8 = 0x4;
    /// PUSH_PROMISE.
    pub const PUSH_PROMISE: u8 = 0x5;
    /// PING.
    pub const PING: u8 = 0x6;
    /// GOAWAY.
    pub const GOAWAY: u8 = 0x7;
    /// WINDOW_UPDATE.
    pub const WINDOW_UPDATE: u8 = 0x8;
    /// CONTINUATION.
    pub const CONTINUATION: u8 = 0x9;
}

/// Flags of frames.
pub mod flag {
    /// The last frame of its stream.
    pub const END_STREAM: u8 = 0x1;
    /// The acknowledgement of SETTINGS or PING.
    pub const ACK: u8 = 0x1;
    /// The last frame of its header block.
    pub const END_HEADERS: u8 = 0x4;
    /// A padding length comes first.
    pub const PADDED: u8 = 0x8;
    /// Priority fields come before the block.
    pub const PRIORITY: u8 = 0x20;
}

/// Identifiers of settings.
pub mod setting {
    /// SETTINGS_HEADER_TABLE_SIZE.
    pub const HEADER_TABLE_SIZE: u16 = 0x1;
    /// SETTINGS_ENABLE_PUSH.
    pub const ENABLE_PUSH: u16 = 0x2;
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    /// SETTINGS_INITIAL_WINDOW_SIZE.
    pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
    /// SETTINGS_MAX_FRAME_SIZE.
    pub const MAX_FRAME_SIZE: u16 = 0x5;
    /// SETTINGS_MAX_HEADER_LIST_SIZE.
    pub const MAX_HEADER_LIST_SIZE: u16 = 0x6;
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441).
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
}

/// Octets of a frame's head.
pub const HEAD: usize = 9;

/// One frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream, with the reserved bit as it stood.
    pub stream: u32,
    /// What follows its head.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Any frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Self {
        Self { kind, flags, stream, payload: payload.as_ref().to_vec() }
    }

    /// DATA; `end` ends the stream.
    pub fn data(stream: u32, payload: impl AsRef<[u8]>, end: bool) -> Self {
        Self::new(kind::DATA, u8::from(end), stream, payload)
    }

    /// A whole header block in one frame; `end` ends the stream.
    pub fn headers(stream: u32, block: impl AsRef<[u8]>, end: bool) -> Self {
        Self::new(kind::HEADERS, flag::END_HEADERS | u8::from(end), stream, block)
    }

    /// A piece of a header block; `last` ends it.
    pub fn continuation(stream: u32, block: impl AsRef<[u8]>, last: bool) -> Self {
        Self::new(kind::CONTINUATION, if last { flag::END_HEADERS } else { 0 }, stream, block)
    }

    /// PRIORITY: exclusive bit, dependency and weight less one.
    pub fn priority(stream: u32, exclusive: bool, depends: u32, weight: u8) -> Self {
        Self::new(kind::PRIORITY, 0, stream, priority(exclusive, depends, weight))
    }

    /// RST_STREAM.
    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// SETTINGS.
    pub fn settings(settings: &[(u16, u32)]) -> Self {
        let one = |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        Self::new(kind::SETTINGS, 0, 0, settings.iter().flat_map(one).collect::<Vec<_>>())
    }

    /// The acknowledgement of SETTINGS.
    pub fn settings_ack() -> Self {
        Self::new(kind::SETTINGS, flag::ACK, 0, [])
    }

    /// PING.
    pub fn ping(opaque: [u8; 8]) -> Self {
        Self::new(kind::PING, 0, 0, opaque)
    }

    /// The answer to a PING.
    pub fn pong(opaque: impl AsRef<[u8]>) -> Self {
        Self::new(kind::PING, flag::ACK, 0, opaque)
    }

    /// GOAWAY without debug data.
    pub fn goaway(last: u32, code: u32) -> Self {
        Self::new(kind::GOAWAY, 0, 0, [last.to_be_bytes(), code.to_be_bytes()].concat())
    }

    /// WINDOW_UPDATE.
    pub fn window_update(stream: u32, increment: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
    }

    /// The same with these flags more.
    pub fn with(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    /// The same without these flags.
    pub fn without(mut self, flags: u8) -> Self {
        self.flags &= !flags;
        self
    }

    /// The same padded: `length` is what its first octet says, `padding` what stands at its end.
    pub fn padded(mut self, length: u8, padding: &[u8]) -> Self {
        self.payload.insert(0, length);
        self.payload.extend(padding);
        self.with(flag::PADDED)
    }

    /// HEADERS with priority fields.
    pub fn prioritised(mut self, exclusive: bool, depends: u32, weight: u8) -> Self {
        self.payload.splice(0..0, priority(exclusive, depends, weight));
        self.with(flag::PRIORITY)
    }

    /// Its octets.
    pub fn octets(&self) -> Vec<u8> {
        [&head(self.payload.len(), self.kind, self.flags, self.stream)[..], &self.payload].concat()
    }

    /// Whether all these flags are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Whether it ends its stream's side.
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.has(flag::END_STREAM)
    }

    /// Four octets of its payload as a number; 0 where there are none.
    pub fn number(&self, at: usize) -> u32 {
        let octets = self.payload.get(at..at + 4).and_then(|octets| octets.try_into().ok());
        octets.map_or(0, u32::from_be_bytes)
    }

    /// Its payload without padding and priority fields; `None` where they do not fit.
    pub fn content(&self) -> Option<&[u8]> {
        let mut content = &self.payload[..];
        if matches!(self.kind, kind::DATA | kind::HEADERS | kind::PUSH_PROMISE) && self.has(flag::PADDED) {
            let (length, rest) = content.split_first()?;
            content = &rest[..rest.len().checked_sub(usize::from(*length))?];
        }
        if self.kind == kind::HEADERS && self.has(flag::PRIORITY) {
            content = content.get(5..)?;
        }
        Some(content)
    }

    /// The settings that it holds.
    pub fn entries(&self) -> Vec<(u16, u32)> {
        let entry =
            |six: &[u8]| (u16::from_be_bytes([six[0], six[1]]), u32::from_be_bytes([six[2], six[3], six[4], six[5]]));
        self.payload.chunks_exact(6).map(entry).collect()
    }
}

/// The head of a frame, whatever follows it.
pub fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD] {
    let [_, a, b, c] = u32::try_from(length).expect("a length of 24 bits").to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, kind, flags, d, e, f, g]
}

fn priority(exclusive: bool, depends: u32, weight: u8) -> [u8; 5] {
    let [a, b, c, d] = (depends | u32::from(exclusive) << 31).to_be_bytes();
    [a, b, c, d, weight]
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 10] = [
            "DATA",
            "HEADERS",
            "PRIORITY",
            "RST_STREAM",
            "SETTINGS",
            "PUSH_PROMISE",
            "PING",
            "GOAWAY",
            "WINDOW_UPDATE",
            "CONTINUATION",
        ];
        let Self { flags, stream, payload, .. } = self;
        let name = NAMES.get(usize::from(self.kind)).copied().unwrap_or("unknown");
        write!(f, "{name} stream {stream} flags {flags:#x}, {} octets", payload.len())?;
        match self.kind {
            kind::RST_STREAM => write!(f, " {}", super::code::name(self.number(0))),
            kind::GOAWAY => write!(f, " last {} {}", self.number(0), super::code::name(self.number(4))),
            kind::WINDOW_UPDATE => write!(f, " +{}", self.number(0)),
            kind::SETTINGS => write!(f, " {:?}", self.entries()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_those_of_the_rfc() {
        assert_eq!(Frame::window_update(3, 5).octets(), [0, 0, 4, 8, 0, 0, 0, 0, 3, 0, 0, 0, 5]);
        assert_eq!(Frame::settings(&[(4, 1)]).octets(), [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1]);
        assert_eq!(Frame::priority(1, true, 2, 15).payload, [0x80, 0, 0, 2, 15]);
    }

    #[test]
    fn padding_and_priority_are_no_content() {
        let padded = Frame::data(1, b"abc", false).padded(2, &[0, 0]);
        assert_eq!(padded.content(), Some(&b"abc"[..]));
        assert_eq!(Frame::data(1, b"abc", false).padded(9, &[]).content(), None);
        let headers = Frame::headers(1, b"block", true).prioritised(false, 0, 15).padded(1, &[0]);
        assert_eq!(headers.content(), Some(&b"block"[..]));
    }
}
