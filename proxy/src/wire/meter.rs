//! Judges the frames of a client's HTTP/2 connection below the codec, both ways: by their heads alone, whatever the codec
//! makes of them. What costs weir more than its sender is charged to a budget, which regains a tenth of itself a second;
//! a client that has used it up is sent away. What the codec answers by itself is noted, for nobody else sees it.

mod frames;

use std::collections::BTreeMap;

use self::frames::{Frame, Frames};
use crate::base::Instant;

/// A frame without content that ends nothing; PING and SETTINGS that nothing called for; a reset before our head.
const IDLE_WORK: u64 = 10;
/// A reset by us because of what the client did wrong.
const WRONG: u64 = 50;
/// A header block in parts.
const IN_PARTS: u64 = 5;
/// A frame that means nothing here.
const NOTHING: u64 = 1;
/// WINDOW_UPDATE frames that a DATA frame of ours may call for, and how many at most may be saved up.
const UPDATES_PER_DATA: u64 = 10;
const UPDATES_MAX: u64 = 10_000;
/// Streams that may wait for our head; the codec refuses more than a tenth of it.
const UNANSWERED_MAX: usize = 10_000;
/// Octets that come before the first frame (RFC 9113 section 3.4).
const PREFACE: usize = 24;

/// Points are kept in millionths, so that what a microsecond regains counts.
const POINT: u64 = 1_000_000;
/// In this many seconds the whole budget comes back.
const REGAIN_SECONDS: u64 = 10;

/// What the codec, or the meter, did without anybody else knowing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Noted {
    /// A request's head was too large: the codec answered 431.
    TooLarge,
    /// A request's head, or the connection's frames, broke the rules.
    Malformed,
    /// The connection was given up because of too much of one thing.
    Flood,
}

/// The meter of one connection.
pub struct Meter {
    inbound: Frames,
    outbound: Frames,
    budget: u64,
    /// Millionths of points.
    left: u64,
    now: Instant,
    /// Highest stream that the client has opened.
    last: u32,
    /// Streams that have no head of ours yet, and whether an exchange has them.
    unanswered: BTreeMap<u32, bool>,
    /// A head that is incomplete, by its first frame, and since when.
    awaited: Option<(u64, Instant)>,
    /// Resets of streams that nobody has taken, in this poll of the codec, and how many of them it stands.
    resets: u64,
    resets_max: u64,
    /// HEADERS or DATA of ours have left since the client's last PING.
    spoken: bool,
    pings: u64,
    /// The client's first SETTINGS have come.
    settled: bool,
    /// Something else came first.
    unsettled: bool,
    updates: u64,
    ack_unsent: bool,
    /// Why the connection is given up is on record.
    recorded: bool,
    noted: Vec<Noted>,
}

impl Meter {
    /// A meter with so many points, for a codec that stands so many resets of streams that nobody has taken.
    pub fn new(budget: u64, resets_max: u64, now: Instant) -> Self {
        Self {
            inbound: Frames::new(PREFACE),
            outbound: Frames::new(0),
            budget,
            left: budget * POINT,
            now,
            last: 0,
            unanswered: BTreeMap::new(),
            awaited: None,
            resets: 0,
            resets_max,
            spoken: false,
            pings: 0,
            settled: false,
            unsettled: false,
            updates: UPDATES_PER_DATA,
            ack_unsent: false,
            recorded: false,
            noted: Vec::new(),
        }
    }

    /// The codec is about to be asked for the requests that it has.
    pub fn begin(&mut self) {
        self.resets = 0;
    }

    /// Whether the codec must be asked for requests before it gets more.
    pub fn is_choked(&self) -> bool {
        self.resets >= self.resets_max
    }

    /// Octets of the client. Returns how many of them the codec may have: fewer than all where that chokes it.
    pub fn received(&mut self, octets: &[u8], now: Instant) -> usize {
        let regained = now.since(self.now).as_micros() as u64;
        self.left = (self.left + regained.saturating_mul(self.budget) / REGAIN_SECONDS).min(self.budget * POINT);
        self.now = now;
        let mut rest = octets;
        while let Some(frame) = self.inbound.next(&mut rest) {
            self.inbound(frame);
            if self.is_choked() {
                break;
            }
        }
        self.await_head();
        octets.len() - rest.len()
    }

    /// Octets of ours.
    pub fn sent(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while let Some(frame) = self.outbound.next(&mut rest) {
            self.outbound(frame);
        }
    }

    /// An exchange has this stream now.
    pub fn accepted(&mut self, stream: u32) {
        if let Some(accepted) = self.unanswered.get_mut(&stream) {
            *accepted = true;
        }
    }

    /// Whether the budget is used up.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Whether the client did not begin with SETTINGS (RFC 9113 section 3.4), which the codec does not ask for.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// Since when a head lacks its end.
    pub fn head_since(&self) -> Option<Instant> {
        self.awaited.map(|(_, since)| since)
    }

