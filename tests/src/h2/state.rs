//! What one end knows of a connection: frames in, what they mean and what must be answered out. No I/O.

use std::collections::{BTreeMap, VecDeque};

use super::fields::Message;
use super::frame::{Frame, flag, kind, setting};
use super::hpack::Decoder;

/// Which end this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It opens streams.
    Client,
    /// It answers on them.
    Server,
}

/// What is answered without being asked.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// SETTINGS are acknowledged.
    pub settings: bool,
    /// PING is answered.
    pub ping: bool,
    /// What DATA has used of the windows is given back at once.
    pub windows: bool,
}

/// The window of a stream and of the connection until something changes them (RFC 9113 6.9.2).
pub(super) const WINDOW: i64 = 65_535;
const FRAME_SIZE: usize = 16_384;

#[derive(Clone, Copy)]
struct Windows {
    /// What the peer may still send.
    receive: i64,
    /// What we may still send.
    send: i64,
}

/// The connection as this end sees it.
pub(super) struct State {
    role: Role,
    pub(super) manners: Manners,
    decoder: Decoder,
    /// A header block under way: its stream, its octets, whether the stream ends with it.
    block: Option<(u32, Vec<u8>, bool)>,
    messages: BTreeMap<u32, Message>,
    windows: BTreeMap<u32, Windows>,
    connection: Windows,
    /// SETTINGS that we have sent and the peer has not acknowledged.
    unacknowledged: VecDeque<Frame>,
    /// Initial window and frame size that bind the peer.
    ours: (i64, usize),
    /// Those that bind us.
    theirs: (i64, usize),
    /// All settings of the peer, the last value of each.
    pub(super) settings: BTreeMap<u16, u32>,
    pub(super) goaway: Option<(u32, u32)>,
    pub(super) settings_acks: usize,
}

