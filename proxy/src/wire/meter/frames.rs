//! Where frames begin and what their heads say (RFC 9113 section 4.1), however the octets are split.

/// Octets of a frame's head.
const HEAD: usize = 9;
/// Octets of a payload that matter here: of GOAWAY, its code and a word of what it says behind that.
const LOOKED_AT: usize = 16;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// What a frame's head, and sometimes the front of its payload, says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Frame {
    Data {
        empty: bool,
        end: bool,
    },
    Headers {
        stream: u32,
        complete: bool,
    },
    Continuation {
        first: bool,
        complete: bool,
    },
    Reset {
        stream: u32,
        code: u32,
    },
    Settings {
        ack: bool,
    },
    Ping {
        ack: bool,
    },
    GoAway {
        code: u32,
        says: [u8; 8],
    },
    WindowUpdate,
    /// PRIORITY, PUSH_PROMISE, and what no standard knows.
    Other,
}

/// Follows one direction of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// Octets to pass over: the preface, the rest of a payload.
    skip: usize,
    /// The head, then the front of the payload.
    front: [u8; HEAD + LOOKED_AT],
    have: usize,
    /// Frames whose front is there.
    seen: u64,
    /// The frame before was part of a header block that goes on; whether that has had a CONTINUATION.
    in_block: bool,
    continued: bool,
    /// Which frame that block began with, while it, or its last frame's payload, is not whole.
    block: Option<u64>,
}

impl Frames {
    /// `preface` octets come before the first frame.
    pub(super) fn new(preface: usize) -> Self {
        Self {
            skip: preface,
            front: [0; HEAD + LOOKED_AT],
            have: 0,
            seen: 0,
            in_block: false,
            continued: false,
            block: None,
        }
    }

    /// The frame with which that began of which more must come: a header block, or the front of any frame.
    pub(super) fn awaited(&self) -> Option<u64> {
        match self.block {
            Some(block) if self.in_block || self.skip > 0 => Some(block),
            _ => (self.have > 0).then_some(self.seen),
        }
    }

    /// Whether a header block goes on in further frames.
    pub(super) fn in_block(&self) -> bool {
        self.in_block
    }

    /// The next frame whose front is there; takes what it looked at from `octets`.
    pub(super) fn next(&mut self, octets: &mut &[u8]) -> Option<Frame> {
        let passed = self.skip.min(octets.len());
        self.skip -= passed;
        *octets = &octets[passed..];
        if self.skip > 0 || !self.fill(HEAD, octets) {
            return None;
        }
        let looked_at = self.len().min(LOOKED_AT);
        if !self.fill(HEAD + looked_at, octets) {
            return None;
        }
        self.skip = self.len() - looked_at;
        self.have = 0;
        let frame = self.frame();
        self.block = match frame {
            Frame::Headers { .. } => Some(self.seen),
            Frame::Continuation { .. } => self.block,
            _ => None,
        };
        self.seen += 1;
        Some(frame)
    }

    /// Gathers the first `count` octets of a frame.
    fn fill(&mut self, count: usize, octets: &mut &[u8]) -> bool {
        let taken = count.saturating_sub(self.have).min(octets.len());
        self.front[self.have..self.have + taken].copy_from_slice(&octets[..taken]);
        self.have += taken;
        *octets = &octets[taken..];
        self.have >= count
    }

