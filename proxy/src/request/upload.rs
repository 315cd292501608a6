//! The request body's way to the upstream, beside the wait for the response.

use std::cell::{Cell, OnceCell, RefCell};

use super::body::{ClientBody, Pace};
use super::relay::{Watch, gone};
use crate::base::{Fault, Instant, Reason, Retry};
use crate::buf::{Chunk, SendBuf, spare_vec};
use crate::config::raw::Timeouts;
use crate::http::{Trailers, write_chunk_start, write_continue, write_last_chunk};
use crate::listen::{Client, deadline};
use crate::ring::{self, Either, Event, Timer, select2};
use crate::transport::Upstream;

/// Octets that are gathered from the client into one send.
const BATCH: usize = 256 * 1024;

/// Where a body comes from first: what an earlier try has already read.
pub(super) struct Replay<'w> {
    kept: Vec<Chunk>,
    octets: u64,
    max: u64,
    /// What the worker's requests may keep in all, less what they keep.
    room: &'w Cell<u64>,
    taken: u64,
    /// More came than may be kept: no further try can send it.
    overflown: bool,
    /// It was the worker's room that did not suffice.
    starved: bool,
}

impl<'w> Replay<'w> {
    /// Keeps `max` octets at most, and no more than `room` has.
    pub(super) fn new(max: u64, room: &'w Cell<u64>) -> Self {
        Self { kept: Vec::new(), octets: 0, max, room, taken: 0, overflown: false, starved: false }
    }

    /// Whether another try could send all that was read so far.
    pub(super) fn is_whole(&self) -> bool {
        !self.overflown
    }

    /// Whether it would be whole if other requests kept less.
    pub(super) fn is_starved(&self) -> bool {
        self.starved
    }

    fn keep(&mut self, chunk: &Chunk) {
        let len = chunk.len() as u64;
        self.octets += len;
        if self.overflown {
            return;
        }
        if self.octets > self.max || len > self.room.get() {
            self.overflown = true;
            self.starved = self.octets <= self.max;
            self.forget();
            return;
        }
        self.room.set(self.room.get() - len);
        self.taken += len;
        let mut kept = chunk.clone();
        kept.compact();
        self.kept.push(kept);
    }

    fn forget(&mut self) {
        self.kept.clear();
        self.room.set(self.room.get() + std::mem::take(&mut self.taken));
    }
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

/// How the upload stands.
#[derive(Default)]
pub(super) struct Progress {
    /// When all of the request had gone into the upstream's socket.
    pub(super) done: Cell<Option<Instant>>,
    /// An octet of the body has left.
    pub(super) begun: Cell<bool>,
    /// The client has not been told to send its body.
    pub(super) held_back: Cell<bool>,
    /// The client has been told to send it.
    pub(super) continued: Cell<bool>,
    /// The upstream asked for the body; made by who waits for it.
    go: OnceCell<Event>,
    /// The response's head has come.
    pub(super) answered: Cell<bool>,
    /// An interim response has gone to the client: no other upstream may speak after this one.
    pub(super) relayed: Cell<bool>,
    /// When the try must have its head.
    pub(super) try_ended: Cell<Option<Instant>>,
}

impl Progress {
    /// The upstream asks for the body.
    pub(super) fn go(&self) {
        self.go.get_or_init(Event::new).notify();
    }
}

/// What an upload needs.
pub(super) struct Upload<'u, 'w> {
    pub(super) client: &'u Client,
    pub(super) upstream: &'u Upstream,
    pub(super) body: &'u RefCell<&'u mut ClientBody>,
    pub(super) replay: &'u RefCell<Replay<'w>>,
    pub(super) progress: &'u Progress,
    pub(super) timer: &'u Timer,
    pub(super) timeouts: &'u Timeouts,
    pub(super) deadline: Option<Instant>,
    pub(super) try_end: Option<Instant>,
    /// Both directions live until each ends: gRPC.
    pub(super) two_way: bool,
}

impl Upload<'_, '_> {
    /// Sends head and body. A fault is the client's, or that the upstream takes nothing; what else is wrong with the
    /// upstream shows when its response is read.
    pub(super) async fn run(&self, head: Vec<u8>, has_body: bool) -> Result<(), Fault> {
        self.progress.try_ended.set(self.try_end);
        self.upstream.timer.set(self.try_end);
        if has_body {
            self.send_with_body(head.into()).await?;
        } else {
            self.upstream.socket.begin_send(head.into());
        }
        let now = ring::now();
        self.progress.done.set(Some(now));
        self.await_head_until(match (deadline(now, self.timeouts.response_header), self.try_end) {
            (Some(end), other) => Some(end.earliest(other)),
            (None, other) => other,
        });
        Ok(())
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "nobody else borrows the body or the replay while this runs")]
    async fn send_with_body(&self, mut out: SendBuf) -> Result<(), Fault> {
        let mut body = self.body.borrow_mut();
        let mut replay = self.replay.borrow_mut();
        let stream = self.upstream.socket.stream();
        let chunked = body.is_chunked() && stream.is_none();
        self.push_all(&mut out, replay.kept.iter().cloned(), chunked);
        if body.awaits_continue() {
            self.flush(std::mem::take(&mut out)).await?;
            self.await_continue(&mut body).await?;
        }
        let mut pace = match self.two_way {
            true => Pace::of_two(self.timeouts.tunnel, &self.upstream.socket),
            false => Pace::new(self.timeouts.body),
        };
        while !body.is_done() {
            let mut next = body.ready(self.client)?;
            if next.is_none() && !body.is_done() {
                self.flush_aside(&mut out, &mut pace).await?;
                next = body.next(self.client, self.timer, &mut pace, self.deadline).await?;
            }
            let Some(chunk) = next else { continue };
            replay.keep(&chunk);
            self.push_all(&mut out, std::iter::once(chunk), chunked);
            if out.len() >= BATCH {
                self.flush_aside(&mut out, &mut pace).await?;
            }
        }
        if chunked {
            let mut last = spare_vec();
            match body.reader().trailers() {
                Some(trailers) => write_last_chunk(&mut last, trailers.iter()),
                None => write_last_chunk(&mut last, []),
            }
            out.push_vec(last);
        }
        if let Some(stream) = stream {
            stream.begin_send(std::mem::take(&mut out));
            stream.end(body.reader().trailers().map(Trailers::section).unwrap_or_default());
        }
        self.flush(out).await
    }

