//! Moving a response to the client: head and first octets in one write, then the body as it comes, no faster than the
//! client takes it.

use std::time::Duration;

use super::Exchange;
use super::record::Record;
use crate::base::{Fault, Reason};
use crate::buf::{Chunk, SendBuf, spare_vec};
use crate::http::{BodyLength, BodyReader, Piece, Trailers, trailer_section, write_chunk_start, write_last_chunk};
use crate::listen::{Client, Stopped, Told, deadline};
use crate::respond::compress::is_digest;
use crate::ring;
use crate::transport::Upstream;
use crate::wire::{Stream, Wire};

/// Octets that are gathered from the upstream into one send.
const BATCH: usize = 512 * 1024;
/// The same for one of many streams that share a connection.
pub(super) const STREAM_BATCH: usize = 64 * 1024;
/// A send that moves so much in a period is alive.
const MOVED_MIN: u64 = 16 * 1024;

/// Tells whether a send moves: asked only when its period is over.
pub(super) struct Watch<'s> {
    socket: &'s Wire,
    before: u64,
}

impl<'s> Watch<'s> {
    pub(super) fn begin(socket: &'s Wire) -> Self {
        // No system call for the many sends that are over at once: the first period only sets the mark.
        Self { socket, before: 0 }
    }

    /// Whether enough has moved since this was last asked.
    pub(super) fn moved(&mut self) -> bool {
        let now = self.socket.acknowledged().unwrap_or_else(|| self.socket.sent());
        let moved = now.saturating_sub(self.before) >= MOVED_MIN;
        self.before = now;
        moved
    }
}

/// What ends the request of a client that was told to end: there is nothing more to say to it.
pub(super) fn cut(client: &Client) -> Fault {
    Fault::new(client.cut()).status(0)
}

/// What it means that the client's wire has failed: it went, or its whole connection was ended, which knows why.
pub(super) fn gone(client: &Client) -> Fault {
    if client.told() == Told::Cut { cut(client) } else { Fault::new(Reason::ClientCancelled) }
}

/// A response body on its way out.
pub(super) struct Download<'u> {
    pub(super) upstream: &'u Upstream,
    pub(super) reader: BodyReader,
    /// What came with the head.
    pub(super) first: Option<Chunk>,
    pub(super) chunked: bool,
    /// How long the upstream may be silent within its body, and what longer silence is.
    pub(super) silence: (Duration, Reason),
    /// The client takes trailers (RFC 9110 section 6.5.1).
    pub(super) trailers: bool,
    /// Both directions live until each ends: what the client sends breaks the silence.
    pub(super) two_way: bool,
    /// It is put into a content coding: digests of it hold no more.
    pub(super) coded: bool,
}

/// How a response body ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// Whole, and nothing behind it.
    Clean,
    /// Whole, with octets behind it: the connection must not be used again.
    Surplus,
}

