//! Alerts: what one peer tells the other about why it ends (RFC 8446 section 6).

/// An alert's description.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alert(pub u8);

impl Alert {
    /// The sender sends no more.
    pub const CLOSE_NOTIFY: Self = Self(0);
    /// A message that is not due.
    pub const UNEXPECTED_MESSAGE: Self = Self(10);
    /// A record that does not decrypt.
    pub const BAD_RECORD_MAC: Self = Self(20);
    /// A record that is too long.
    pub const RECORD_OVERFLOW: Self = Self(22);
    /// A message that does not parse.
    pub const DECODE_ERROR: Self = Self(50);
    /// A defect of one's own.
    pub const INTERNAL_ERROR: Self = Self(80);
    /// The user gave up; a close_notify follows.
    pub const USER_CANCELED: Self = Self(90);
    /// A handshake anew is refused; a warning of TLS 1.2.
    pub const NO_RENEGOTIATION: Self = Self(100);
    /// There is no such name here.
    pub const UNRECOGNISED_NAME: Self = Self(112);

    /// Level and description, as they are sent.
    pub(super) fn octets(self) -> [u8; 2] {
        const WARNING: u8 = 1;
        const FATAL: u8 = 2;
        let warning = matches!(self, Self::CLOSE_NOTIFY | Self::USER_CANCELED | Self::NO_RENEGOTIATION);
        [if warning { WARNING } else { FATAL }, self.0]
    }

    /// The record of it before any key is agreed on.
    pub fn plain_record(self) -> [u8; 7] {
        let [level, description] = self.octets();
        [super::record::content::ALERT, 3, 3, 0, 2, level, description]
    }
}
