//! A message that is taken from its front, piece by piece.

use super::{Chunk, SendBuf};

/// The octets of a [`SendBuf`] that have not been taken. Its parts are let go of as their last octet is.
#[derive(Default, Debug)]
pub struct Reading {
    all: SendBuf,
    part: usize,
    /// Octets of that part that are taken.
    at: usize,
    left: usize,
}

impl Reading {
    /// Octets that are left.
    pub fn left(&self) -> usize {
        self.left
    }

    /// The next octets that lie together; none only at the end.
    pub fn octets(&self) -> &[u8] {
        &self.all.part(self.part)[self.at..]
    }

    /// The same as received octets, if that is what they are.
    pub fn chunk(&self) -> Option<Chunk> {
        let chunk = self.all.chunk(self.part)?;
        Some(chunk.slice(self.at..chunk.len()))
    }

    /// Takes octets, at most all.
    pub fn take(&mut self, count: usize) {
        let mut count = count.min(self.left);
        self.left -= count;
        while count > 0 {
            let here = self.octets().len();
            if count < here {
                self.at += count;
                return;
            }
            count -= here;
            self.all.let_go(self.part);
            (self.part, self.at) = (self.part + 1, 0);
        }
    }
}

impl From<SendBuf> for Reading {
    fn from(all: SendBuf) -> Self {
        let left = all.len();
        Self { all, part: 0, at: 0, left }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_come_in_order_whatever_the_steps() {
        for step in 1..=12 {
            let mut all = SendBuf::from(b"head".to_vec());
            all.push_chunk(Chunk::from(b"body".to_vec()));
            all.push_static(b"tail");
            let mut reading = Reading::from(all);
            let mut seen = Vec::new();
            while reading.left() > 0 {
                let count = reading.octets().len().min(step);
                assert!(reading.chunk().is_none_or(|chunk| *chunk == *reading.octets()));
                seen.extend_from_slice(&reading.octets()[..count]);
                reading.take(count);
            }
            assert_eq!(seen, b"headbodytail");
            assert!(reading.octets().is_empty());
        }
    }

    #[test]
    fn a_step_may_cross_parts() {
        let mut all = SendBuf::from(b"ab".to_vec());
        all.push_static(b"cd");
        let mut reading = Reading::from(all);
        reading.take(3);
        assert_eq!((reading.octets(), reading.left()), (&b"d"[..], 1));
        reading.take(9);
        assert_eq!(reading.left(), 0);
    }
}
