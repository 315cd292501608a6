//! The ways in which the same octets can arrive: at once, one by one, cut at every boundary.

use crate::client::Client;

/// One way to write a message.
#[derive(Clone, Copy, Debug)]
pub enum Spelling {
    /// In one write.
    Whole,
    /// Each octet as a segment of its own.
    Octets,
    /// In two segments, cut there.
    Split(usize),
}

/// Up to here every boundary is tried; beyond, some of them.
const EVERY: usize = 512;

/// All the ways for a message of that length. Long ones are cut in 32 places, and not sent octet by octet.
pub fn all(length: usize) -> Vec<Spelling> {
    let mut ways = vec![Spelling::Whole];
    if length <= EVERY {
        ways.push(Spelling::Octets);
        ways.extend((1..length).map(Spelling::Split));
    } else {
        ways.extend((1..32).map(|part| Spelling::Split(length * part / 32)));
    }
    ways
}

impl Spelling {
    /// Writes `bytes` so. The peer may refuse them before the end.
    pub fn write(self, client: &Client, bytes: &[u8]) {
        match self {
            Self::Whole => drop(client.try_write(bytes)),
            Self::Octets => client.write_parts(bytes.chunks(1)),
            Self::Split(at) => client.write_split(bytes, at),
        }
    }

    /// The segments of `bytes` in this spelling.
    pub fn segments(self, bytes: &[u8]) -> Vec<Vec<u8>> {
        match self {
            Self::Whole => vec![bytes.to_vec()],
            Self::Octets => bytes.chunks(1).map(<[u8]>::to_vec).collect(),
            Self::Split(at) => vec![bytes[..at].to_vec(), bytes[at..].to_vec()],
        }
    }
}
