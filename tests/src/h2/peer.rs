//! One end of an HTTP/2 connection over TCP or TLS, with a deadline on every wait.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::fields::{Message, get};
use super::frame::{Frame, HEAD, flag, kind};
use super::state::{Manners, Role, State};
use super::{PREFACE, code, hpack};
use crate::client::{self, Ended};
use crate::message::{Bad, Wire};
use crate::tls::{Connector, Pipe};
use crate::wait::SOON;

/// Why no further frame comes.
#[derive(Debug)]
pub enum End {
    /// The connection ended, in order or not.
    Ended(Ended),
    /// Nothing came until the deadline.
    Silent,
    /// What came is not HTTP/2, or broke its rules.
    Broken(String),
}

/// One end of a connection.
pub struct Peer {
    wire: Wire<Pipe>,
    state: State,
    next_stream: u32,
    seen: Vec<String>,
}

impl Peer {
    /// Connects and says nothing yet.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let pipe = Pipe::connect(address).unwrap_or_else(|e| panic!("connect to {address}: {e}"));
        Self::of(pipe, Role::Client)
    }

    /// The same over TLS, which must agree on h2.
    #[track_caller]
    pub fn connect_tls(address: SocketAddr, connector: &Connector) -> Self {
        let pipe = connector.connect(address).unwrap_or_else(|e| panic!("TLS to {address}: {e}"));
        assert_eq!(pipe.session().and_then(|session| session.alpn).as_deref(), Some("h2"));
        Self::of(pipe, Role::Client)
    }

    /// On a connection that the test made.
    pub fn of(pipe: Pipe, role: Role) -> Self {
        let peer = Self::on(Wire::new(pipe), role);
        peer.patience(SOON);
        peer
    }

    /// On a connection of which something was read already.
    pub(super) fn on(wire: Wire<Pipe>, role: Role) -> Self {
        Self { wire, state: State::new(role), next_stream: 1, seen: Vec::new() }
    }

    /// Sets the deadline of later reads and writes.
    pub fn patience(&self, limit: Duration) {
        self.pipe().patience(limit);
    }

    /// What it speaks through.
    pub fn pipe(&self) -> &Pipe {
        self.wire.stream()
    }

    /// Changes what is answered without being asked.
    pub fn manners(&mut self) -> &mut Manners {
        &mut self.state.manners
    }

    /// Sends the preface and these settings, and waits until each side has acknowledged the other's.
    #[track_caller]
    pub fn greet(&mut self, settings: &[(u16, u32)]) {
        self.write(PREFACE);
        self.send(Frame::settings(settings));
        self.until("both settings acknowledged", |peer, _| {
            peer.state.settings_acks > 0 && !peer.state.settings.is_empty()
        });
    }

    /// Writes octets as they stand.
    #[track_caller]
    pub fn write(&self, octets: impl AsRef<[u8]>) {
        self.try_write(octets.as_ref()).expect("write");
    }

    /// Writes octets as they stand; the peer may have gone.
    pub fn try_write(&self, octets: &[u8]) -> io::Result<()> {
        self.pipe().write_all(octets)
    }

    /// Writes in two segments, cut at `at`: the second leaves once the peer has read the first, as far as the kernel
    /// tells.
    pub fn write_split(&self, octets: &[u8], at: usize) {
        for part in [&octets[..at], &octets[at..]] {
            // The peer may have refused the first part already.
            let _ = self.try_write(part);
            self.pipe().wait_taken();
        }
    }

    /// Sends a frame.
    #[track_caller]
    pub fn send(&mut self, frame: Frame) {
        self.send_all([frame]);
    }

    /// Sends frames in one write.
    #[track_caller]
    pub fn send_all(&mut self, frames: impl IntoIterator<Item = Frame>) {
        self.try_send(frames).expect("write");
    }

    /// Sends frames in one write; the peer may have gone.
    pub fn try_send(&mut self, frames: impl IntoIterator<Item = Frame>) -> io::Result<()> {
        let mut octets = Vec::new();
        for frame in frames {
            self.state.sent(&frame);
            octets.extend(frame.octets());
        }
        self.try_write(&octets)
    }

    /// Counts a frame as sent whose octets the test writes itself, so that what comes back can be judged.
    pub fn note(&mut self, frame: &Frame) {
        self.state.sent(frame);
    }

    /// The stream that a client opens next.
    pub fn next_stream(&mut self) -> u32 {
        self.next_stream += 2;
        self.next_stream - 2
    }

    /// Opens a stream with these fields; `end` ends the request.
    #[track_caller]
    pub fn open(&mut self, fields: &[(&str, &str)], end: bool) -> u32 {
        let stream = self.next_stream();
        self.send(Frame::headers(stream, hpack::block(fields), end));
        stream
    }

    /// GETs a path on a new stream.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Message {
        let stream = self.open(&get(path), true);
        self.response(stream)
    }

    /// Sends a body within the windows, reading what comes meanwhile; false if the peer wants no more of it.
    pub fn send_body(&mut self, stream: u32, body: &[u8], end: bool) -> bool {
        let mut rest = body;
        loop {
            let length = self.state.room(stream).min(rest.len());
            if length > 0 || rest.is_empty() {
                let last = length == rest.len();
                if self.try_send([Frame::data(stream, &rest[..length], end && last)]).is_err() {
                    return false;
                }
                rest = &rest[length..];
                if last {
                    return true;
                }
            } else if self.read().is_err() || self.message(stream).reset.is_some() {
                return false;
            }
        }
    }

    /// How much a frame of DATA may hold now on a stream.
    pub fn room(&mut self, stream: u32) -> usize {
        self.state.room(stream)
    }

    /// The next frame, taken in and answered.
    pub fn read(&mut self) -> Result<Frame, End> {
        let frame = self.frame()?;
        self.seen.push(format!("{frame:?}"));
        let answers = self.state.received(&frame).map_err(End::Broken)?;
        // A peer that has gone is told by the next read.
        let _ = self.try_send(answers);
        Ok(frame)
    }

    fn frame(&mut self) -> Result<Frame, End> {
        let head = self.wire.take(HEAD).map_err(|bad| end(bad, self.wire.pending().len()))?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.wire.take(length).map_err(|bad| end(bad, HEAD))?;
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads until `enough` holds after a frame; gives that frame. Panics with what came at the end or the deadline.
    #[track_caller]
    pub fn until(&mut self, what: &str, enough: impl Fn(&Self, &Frame) -> bool) -> Frame {
        self.try_until(enough).unwrap_or_else(|end| panic!("{end:?} before {what}; seen: {:#?}", self.seen))
    }

    /// The same where the connection may end before.
    pub fn try_until(&mut self, enough: impl Fn(&Self, &Frame) -> bool) -> Result<Frame, End> {
        loop {
            let frame = self.read()?;
            if enough(self, &frame) {
                return Ok(frame);
            }
        }
    }

    /// What the peer has sent on a stream so far.
    pub fn message(&self, stream: u32) -> Message {
        self.state.message(stream)
    }

    /// Streams on which the peer has sent anything, in order.
    pub fn streams(&self) -> Vec<u32> {
        self.state.streams()
    }

    /// What the peer's SETTINGS say, the last value of each.
    pub fn setting(&self, id: u16) -> Option<u32> {
        self.state.settings.get(&id).copied()
    }

    /// How often the peer has acknowledged SETTINGS.
    pub fn settings_acks(&self) -> usize {
        self.state.settings_acks
    }

    /// Last stream and code of the peer's GOAWAY, if one came.
    pub fn went_away(&self) -> Option<(u32, u32)> {
        self.state.goaway
    }

    /// Frames that came so far, as text.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// Reads a stream's response to its end, which may be a reset.
    #[track_caller]
    pub fn response(&mut self, stream: u32) -> Message {
        if !self.message(stream).is_over() {
            self.until(&format!("the end of stream {stream}"), |peer, _| peer.message(stream).is_over());
        }
        self.message(stream)
    }

    /// Reads until a stream's response has its head, or is over.
    #[track_caller]
    pub fn head(&mut self, stream: u32) -> Message {
        let here = |message: Message| message.has_head() || message.is_over();
        if !here(self.message(stream)) {
            self.until(&format!("the head on stream {stream}"), |peer, _| here(peer.message(stream)));
        }
        self.message(stream)
    }

    /// Sends a PING and waits for its answer: the connection lives, and all that was sent before is known to the peer.
    #[track_caller]
    pub fn ping(&mut self) {
        let opaque = (self.seen.len() as u64).to_be_bytes();
        self.send(Frame::ping(opaque));
        self.until("the answer to a PING", |_, frame| {
            frame.kind == kind::PING && frame.has(flag::ACK) && frame.payload == opaque
        });
    }

    /// Expects RST_STREAM with one of these codes, and that the connection lives on.
    #[track_caller]
    pub fn expect_reset(&mut self, stream: u32, codes: &[u32]) {
        if self.message(stream).reset.is_none() {
            self.until(&format!("RST_STREAM on {stream}"), |peer, _| peer.message(stream).reset.is_some());
        }
        let code = self.message(stream).reset.expect("a reset came");
        assert!(codes.contains(&code), "RST_STREAM {} instead of {}", code::name(code), names(codes));
        self.ping();
    }

    /// Expects GOAWAY with one of these codes and then the end of the connection; gives the last stream.
    #[track_caller]
    pub fn expect_goaway(&mut self, codes: &[u32]) -> u32 {
        let wanted = names(codes);
        if self.went_away().is_none() {
            self.until(&format!("GOAWAY {wanted}"), |peer, _| peer.went_away().is_some());
        }
        let (last, code) = self.went_away().expect("a GOAWAY came");
        assert!(codes.contains(&code), "GOAWAY {} instead of {wanted}; seen: {:#?}", code::name(code), self.seen);
        self.expect_end();
        // A graceful end names the last stream only in its second GOAWAY (RFC 9113 6.8).
        self.went_away().map_or(last, |(last, _)| last)
    }

    /// Reads to the end of the connection; says how it ended.
    #[track_caller]
    pub fn expect_end(&mut self) -> Ended {
        loop {
            match self.read() {
                Ok(_) => {}
                Err(End::Ended(ended)) => return ended,
                Err(end) => panic!("{end:?} instead of the end; seen: {:#?}", self.seen),
            }
        }
    }

    /// Sends RST of TCP.
    pub fn reset(self) {
        client::reset(self.pipe().tcp());
    }

    /// Whether no frame comes within `window`: for what must not happen.
    pub fn silent_for(&mut self, window: Duration) -> bool {
        self.patience(window);
        let outcome = self.read();
        self.patience(SOON);
        matches!(outcome, Err(End::Silent))
    }
}

fn names(codes: &[u32]) -> String {
    codes.iter().map(|code| code::name(*code)).collect::<Vec<_>>().join(" or ")
}

/// How a read failed, with so many octets of a frame already taken.
fn end(bad: Bad, begun: usize) -> End {
    match bad {
        Bad::Ended | Bad::Cut(_) if begun == 0 => End::Ended(Ended::Closed),
        Bad::Ended | Bad::Cut(_) => End::Broken("the connection ended within a frame".into()),
        Bad::Malformed(what) => End::Broken(what),
        Bad::Io(e) => match e.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => End::Silent,
            io::ErrorKind::ConnectionReset => End::Ended(Ended::Reset),
            io::ErrorKind::UnexpectedEof => End::Ended(Ended::Cut),
            _ => End::Broken(e.to_string()),
        },
    }
}