impl Exchange<'_> {
    /// Sends to the client, within `timeouts.send` per 16 KiB and the request's own deadline.
    pub(super) async fn send(&self, out: SendBuf) -> Result<(), Fault> {
        let socket = &self.client.socket;
        socket.begin_send(out);
        let mut watch = Watch::begin(socket);
        loop {
            let period = deadline(ring::now(), self.rules.timeouts.send);
            let end = match (period, self.deadline) {
                (Some(period), end) => Some(period.earliest(end)),
                (None, end) => end,
            };
            match self.client.within(end, socket.flush()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(gone(self.client)),
                Err(stopped) => {
                    if let Some(fault) = self.stopped(stopped) {
                        return Err(fault);
                    }
                    if !watch.moved() {
                        return Err(Fault::new(Reason::ClientTooSlow));
                    }
                }
            }
        }
    }

    /// What a stop of the client's wait means, if it ends the request.
    pub(super) fn stopped(&self, stopped: Stopped) -> Option<Fault> {
        match stopped {
            Stopped::Cut | Stopped::Finish => Some(cut(self.client)),
            Stopped::Late if self.deadline.is_some_and(|end| end <= ring::now()) => {
                Some(Fault::new(Reason::RequestTimeout))
            }
            Stopped::Late => None,
        }
    }

    /// Sends `out`, then the body behind it, to the end.
    pub(super) async fn download(
        &self,
        mut body: Download<'_>,
        mut out: SendBuf,
        record: &mut Record,
    ) -> Result<Ended, Fault> {
        let batch = if self.client.socket.stream().is_some() { STREAM_BATCH } else { BATCH };
        loop {
            let ended = body.gather(batch, &mut out, record)?;
            if !out.is_empty() {
                self.send(std::mem::take(&mut out)).await?;
            }
            if let Some(ended) = ended {
                self.end_stream(&body);
                return Ok(ended);
            }
            match self.receive(&body).await? {
                Some(chunk) => body.first = Some(chunk),
                None => {
                    body.input_ended()?;
                    self.finish(&mut body, SendBuf::new()).await?;
                    return Ok(Ended::Clean);
                }
            }
        }
    }

    /// Waits for more of the body; none at the end of what the upstream sends.
    pub(super) async fn receive(&self, body: &Download<'_>) -> Result<Option<Chunk>, Fault> {
        let upstream = body.upstream;
        let (silence, reason) = body.silence;
        loop {
            let heard = self.client.socket.received();
            upstream.timer.set(deadline(ring::now(), silence));
            match self.client.within(self.deadline, upstream.timer.race(upstream.socket.recv())).await {
                Ok(Ok(Ok(chunk))) => return Ok(chunk),
                Ok(Ok(Err(_))) => return Err(Fault::new(Reason::UpstreamBodyTruncated)),
                Ok(Err(_)) if body.two_way && self.client.socket.received() != heard => {}
                Ok(Err(_)) => return Err(Fault::new(reason)),
                Err(stopped) => return Err(self.stopped(stopped).unwrap_or(Fault::new(Reason::RequestTimeout))),
            }
        }
    }

    /// Sends `out`, and behind it what ends the body.
    pub(super) async fn finish(&self, body: &mut Download<'_>, mut out: SendBuf) -> Result<(), Fault> {
        body.close(&mut out);
        if !out.is_empty() {
            self.send(out).await?;
        }
        self.end_stream(body);
        Ok(())
    }

    /// Where the client's stream ends the body, trailers go with its end.
    fn end_stream(&self, body: &Download<'_>) {
        if let Some(stream) = self.client.socket.stream() {
            let any = body.reader.trailers().is_some();
            stream.end(if any { trailer_section(body.kept_trailers()) } else { Vec::new() });
        }
    }

    /// Waits until a whole response has left its stream, no longer than a send may take.
    pub(super) async fn see_off(&self, stream: &Stream) -> Result<(), Fault> {
        let mut watch = Watch::begin(&self.client.socket);
        while stream.unsent() > 0 {
            let end = match (deadline(ring::now(), self.rules.timeouts.send), self.deadline) {
                (Some(period), end) => Some(period.earliest(end)),
                (None, end) => end,
            };
            match self.client.within(end, stream.drained()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(gone(self.client)),
                Err(stopped) => {
                    if let Some(fault) = self.stopped(stopped) {
                        return Err(fault);
                    }
                    if !watch.moved() {
                        return Err(Fault::new(Reason::ClientTooSlow));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Download<'_> {
    /// Takes what is here into one send.
    fn gather(&mut self, batch: usize, out: &mut SendBuf, record: &mut Record) -> Result<Option<Ended>, Fault> {
        while out.len() < batch {
            if self.reader.is_done() && self.first.is_none() {
                return Ok(self.end(out, Ended::Clean));
            }
            let next = match self.first.take() {
                Some(chunk) => Some(chunk),
                None => self.at_hand(),
            };
            let Some(chunk) = next else { return Ok(None) };
            if let Some(ended) = self.take(chunk, out, record)? {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// What has arrived.
    pub(super) fn at_hand(&self) -> Option<Chunk> {
        match self.upstream.socket.try_recv() {
            Some(Ok(Some(chunk))) => Some(chunk),
            // The end and errors are met again by the wait that follows.
            _ => None,
        }
    }

    fn take(&mut self, mut chunk: Chunk, out: &mut SendBuf, record: &mut Record) -> Result<Option<Ended>, Fault> {
        loop {
            match self.reader.next(&chunk)? {
                Piece::Data { skip, len } => {
                    chunk.advance(skip);
                    let data = chunk.split_to(len);
                    record.body_out += data.len() as u64;
                    self.push(data, out);
                }
                Piece::More { .. } => return Ok(None),
                Piece::End { skip } => {
                    chunk.advance(skip);
                    let ended = if chunk.is_empty() { Ended::Clean } else { Ended::Surplus };
                    return Ok(self.end(out, ended));
                }
            }
        }
    }

    /// The upstream sends no more: an error unless the body is whole by that.
    pub(super) fn input_ended(&mut self) -> Result<(), Fault> {
        // What the connection's end delimits is whole only if the peer says that it is the end.
        if self.upstream.socket.was_cut() {
            return Err(Fault::new(Reason::UpstreamBodyTruncated));
        }
        self.reader.end_with(self.upstream.socket.take_trailers().as_deref())
    }

    pub(super) fn push(&self, data: Chunk, out: &mut SendBuf) {
        if self.chunked {
            let mut line = spare_vec();
            write_chunk_start(&mut line, data.len() as u64);
            out.push_vec(line);
            out.push_chunk(data);
            out.push_static(b"\r\n");
        } else {
            out.push_chunk(data);
        }
    }

    fn end(&self, out: &mut SendBuf, ended: Ended) -> Option<Ended> {
        self.close(out);
        Some(ended)
    }

    /// The trailers that still hold for the body as it is sent.
    fn kept_trailers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let all = self.reader.trailers().into_iter().flat_map(Trailers::iter);
        all.filter(|(name, _)| !(self.coded && is_digest(name)))
    }

    fn close(&self, out: &mut SendBuf) {
        if !self.chunked {
            return;
        }
        let mut last = spare_vec();
        write_last_chunk(&mut last, self.kept_trailers().filter(|_| self.trailers));
        out.push_vec(last);
    }
}

/// Whether a body of this length goes out in chunks.
pub(super) fn is_chunked(length: BodyLength) -> bool {
    length == BodyLength::Chunked
}