    /// Octets of the payload.
    fn len(&self) -> usize {
        let [high, middle, low, ..] = self.front;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    fn word(&self, at: usize) -> u32 {
        self.front.get(at..at + 4).map_or(0, |four| four.iter().fold(0, |word, &octet| word << 8 | u32::from(octet)))
    }

    /// The first octets of what a GOAWAY says behind its code.
    fn says(&self) -> [u8; 8] {
        let mut says = [0; 8];
        let there = self.len().saturating_sub(8).min(8);
        says[..there].copy_from_slice(&self.front[HEAD + 8..HEAD + 8 + there]);
        says
    }

    fn frame(&mut self) -> Frame {
        let (kind, flags, len) = (self.front[3], self.front[4], self.len());
        let stream = self.word(5) & 0x7fff_ffff;
        let complete = flags & END_HEADERS != 0;
        let first = std::mem::replace(&mut self.in_block, false) && !std::mem::replace(&mut self.continued, true);
        match kind {
            0 => {
                let padding = if flags & PADDED != 0 && len > 0 { 1 + usize::from(self.front[HEAD]) } else { 0 };
                Frame::Data { empty: len <= padding, end: flags & END_STREAM != 0 }
            }
            1 => {
                (self.in_block, self.continued) = (!complete, false);
                Frame::Headers { stream, complete }
            }
            9 => {
                self.in_block = !complete;
                Frame::Continuation { first, complete }
            }
            3 => Frame::Reset { stream, code: if len >= 4 { self.word(HEAD) } else { 0 } },
            4 => Frame::Settings { ack: flags & ACK != 0 },
            6 => Frame::Ping { ack: flags & ACK != 0 },
            7 => Frame::GoAway { code: if len >= 8 { self.word(HEAD + 4) } else { 0 }, says: self.says() },
            8 => Frame::WindowUpdate,
            _ => Frame::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = (payload.len() as u32).to_be_bytes();
        [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn read(octets: &[u8], step: usize, preface: usize) -> Vec<Frame> {
        let mut frames = Frames::new(preface);
        let mut seen = Vec::new();
        for mut part in octets.chunks(step) {
            while let Some(frame) = frames.next(&mut part) {
                seen.push(frame);
            }
            assert!(part.is_empty());
        }
        seen
    }

    #[test]
    fn frames_are_found_however_the_octets_are_split() {
        let all = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[0; 12]),
            frame(4, 1, 0, &[]),
            frame(1, 1, 1, &[0x82; 40]),
            frame(9, 0, 1, &[0x82; 3]),
            frame(9, 4, 1, &[]),
            frame(1, 4, 3, b"x"),
            frame(0, 0, 3, &[b'x'; 300]),
            frame(0, 1, 3, &[]),
            frame(0, 8, 3, &[2, 0, 0]),
            frame(0, 8, 3, &[2, b'x', 0, 0]),
            frame(3, 0, 3, &[0, 0, 0, 8]),
            frame(6, 0, 0, &[7; 8]),
            frame(7, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 11, b'd', b'b', b'g']),
            frame(8, 0, 0x8000_0000, &[0, 0, 0, 1]),
            frame(2, 0, 5, &[0; 5]),
            frame(0x42, 0, 5, &[0; 20]),
        ]
        .concat();
        let wanted = [
            Frame::Settings { ack: false },
            Frame::Settings { ack: true },
            Frame::Headers { stream: 1, complete: false },
            Frame::Continuation { first: true, complete: false },
            Frame::Continuation { first: false, complete: true },
            Frame::Headers { stream: 3, complete: true },
            Frame::Data { empty: false, end: false },
            Frame::Data { empty: true, end: true },
            Frame::Data { empty: true, end: false },
            Frame::Data { empty: false, end: false },
            Frame::Reset { stream: 3, code: 8 },
            Frame::Ping { ack: false },
            Frame::GoAway { code: 11, says: *b"dbg\0\0\0\0\0" },
            Frame::WindowUpdate,
            Frame::Other,
            Frame::Other,
        ];
        for step in 1..=all.len() {
            assert_eq!(read(&all, step, 24), wanted, "in steps of {step}");
        }
    }

    #[test]
    fn what_is_awaited_keeps_the_number_of_its_first_octet() {
        let mut frames = Frames::new(0);
        let mut awaited = |octets: &[u8]| {
            let mut rest = octets;
            while frames.next(&mut rest).is_some() {}
            frames.awaited()
        };
        let headers = frame(1, 5, 1, &[0x82; 40]);
        assert_eq!(awaited(&headers[..3]), Some(0));
        assert_eq!(awaited(&headers[3..30]), Some(0));
        assert_eq!(awaited(&headers[30..]), None);
        let block = [frame(1, 0, 3, &[0x82; 40]), frame(9, 0, 3, &[0x82]), frame(9, 4, 3, &[0x82; 30])].concat();
        for at in 1..block.len() {
            assert_eq!(awaited(&block[at - 1..at]), Some(1), "after {at}");
        }
        assert_eq!(awaited(&block[block.len() - 1..]), None);
        let data = frame(0, 0, 3, &[b'x'; 100]);
        assert_eq!(awaited(&data[..50]), None, "a body has a clock of its own");
        assert_eq!(awaited(&[&data[50..], &headers[..1]].concat()), Some(5));
    }

    #[test]
    fn lengths_that_lie_are_no_trouble() {
        for octets in [frame(3, 0, 1, &[1]), frame(7, 0, 0, &[1, 2]), frame(0, 8, 1, &[])] {
            assert_eq!(read(&octets, 1, 0).len(), 1);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_read_the_same_however_they_are_split(
            octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
            step in 1_usize..40,
        ) {
            let whole = read(&octets, octets.len().max(1), 0);
            proptest::prop_assert_eq!(read(&octets, step, 0), whole);
        }
    }
}
