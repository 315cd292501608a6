//! HTTP/1 heads and bodies as far as a generator and an origin need them: lengths, and where a message ends.

/// The end of a head in `bytes`, after its empty line.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The value of the first field of that (lower-case) name in a head.
pub(crate) fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    head.split(|b| *b == b'\n').skip(1).find_map(|line| {
        let (found, rest) = (line.get(..name.len())?, line.get(name.len()..)?);
        let value = rest.strip_prefix(b":").filter(|_| found.eq_ignore_ascii_case(name))?;
        Some(value.trim_ascii())
    })
}

/// How a message's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// After so many more octets.
    Length(u64),
    /// By chunks.
    Chunked(Chunk),
    /// With the connection.
    Close,
}

/// Where in a chunked body the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// In a size line, with its digits so far; `ext` past the digits.
    Size { size: u64, ext: bool },
    /// In data: so many octets more, the CRLF after them included.
    Data(u64),
    /// In trailers, with the length of the line so far.
    Trailer(u32),
    /// After the last line.
    Done,
}

impl Body {
    /// The body of a message with this head; `implied` where it has neither length.
    pub(crate) fn of(head: &[u8], implied: Self) -> Result<Self, &'static str> {
        if let Some(length) = field(head, b"content-length") {
            let digits = std::str::from_utf8(length).map_err(|_| "Content-Length")?;
            return digits.parse().map(Self::Length).map_err(|_| "Content-Length");
        }
        match field(head, b"transfer-encoding") {
            Some(coding) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Self::Chunked(Chunk::Size { size: 0, ext: false }))
            }
            Some(_) => Err("Transfer-Encoding"),
            None => Ok(implied),
        }
    }

    /// Whether nothing more belongs to it.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunk::Done))
    }

    /// Takes what belongs to the body from the front of `bytes`; says how much that is.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        match self {
            Self::Close => Ok(bytes.len()),
            Self::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                Ok(taken as usize)
            }
            Self::Chunked(chunk) => {
                let mut taken = 0;
                while taken < bytes.len() && *chunk != Chunk::Done {
                    taken += chunk.step(&bytes[taken..])?;
                }
                Ok(taken)
            }
        }
    }
}

impl Chunk {
    fn step(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let octet = bytes[0];
        *self = match *self {
            Self::Data(left) => {
                let taken = left.min(bytes.len() as u64);
                *self = if taken == left { Self::Size { size: 0, ext: false } } else { Self::Data(left - taken) };
                return Ok(taken as usize);
            }
            Self::Size { size: 0, .. } if octet == b'\n' => Self::Trailer(0),
            Self::Size { size, .. } if octet == b'\n' => Self::Data(size + 2),
            Self::Size { size, ext: false } if octet.is_ascii_hexdigit() => {
                let digit = u64::from((octet as char).to_digit(16).unwrap_or_default());
                Self::Size { size: size.checked_mul(16).ok_or("chunk size")? + digit, ext: false }
            }
            Self::Size { size, .. } => Self::Size { size, ext: true },
            // An empty line is CR and LF alone.
            Self::Trailer(length) if octet == b'\n' && length <= 1 => Self::Done,
            Self::Trailer(_) if octet == b'\n' => Self::Trailer(0),
            Self::Trailer(length) => Self::Trailer(length.saturating_add(1)),
            Self::Done => Self::Done,
        };
        Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-LENGTH: 12 \r\n\r\n";

    #[test]
    fn lengths_come_from_the_head() {
        assert_eq!(head_end(HEAD), Some(HEAD.len()));
        assert_eq!(Body::of(HEAD, Body::Close), Ok(Body::Length(12)));
        assert_eq!(Body::of(b"HTTP/1.1 200 OK\r\n\r\n", Body::Close), Ok(Body::Close));
        assert!(Body::of(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", Body::Length(0)).is_err());
    }

    #[test]
    fn chunks_end_where_they_end_however_they_arrive() {
        let wire = b"3;ext=1\r\nabc\r\n1A\r\n01234567890123456789012345\r\n0\r\nT: v\r\n\r\nNEXT";
        for step in 1..wire.len() {
            let mut body = Body::Chunked(Chunk::Size { size: 0, ext: false });
            let mut at = 0;
            while !body.is_done() {
                let end = (at + step).min(wire.len());
                at += body.take(&wire[at..end]).expect("valid");
            }
            assert_eq!(&wire[at..], b"NEXT");
        }
    }
}
