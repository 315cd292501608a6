//! A client's request body: read as the upstream takes it, or discarded when the answer came first.

use std::time::Duration;

use super::Next;
use super::record::Record;
use crate::base::{Fault, Instant, Reason};
use crate::buf::Chunk;
use crate::http::{BodyLength, BodyReader, Piece, Underscore};
use crate::listen::Client;
use crate::ring::{self, Timer};
use crate::wire::stream::{Ended, ended};
use crate::wire::{Stream, Wire};

/// Octets of an unread body that are worth discarding to keep the connection.
const DISCARD_MAX: u64 = 64 * 1024;
/// Below so many octets in [`PACE_WINDOW`] a body counts as stalled.
const PACE_MIN: u64 = 10 * 1024;
const PACE_WINDOW: Duration = Duration::from_secs(10);

/// A request body on its way in.
pub(super) struct ClientBody {
    reader: BodyReader,
    declared: Option<u64>,
    chunked: bool,
    /// Received octets that have not been looked at.
    input: Option<Chunk>,
    ended: bool,
    /// The client waits for 100 before it sends.
    awaits_continue: bool,
    /// Not even an octet may follow what has gone wrong.
    broken: bool,
    max: u64,
    content: u64,
    raw: u64,
}

impl ClientBody {
    pub(super) fn new(length: BodyLength, awaits_continue: bool, underscore: Underscore) -> Self {
        Self {
            reader: BodyReader::request(length, underscore),
            declared: length.declared(),
            chunked: matches!(length, BodyLength::Chunked | BodyLength::UntilClose),
            input: None,
            ended: length.is_empty(),
            awaits_continue,
            broken: false,
            max: 0,
            content: 0,
            raw: 0,
        }
    }

    /// What follows a head that could not be read: unknown, so nothing of it is used.
    pub(super) fn broken() -> Self {
        Self { broken: true, ..Self::new(BodyLength::None, false, Underscore::Drop) }
    }

    /// Octets of content that may come at most; 0: any number.
    pub(super) fn limit(&mut self, max: u64) {
        self.max = max;
    }

    /// Octets of content so far.
    pub(super) fn received(&self) -> u64 {
        self.content
    }

    /// Octets so far, framing included.
    pub(super) fn received_raw(&self) -> u64 {
        self.raw
    }

    /// Whether all of it has come.
    pub(super) fn is_done(&self) -> bool {
        self.ended
    }

    /// Whether its length is only known at its end.
    pub(super) fn is_chunked(&self) -> bool {
        self.chunked
    }

    /// Whether the client holds the body back until it is told to go on.
    pub(super) fn awaits_continue(&self) -> bool {
        self.awaits_continue && !self.ended && self.raw == 0
    }

    /// The client has been told to go on.
    pub(super) fn continued(&mut self) {
        self.awaits_continue = false;
    }

    /// Trailers of a whole chunked body.
    pub(super) fn reader(&self) -> &BodyReader {
        &self.reader
    }

    /// What of the body is here already: no wait.
    pub(super) fn ready(&mut self, client: &Client) -> Result<Option<Chunk>, Fault> {
        loop {
            if let Some(data) = self.take()? {
                return Ok(Some(data));
            }
            if self.ended {
                return Ok(None);
            }
            match client.socket.try_recv() {
                None => return Ok(None),
                Some(received) => self.accept(client, received)?,
            }
        }
    }

    /// The next content; none at the body's end. `idle` without an octet, or too few, is a fault.
    pub(super) async fn next(
        &mut self,
        client: &Client,
        timer: &Timer,
        pace: &mut Pace<'_>,
        end: Option<Instant>,
    ) -> Result<Option<Chunk>, Fault> {
        loop {
            if let Some(data) = self.take()? {
                return Ok(Some(data));
            }
            if self.ended {
                return Ok(None);
            }
            pace.note(self.raw);
            timer.set(pace.deadline(end));
            match timer.race(client.socket.recv()).await {
                Ok(received) => self.accept(client, received)?,
                Err(_) if end.is_some_and(|end| end <= ring::now()) => return Err(Fault::new(Reason::RequestTimeout)),
                Err(_) => {
                    if pace.is_stalled(self.raw) {
                        self.broken = true;
                        return Err(Fault::new(pace.verdict()));
                    }
                }
            }
        }
    }

