//! Hashing for maps whose keys no client chooses: ids and addresses from the configuration.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds [`Mix`].
pub type BuildMix = BuildHasherDefault<Mix>;

/// Multiply and shift. Fast, and of no use against keys that somebody picks to collide.
#[derive(Default)]
pub struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        for octet in octets {
            self.write_u64(u64::from(*octet));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
