//! HTTP/2 by hand: frames and header blocks are octets that the test writes, right or wrong, and everything the other
//! side sends is read strictly. Nothing here comes from the library that the proxy uses.

pub mod fields;
pub mod frame;
pub mod hpack;
mod origin;
pub mod peer;
mod state;

pub use fields::{Message, get, post};
pub use frame::{Frame, flag, kind, setting};
pub use origin::Conn;
pub use peer::{End, Peer};
pub use state::Role;

/// What a client sends first (RFC 9113 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Error codes (RFC 9113 7).
pub mod code {
    /// No error.
    pub const NO_ERROR: u32 = 0x0;
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: u32 = 0x1;
    /// A defect of the sender.
    pub const INTERNAL_ERROR: u32 = 0x2;
    /// The peer sent more than its window.
    pub const FLOW_CONTROL_ERROR: u32 = 0x3;
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: u32 = 0x4;
    /// A frame for a stream that has ended.
    pub const STREAM_CLOSED: u32 = 0x5;
    /// A frame of a length that its type forbids.
    pub const FRAME_SIZE_ERROR: u32 = 0x6;
    /// Not processed at all.
    pub const REFUSED_STREAM: u32 = 0x7;
    /// No longer wanted.
    pub const CANCEL: u32 = 0x8;
    /// The header compression is out of step.
    pub const COMPRESSION_ERROR: u32 = 0x9;
    /// The tunnelled connection failed.
    pub const CONNECT_ERROR: u32 = 0xa;
    /// The peer is a burden.
    pub const ENHANCE_YOUR_CALM: u32 = 0xb;
    /// The transport's security does not suffice.
    pub const INADEQUATE_SECURITY: u32 = 0xc;
    /// To be asked over HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: u32 = 0xd;

    /// Its name.
    pub fn name(code: u32) -> &'static str {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        NAMES.get(code as usize).copied().unwrap_or("unknown")
    }
}
