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
    /// Since when a header block is incomplete.
    block_since: Option<Instant>,
    /// HEADERS or DATA of ours have left since the client's last PING.
    spoken: bool,
    pings: u64,
    settled: bool,
    updates: u64,
    ack_unsent: bool,
    noted: Vec<Noted>,
}

impl Meter {
    /// A meter with so many points.
    pub fn new(budget: u64, now: Instant) -> Self {
        Self {
            inbound: Frames::new(PREFACE),
            outbound: Frames::new(0),
            budget,
            left: budget * POINT,
            now,
            last: 0,
            unanswered: BTreeMap::new(),
            block_since: None,
            spoken: false,
            pings: 0,
            settled: false,
            updates: UPDATES_PER_DATA,
            ack_unsent: false,
            noted: Vec::new(),
        }
    }

    /// Octets of the client.
    pub fn received(&mut self, octets: &[u8], now: Instant) {
        let regained = now.since(self.now).as_micros() as u64;
        self.left = (self.left + regained.saturating_mul(self.budget) / REGAIN_SECONDS).min(self.budget * POINT);
        self.now = now;
        let mut rest = octets;
        while let Some(frame) = self.inbound.next(&mut rest) {
            self.inbound(frame);
        }
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

    /// Since when a header block lacks its end.
    pub fn block_since(&self) -> Option<Instant> {
        self.block_since
    }

    /// Whether an acknowledgement of ours was written, since [`Meter::ack_left`] was last called.
    pub fn is_ack_unsent(&self) -> bool {
        self.ack_unsent
    }

    /// All that was written has left.
    pub fn ack_left(&mut self) {
        self.ack_unsent = false;
    }

    /// Whether [`Meter::take_noted`] has something.
    pub fn has_noted(&self) -> bool {
        !self.noted.is_empty()
    }

    /// What was noted since this was last asked.
    pub fn take_noted(&mut self) -> Vec<Noted> {
        std::mem::take(&mut self.noted)
    }

    fn charge(&mut self, points: u64) {
        self.left = self.left.saturating_sub(points * POINT);
    }

    fn inbound(&mut self, frame: Frame) {
        match frame {
            Frame::Data { empty: true, end: false } => self.charge(IDLE_WORK),
            Frame::Data { .. } => {}
            Frame::Headers { stream, complete } => self.opened(stream, complete),
            Frame::Continuation { complete, first } => {
                if first {
                    self.charge(IN_PARTS);
                }
                if complete {
                    self.block_since = None;
                }
            }
            Frame::Reset { stream, .. } => {
                if self.unanswered.remove(&stream).is_some() {
                    self.charge(IDLE_WORK);
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

    fn opened(&mut self, stream: u32, complete: bool) {
        if !complete {
            self.block_since = Some(self.now);
        }
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
                    self.noted.push(Noted::TooLarge);
                }
            }
            Frame::Reset { stream, code } => self.reset(stream, code),
            Frame::GoAway { code } => self.given_up(code),
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

    fn given_up(&mut self, code: u32) {
        const NO_ERROR: u32 = 0;
        const ENHANCE_YOUR_CALM: u32 = 11;
        match code {
            NO_ERROR => {}
            ENHANCE_YOUR_CALM => self.noted.push(Noted::Flood),
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
