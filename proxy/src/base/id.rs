//! Request ids: UUIDv7 (RFC 9562 section 5.7), made without a shared counter.

use std::fmt;

/// A record's id: 48 bits of Unix milliseconds, then random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RequestId(pub u128);

impl RequestId {
    /// The id of a request that began at `unix_ms`, with `random` to tell it from others of that millisecond.
    pub fn new(unix_ms: u64, random: u128) -> Self {
        const VERSION_7: u128 = 0x7 << 76;
        const VARIANT: u128 = 0b10 << 62;
        const RANDOM: u128 = !(0xffff_ffff_ffff_u128 << 80 | 0xf << 76 | 0b11 << 62);
        Self((unix_ms as u128) << 80 | VERSION_7 | VARIANT | (random & RANDOM))
    }

    /// The 36 characters of the text form.
    pub fn text(self) -> [u8; 36] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut nibbles = (0..32).map(|i| HEX[(self.0 >> (124 - 4 * i) & 0xf) as usize]);
        for (at, slot) in text.iter_mut().enumerate() {
            if !matches!(at, 8 | 13 | 18 | 23) {
                *slot = nibbles.next().unwrap_or(b'0');
            }
        }
        text
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_carries_time_version_and_variant() {
        let id = RequestId::new(0x0123_4567_89ab, u128::MAX);
        assert_eq!(id.to_string(), "01234567-89ab-7fff-bfff-ffffffffffff");
        assert_eq!(RequestId::new(0, 0).to_string(), "00000000-0000-7000-8000-000000000000");
    }
}