    /// Waits for the upstream's word, or for octets of a client that does not wait; after so long the client is told to
    /// go on in any case.
    async fn await_continue(&self, body: &mut ClientBody) -> Result<(), Fault> {
        self.progress.held_back.set(true);
        self.timer.set(deadline(ring::now(), self.timeouts.expect));
        let client = &self.client.socket;
        match self.timer.race(select2(self.progress.go.get_or_init(Event::new).wait(), client.recv())).await {
            Ok(Either::Left(())) => {}
            // RFC 9110 section 10.1.1: who sends already need not be told to.
            Ok(Either::Right(Ok(Some(octets)))) => {
                client.unread(octets);
                self.progress.continued.set(true);
            }
            Ok(Either::Right(_)) => return Err(Fault::new(Reason::ClientCancelled)),
            Err(_) if self.progress.continued.replace(true) => {}
            Err(_) => {
                let mut octets = spare_vec();
                write_continue(&mut octets);
                client.begin_send(octets.into());
            }
        }
        self.progress.held_back.set(false);
        body.continued();
        Ok(())
    }

    fn push_all(&self, out: &mut SendBuf, chunks: impl Iterator<Item = Chunk>, chunked: bool) {
        for chunk in chunks {
            self.progress.begun.set(true);
            if chunked {
                let mut line = spare_vec();
                write_chunk_start(&mut line, chunk.len() as u64);
                out.push_vec(line);
            }
            out.push_chunk(chunk);
            if chunked {
                out.push_static(b"\r\n");
            }
        }
    }

    /// Sends; the client has nothing to do with how long that takes.
    async fn flush_aside(&self, out: &mut SendBuf, pace: &mut Pace<'_>) -> Result<(), Fault> {
        let began = ring::now();
        self.flush(std::mem::take(out)).await?;
        pace.forgive(began);
        Ok(())
    }

    /// Sends, in time. An upstream that takes no more of it has said, or is saying, why.
    async fn flush(&self, out: SendBuf) -> Result<(), Fault> {
        let socket = &self.upstream.socket;
        if out.is_empty() && socket.stream().is_none() {
            return Ok(());
        }
        socket.begin_send(out);
        let mut watch = Watch::begin(socket);
        loop {
            self.timer.set(deadline(ring::now(), self.timeouts.write));
            match self.timer.race(select2(socket.flush(), self.left())).await {
                Ok(Either::Left(Ok(()))) => return Ok(()),
                Ok(Either::Left(Err(_))) => return self.wait_for_word().await,
                Ok(Either::Right(())) => return Err(gone(self.client)),
                Err(_) if watch.moved() => {}
                Err(_) => return Err(Fault::new(Reason::UpstreamWriteTimeout).retry(Retry::Idempotent)),
            }
        }
    }

    /// The upstream stopped reading: its response, or its end, is awaited beside this, for as long as a response may take.
    async fn wait_for_word(&self) -> Result<(), Fault> {
        self.await_head_until(deadline(ring::now(), self.timeouts.response_header));
        self.left().await;
        Err(gone(self.client))
    }

    /// Waits until the client's stream is reset, or its connection ended. A connection that is the client's alone shows
    /// its end when its body is read.
    async fn left(&self) {
        match self.client.socket.stream() {
            Some(stream) => stream.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Sets the deadline of the response's head, unless that has come: from then on the download has the timer.
    fn await_head_until(&self, end: Option<Instant>) {
        if !self.progress.answered.get() {
            self.upstream.timer.set(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_within_both_bounds_and_is_given_back() {
        let room = Cell::new(10);
        let chunk = |len: usize| Chunk::from(vec![b'x'; len]);
        let mut first = Replay::new(8, &room);
        first.keep(&chunk(6));
        assert_eq!((first.is_whole(), room.get()), (true, 4));
        let mut second = Replay::new(8, &room);
        second.keep(&chunk(5));
        assert_eq!((second.is_whole(), room.get()), (false, 4), "the room of all is spent");
        first.keep(&chunk(3));
        assert_eq!((first.is_whole(), room.get()), (false, 10), "its own bound is passed");
        let mut third = Replay::new(8, &room);
        third.keep(&chunk(8));
        drop(third);
        assert_eq!(room.get(), 10);
    }
}