    /// Whether an acknowledgement of ours was written, since [`Meter::ack_left`] was last called.
    pub fn is_ack_unsent(&self) -> bool {
        self.ack_unsent
    }

    /// All that was written has left.
    pub fn ack_left(&mut self) {
        self.ack_unsent = false;
    }

    /// Why the connection is given up is on record: our GOAWAY is not noted.
    pub fn set_recorded(&mut self) {
        self.recorded = true;
    }

    /// Whether [`Meter::take_noted`] has something.
    pub fn has_noted(&self) -> bool {
        !self.noted.is_empty()
    }

    /// What was noted since this was last asked.
    pub fn take_noted(&mut self) -> Vec<Noted> {
        std::mem::take(&mut self.noted)
    }

    fn await_head(&mut self) {
        self.awaited = self.inbound.awaited().map(|frame| match self.awaited {
            Some((before, since)) if before == frame => (frame, since),
            _ => (frame, self.now),
        });
    }

    fn charge(&mut self, points: u64) {
        self.left = self.left.saturating_sub(points * POINT);
    }

    fn inbound(&mut self, frame: Frame) {
        self.unsettled |= !self.settled && frame != Frame::Settings { ack: false };
        match frame {
            Frame::Data { empty: true, end: false } => self.charge(IDLE_WORK),
            Frame::Data { .. } => {}
            Frame::Headers { stream, .. } => self.opened(stream),
            Frame::Continuation { first: true, .. } => self.charge(IN_PARTS),
            Frame::Continuation { .. } => {}
            Frame::Reset { stream, .. } => {
                if let Some(accepted) = self.unanswered.remove(&stream) {
                    self.charge(IDLE_WORK);
                    self.resets += u64::from(!accepted);
                }
            }
            Frame::Settings { ack: false } => {
                // The first is the connection's own.
                if std::mem::replace(&mut self.settled, true) {
                    self.charge(IDLE_WORK);
                }
            }
            Frame::Settings { ack: true } => {}
            Frame::Ping { ack: false } => {
                if !std::mem::take(&mut self.spoken) {
                    self.charge(IDLE_WORK);
                }
            }
            Frame::Ping { ack: true } => match self.pings.checked_sub(1) {
                Some(left) => self.pings = left,
                None => self.charge(NOTHING),
            },
            Frame::WindowUpdate => match self.updates.checked_sub(1) {
                Some(left) => self.updates = left,
                None => self.charge(NOTHING),
            },
            Frame::GoAway { .. } | Frame::Other => self.charge(NOTHING),
        }
    }

    fn opened(&mut self, stream: u32) {
        // Those of an open stream are its trailers.
        if stream > self.last {
            self.last = stream;
            self.unanswered.insert(stream, false);
            if self.unanswered.len() > UNANSWERED_MAX {
                self.left = 0;
            }
        }
    }

    fn outbound(&mut self, frame: Frame) {
        match frame {
            Frame::Data { .. } => {
                self.spoken = true;
                self.updates = (self.updates + UPDATES_PER_DATA).min(UPDATES_MAX);
            }
            Frame::Headers { stream, .. } => {
                self.spoken = true;
                if self.unanswered.remove(&stream) == Some(false) {
                    self.charge(IDLE_WORK);
                    self.noted.push(Noted::TooLarge);
                }
            }
            Frame::Reset { stream, code } => self.reset(stream, code),
            Frame::GoAway { code, says } => self.given_up(code, says),
            Frame::Ping { ack: false } => self.pings += 1,
            Frame::Settings { ack } | Frame::Ping { ack } => self.ack_unsent |= ack,
            Frame::Continuation { .. } | Frame::WindowUpdate | Frame::Other => {}
        }
    }

    fn reset(&mut self, stream: u32, code: u32) {
        let accepted = self.unanswered.remove(&stream);
        if !is_wrong(code) {
            return;
        }
        self.charge(WRONG);
        if accepted == Some(false) {
            self.noted.push(Noted::Malformed);
        }
    }

    fn given_up(&mut self, code: u32, says: [u8; 8]) {
        const NO_ERROR: u32 = 0;
        const COMPRESSION_ERROR: u32 = 9;
        const ENHANCE_YOUR_CALM: u32 = 11;
        match code {
            NO_ERROR => {}
            _ if self.recorded => {}
            // The codec's word for a head that is larger than it would even skip.
            ENHANCE_YOUR_CALM if says == *b"header_l" => self.noted.push(Noted::TooLarge),
            ENHANCE_YOUR_CALM => self.noted.push(Noted::Flood),
            // What of a block came in parts was too much to skip.
            COMPRESSION_ERROR if self.inbound.in_block() => self.noted.push(Noted::Flood),
            _ => self.noted.push(Noted::Malformed),
        }
    }
}

/// Whether a code says that the client did something wrong: PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED,
/// FRAME_SIZE_ERROR, COMPRESSION_ERROR (RFC 9113 section 7).
fn is_wrong(code: u32) -> bool {
    matches!(code, 1 | 3 | 5 | 6 | 9)
}

#[cfg(test)]
mod tests;