    fn accept(&mut self, client: &Client, received: std::io::Result<Option<Chunk>>) -> Result<(), Fault> {
        match received {
            Ok(Some(chunk)) => {
                self.raw += chunk.len() as u64;
                self.input = Some(chunk);
                Ok(())
            }
            // A stream's end is its body's, and trailers came with it.
            Ok(None) if self.reader.ends_with_input() => {
                let trailers = client.socket.take_trailers();
                self.raw += trailers.as_ref().map_or(0, |lines| lines.len() as u64);
                self.reader.end_with(trailers.as_deref()).inspect_err(|_| self.broken = true)?;
                self.ended = true;
                Ok(())
            }
            Ok(None) => self.break_off(Fault::new(Reason::ClientCancelled)),
            Err(error) => self.break_off(lost(&error)),
        }
    }

    fn break_off(&mut self, fault: Fault) -> Result<(), Fault> {
        self.broken = true;
        Err(fault)
    }

    /// Content at the front of what was received.
    fn take(&mut self) -> Result<Option<Chunk>, Fault> {
        while let Some(mut chunk) = self.input.take() {
            let piece = self.reader.next(&chunk).inspect_err(|_| self.broken = true)?;
            match piece {
                Piece::Data { skip, len } => {
                    chunk.advance(skip);
                    let data = chunk.split_to(len);
                    self.input = (!chunk.is_empty()).then_some(chunk);
                    self.ended = self.reader.is_done() && !self.chunked;
                    return self.count(data).map(Some);
                }
                Piece::More { .. } => {}
                Piece::End { skip } => {
                    chunk.advance(skip);
                    self.ended = true;
                    self.input = (!chunk.is_empty()).then_some(chunk);
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    fn count(&mut self, data: Chunk) -> Result<Chunk, Fault> {
        self.content += data.len() as u64;
        if self.max != 0 && self.content > self.max {
            self.broken = true;
            return Err(Fault::new(Reason::BodyTooLarge));
        }
        Ok(data)
    }

    /// Whether the connection can serve another request once the response is out, as far as the body is concerned.
    pub(super) fn allows_reuse(&self) -> bool {
        let small = self.declared.is_none_or(|length| length - self.content.min(length) <= DISCARD_MAX);
        self.ended || (!self.broken && small && !self.awaits_continue())
    }

    /// What is left of a stream's request is nobody's: see [`crate::wire::stream`].
    fn settle_stream(&self, stream: &Stream, record: &Record) -> Next {
        if !record.answered || record.status == 0 || !stream.is_whole() {
            stream.reset(reset_code(record.reason));
        }
        Next::Close
    }

    /// After the response: gives surplus octets back, discards the rest of an unread body if that is little, else closes
    /// without the reset that would take the response from the client (RFC 9112 section 9.6).
    pub(super) async fn settle(&mut self, client: &Client, record: &mut Record, linger: Duration) -> Next {
        if let Some(stream) = client.socket.stream() {
            return self.settle_stream(stream, record);
        }
        let keep = record.keep_alive && self.allows_reuse();
        if keep && (self.ended || self.discard(client, linger).await) {
            if let Some(surplus) = self.input.take() {
                self.raw -= surplus.len() as u64;
                client.socket.unread(surplus);
            }
            return Next::Request;
        }
        // Requests that were sent on in vain would have the kernel reset the connection just as an unread body would.
        let unread = !self.ended || self.broken || self.input.is_some() || !client.socket.is_quiet();
        if record.answered && record.status != 0 && !record.reset && unread {
            close_gently(client, linger).await;
        }
        Next::Close
    }

    async fn discard(&mut self, client: &Client, linger: Duration) -> bool {
        let end = Some(ring::now() + linger);
        let before = self.content;
        while !self.ended && self.content - before <= DISCARD_MAX {
            match self.take() {
                Ok(Some(_)) => continue,
                Ok(None) if self.ended => break,
                Ok(None) => {}
                Err(_) => return false,
            }
            let Ok(received) = client.within(end, client.socket.recv()).await else { return false };
            if self.accept(client, received).is_err() {
                return false;
            }
        }
        self.ended
    }
}

/// What an error of a client's wire means.
fn lost(error: &std::io::Error) -> Fault {
    match ended(error) {
        Some(Ended::Broken(h2::Reason::ENHANCE_YOUR_CALM)) => Fault::new(Reason::H2Flood),
        Some(Ended::Broken(_)) => Fault::new(Reason::H2Malformed),
        _ => Fault::new(Reason::ClientCancelled),
    }
}

/// What a stream is told that ends before its response does. A part never ends cleanly.
fn reset_code(reason: Reason) -> h2::Reason {
    match reason {
        Reason::ClientTooSlow | Reason::TunnelIdle | Reason::ClientCancelled => h2::Reason::CANCEL,
        Reason::Overloaded => h2::Reason::REFUSED_STREAM,
        _ => h2::Reason::INTERNAL_ERROR,
    }
}

/// Half-closes, then takes what the client still sends for a while, so that no reset overtakes the response.
pub(super) async fn close_gently(client: &Client, linger: Duration) {
    if client.socket.stream().is_some() {
        return;
    }
    let end = Some(ring::now() + linger);
    if client.socket.shutdown(std::net::Shutdown::Write).await.is_err() {
        return;
    }
    while let Ok(Ok(Some(_))) = client.within(end, client.socket.recv()).await {}
}

/// How fast a body must come.
pub(super) struct Pace<'u> {
    idle: Duration,
    /// Of two directions that live until each ends: what comes by the other one counts too, and there is no pace.
    other: Option<&'u Wire>,
    window: Instant,
    window_octets: u64,
    last: Instant,
    last_octets: u64,
}

impl<'u> Pace<'u> {
    pub(super) fn new(idle: Duration) -> Self {
        let now = ring::now();
        Self { idle, other: None, window: now, window_octets: 0, last: now, last_octets: 0 }
    }

    /// Any pace, as long as `other` or the body says something within `idle`.
    pub(super) fn of_two(idle: Duration, other: &'u Wire) -> Self {
        Self { other: Some(other), ..Self::new(idle) }
    }

    /// What it is to be slower.
    fn verdict(&self) -> Reason {
        if self.other.is_some() { Reason::TunnelIdle } else { Reason::RequestBodyTimeout }
    }

    /// The upstream took the time since `began`: it does not count against the client.
    pub(super) fn forgive(&mut self, began: Instant) {
        let passed = ring::now().since(began);
        (self.window, self.last) = (self.window + passed, self.last + passed);
    }

    /// So many octets have come by now.
    fn note(&mut self, octets: u64) {
        let octets = octets + self.other.map_or(0, Wire::received);
        if octets > self.last_octets {
            (self.last, self.last_octets) = (ring::now(), octets);
        }
    }

    fn deadline(&self, end: Option<Instant>) -> Option<Instant> {
        if self.idle.is_zero() {
            return end;
        }
        let silent = self.last + self.idle;
        let next = if self.other.is_some() { silent } else { silent.min(self.window + PACE_WINDOW) };
        Some(next.earliest(end))
    }

    fn is_stalled(&mut self, octets: u64) -> bool {
        self.note(octets);
        let now = ring::now();
        if self.other.is_none() && now >= self.window + PACE_WINDOW {
            if octets - self.window_octets < PACE_MIN {
                return true;
            }
            (self.window, self.window_octets) = (now, octets);
        }
        now >= self.last + self.idle
    }
}