impl State {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            manners: Manners { settings: true, ping: true, windows: true },
            decoder: Decoder::default(),
            block: None,
            messages: BTreeMap::new(),
            windows: BTreeMap::new(),
            connection: Windows { receive: WINDOW, send: WINDOW },
            unacknowledged: VecDeque::new(),
            ours: (WINDOW, FRAME_SIZE),
            theirs: (WINDOW, FRAME_SIZE),
            settings: BTreeMap::new(),
            goaway: None,
            settings_acks: 0,
        }
    }

    /// What the peer has sent on a stream.
    pub(super) fn message(&self, stream: u32) -> Message {
        self.messages.get(&stream).cloned().unwrap_or_default()
    }

    /// Streams on which the peer has sent anything, in order.
    pub(super) fn streams(&self) -> Vec<u32> {
        self.messages.keys().copied().collect()
    }

    /// How much may be sent now on a stream in one frame.
    pub(super) fn room(&mut self, stream: u32) -> usize {
        let window = self.window(stream).send.min(self.connection.send);
        usize::try_from(window).unwrap_or(0).min(self.theirs.1)
    }

    fn window(&mut self, stream: u32) -> &mut Windows {
        let windows = Windows { receive: self.ours.0, send: self.theirs.0 };
        self.windows.entry(stream).or_insert(windows)
    }

    /// Notes what is sent, so that what comes back can be judged.
    pub(super) fn sent(&mut self, frame: &Frame) {
        let grant = i64::from(frame.number(0) & 0x7fff_ffff);
        match frame.kind {
            kind::SETTINGS if !frame.has(flag::ACK) => {
                // What widens holds at once; what narrows, once it is acknowledged.
                let ours = self.ours;
                self.announce(frame, |value, now| value.max(now));
                self.shift_receive(self.ours.0 - ours.0);
                self.unacknowledged.push_back(frame.clone());
            }
            kind::WINDOW_UPDATE if frame.stream == 0 => self.connection.receive += grant,
            kind::WINDOW_UPDATE => self.window(frame.stream).receive += grant,
            kind::DATA => {
                let length = frame.payload.len() as i64;
                self.connection.send -= length;
                self.window(frame.stream).send -= length;
            }
            kind::HEADERS => {
                self.window(frame.stream);
            }
            _ => {}
        }
    }

    fn announce(&mut self, frame: &Frame, chosen: impl Fn(i64, i64) -> i64) {
        for (id, value) in frame.entries() {
            let value = i64::from(value);
            match id {
                setting::INITIAL_WINDOW_SIZE => self.ours.0 = chosen(value, self.ours.0),
                setting::MAX_FRAME_SIZE => self.ours.1 = chosen(value, self.ours.1 as i64) as usize,
                setting::HEADER_TABLE_SIZE => self.decoder.allow(chosen(value, self.decoder.allowed() as i64) as usize),
                _ => {}
            }
        }
    }

    fn shift_receive(&mut self, by: i64) {
        self.windows.values_mut().for_each(|windows| windows.receive += by);
    }

    /// Takes a frame of the peer in, and says what is answered to it.
    pub(super) fn received(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        let within = self.block.as_ref().map(|(stream, ..)| *stream);
        if within.is_some_and(|stream| frame.kind != kind::CONTINUATION || frame.stream != stream) {
            return Err(format!("{frame:?} within a header block"));
        }
        if frame.payload.len() > self.ours.1 {
            return Err(format!("{frame:?} is larger than {} octets", self.ours.1));
        }
        let on_stream =
            matches!(frame.kind, kind::DATA | kind::HEADERS | kind::PRIORITY | kind::RST_STREAM | kind::CONTINUATION);
        let on_connection = matches!(frame.kind, kind::SETTINGS | kind::PING | kind::GOAWAY);
        if on_stream && frame.stream.is_multiple_of(2) || on_connection && frame.stream != 0 {
            return Err(format!("{frame:?} does not belong on that stream"));
        }
        match frame.kind {
            kind::DATA => self.data(frame),
            kind::HEADERS => self.headers(frame),
            kind::CONTINUATION => self.continuation(frame),
            kind::RST_STREAM => self.reset(frame),
            kind::SETTINGS => self.settings(frame),
            kind::PING => self.ping(frame),
            kind::GOAWAY => self.ending(frame),
            kind::WINDOW_UPDATE => self.widened(frame),
            kind::PRIORITY if frame.payload.len() == 5 => Ok(Vec::new()),
            _ => Err(format!("{frame:?} is nothing that is sent")),
        }
    }

    fn data(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        let content = frame.content().ok_or_else(|| format!("{frame:?}: padding"))?.to_vec();
        let message = self.messages.get_mut(&frame.stream).filter(|message| message.has_head() && !message.is_over());
        let message = message.ok_or_else(|| format!("{frame:?} without a head, or after the end"))?;
        message.body.extend(content);
        message.ended = frame.ends_stream();
        let length = frame.payload.len() as i64;
        self.connection.receive -= length;
        self.window(frame.stream).receive -= length;
        if self.connection.receive < 0 || self.window(frame.stream).receive < 0 {
            return Err(format!("{frame:?} is more than its window"));
        }
        if length == 0 || !self.manners.windows {
            return Ok(Vec::new());
        }
        let grants = [Some(0), (!frame.ends_stream()).then_some(frame.stream)];
        Ok(grants.into_iter().flatten().map(|stream| Frame::window_update(stream, length as u32)).collect())
    }

    fn headers(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        let content = frame.content().ok_or_else(|| format!("{frame:?}: padding"))?.to_vec();
        if self.messages.get(&frame.stream).is_some_and(Message::is_over) {
            return Err(format!("{frame:?} after the end"));
        }
        self.window(frame.stream);
        self.block = Some((frame.stream, content, frame.ends_stream()));
        self.end_of_block(frame)
    }

    fn continuation(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        let (_, block, _) = self.block.as_mut().ok_or_else(|| format!("{frame:?} without a header block"))?;
        block.extend(&frame.payload);
        self.end_of_block(frame)
    }

    fn end_of_block(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        if !frame.has(flag::END_HEADERS) {
            return Ok(Vec::new());
        }
        let (stream, block, end) = self.block.take().expect("a block is under way");
        let fields = self.decoder.decode(&block)?;
        let message = self.messages.entry(stream).or_default();
        if message.has_head() && !end {
            return Err(format!("a second head on stream {stream}: {fields:?}"));
        }
        message.block(fields)?;
        message.ended = end;
        if self.role == Role::Client && message.has_head() && message.status() == 0 {
            return Err(format!("a response without a status: {message:?}"));
        }
        Ok(Vec::new())
    }

    fn reset(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        if frame.payload.len() != 4 || !self.windows.contains_key(&frame.stream) {
            return Err(format!("{frame:?} on a stream that never was, or of another length"));
        }
        self.messages.entry(frame.stream).or_default().reset.get_or_insert(frame.number(0));
        Ok(Vec::new())
    }

    fn settings(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        if frame.has(flag::ACK) {
            let acknowledged = self.unacknowledged.pop_front().filter(|_| frame.payload.is_empty());
            let acknowledged = acknowledged.ok_or_else(|| format!("{frame:?} acknowledges nothing"))?;
            let before = self.ours.0;
            self.announce(&acknowledged, |value, _| value);
            self.shift_receive(self.ours.0 - before);
            self.settings_acks += 1;
            return Ok(Vec::new());
        }
        if !frame.payload.len().is_multiple_of(6) {
            return Err(format!("{frame:?} is no list of settings"));
        }
        for (id, value) in frame.entries() {
            self.settings.insert(id, value);
            match id {
                setting::INITIAL_WINDOW_SIZE => {
                    let by = i64::from(value) - self.theirs.0;
                    self.theirs.0 += by;
                    self.windows.values_mut().for_each(|windows| windows.send += by);
                }
                setting::MAX_FRAME_SIZE => self.theirs.1 = value as usize,
                _ => {}
            }
        }
        Ok(if self.manners.settings { vec![Frame::settings_ack()] } else { Vec::new() })
    }

    fn ping(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        match (frame.payload.len(), frame.has(flag::ACK)) {
            (8, false) if self.manners.ping => Ok(vec![Frame::pong(&frame.payload)]),
            (8, _) => Ok(Vec::new()),
            _ => Err(format!("{frame:?} is no PING")),
        }
    }

    fn ending(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        let (last, code) = (frame.number(0), frame.number(4));
        // RFC 9113 6.8: the last stream never rises.
        if frame.payload.len() < 8 || self.goaway.is_some_and(|(before, _)| last > before) {
            return Err(format!("{frame:?} after {:?}", self.goaway));
        }
        self.goaway = Some((last, code));
        Ok(Vec::new())
    }

    fn widened(&mut self, frame: &Frame) -> Result<Vec<Frame>, String> {
        if frame.payload.len() != 4 || frame.number(0) == 0 {
            return Err(format!("{frame:?} widens nothing"));
        }
        let grant = i64::from(frame.number(0));
        let window = if frame.stream == 0 { &mut self.connection } else { self.window(frame.stream) };
        window.send += grant;
        let overflows = window.send > i64::from(i32::MAX);
        if overflows { Err(format!("{frame:?} widens beyond 2^31-1")) } else { Ok(Vec::new()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h2::hpack;

    fn client() -> State {
        let mut state = State::new(Role::Client);
        state.sent(&Frame::headers(1, [], true));
        state
    }

    fn head(end: bool) -> Frame {
        Frame::headers(1, hpack::block(&[(":status", "200")]), end)
    }

    #[test]
    fn data_beyond_the_window_is_told() {
        let mut state = client();
        state.sent(&Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 3)]));
        state.received(&head(false)).expect("a head");
        assert!(state.received(&Frame::data(1, b"four", false)).is_ok(), "not acknowledged yet");
        state.received(&Frame::settings_ack()).expect("an acknowledgement");
        assert!(state.received(&Frame::data(1, b"x", false)).is_err());
    }

    #[test]
    fn what_breaks_the_protocol_is_told() {
        for broken in [
            Frame::data(1, b"x", true),
            Frame::headers(2, [], true),
            Frame::settings_ack(),
            Frame::window_update(0, 0),
            Frame::reset(3, 0),
            Frame::continuation(1, [], true),
            Frame::new(kind::PUSH_PROMISE, flag::END_HEADERS, 1, [0, 0, 0, 2]),
            Frame::ping([0; 8]).with(flag::ACK).padded(0, &[]),
        ] {
            assert!(client().received(&broken).is_err(), "{broken:?}");
        }
        let mut state = client();
        state.received(&head(true)).expect("a response");
        assert!(state.received(&Frame::data(1, b"x", true)).is_err(), "after the end");
    }

    #[test]
    fn a_block_in_pieces_is_one_head() {
        let mut state = client();
        let block = hpack::block(&[(":status", "200"), ("a", "b")]);
        state.received(&Frame::headers(1, &block[..2], true).without(flag::END_HEADERS)).expect("a piece");
        assert!(state.received(&Frame::continuation(1, &block[2..], true)).is_ok());
        assert!(state.message(1).ended && state.message(1).fields.first("a") == Some("b"));
    }
}
