//! Bodies on their way into a content coding: an upstream's as it comes, a page of weir's own at once.
//!
//! A coder gets its content in steps, each in a turn of the loop that has room for it: however large a body is, and
//! however many there are, whatever else the worker serves goes on between the steps.

use std::time::Duration;

use super::Exchange;
use super::record::Record;
use super::relay::{Download, Ended};
use crate::base::metric::{Coding, Limit};
use crate::base::{Fault, Instant, Reason};
use crate::buf::{Chunk, SendBuf};
use crate::http::{BodyLength, BodyReader, Edits, Method, Piece, Response, ResponseOut};
use crate::respond::compress::{Compress, Encoder, Extent, Held, Subject};
use crate::ring;
use crate::worker::Worker;

/// Octets of content that a coder gets at once.
const STEP: usize = 16 << 10;
/// Coded octets that are gathered into one send.
const BATCH: usize = 64 << 10;
/// A body that has been silent for so long pauses: what there is of it goes out. What has come out of the coder does not
/// wait for longer either.
const PAUSE: Duration = Duration::from_millis(5);

/// What becomes of a response's body.
pub(super) enum Coded<'w> {
    /// It goes out as it is.
    Plain,
    /// The head tells of a coded body, as it would in the answer to GET; none follows.
    Told,
    /// It is coded.
    Body(Box<Coder<'w>>),
}

/// One body's coder, with the memory that it holds.
pub(super) struct Coder<'w> {
    encoder: Encoder,
    /// Coded, and not yet handed over.
    out: Vec<u8>,
    tally: Tally<'w>,
    /// When what is in `out` is to be sent.
    due: Instant,
    /// Event streams: each event goes out at once.
    eager: bool,
    _held: Held,
}

/// Counts what went in and what came out, however it ends.
struct Tally<'w> {
    worker: &'w Worker,
    coding: Coding,
    into: u64,
    out: u64,
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.worker.counters.compressed_octets(self.coding, self.into, self.out);
    }
}

impl<'w> Coder<'w> {
    /// None if there is no room for it: the body then goes out as it is.
    fn begin(worker: &'w Worker, coding: Coding, extent: Extent, memory_max: u64) -> Option<Self> {
        let Some(held) = worker.coders.take(Encoder::memory(coding, extent), memory_max) else {
            worker.counters.limit(Limit::CompressionMemory);
            return None;
        };
        let encoder = Encoder::new(coding, extent).ok()?;
        worker.counters.compressed(coding);
        let tally = Tally { worker, coding, into: 0, out: 0 };
        let (due, eager) = (ring::now() + PAUSE, extent == Extent::Stream);
        Some(Self { encoder, out: Vec::new(), tally, due, eager, _held: held })
    }

    async fn write(&mut self, content: &[u8]) -> Result<(), Fault> {
        for step in content.chunks(STEP) {
            ring::heavy(step.len()).await;
            self.tally.into += step.len() as u64;
            self.encoder.write(step, &mut self.out).map_err(|_| Fault::new(Reason::InternalError))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.encoder.flush(&mut self.out).map_err(|_| Fault::new(Reason::InternalError))
    }

    /// The rest of the coded body.
    fn finish(mut self) -> Result<Vec<u8>, Fault> {
        self.encoder.finish(&mut self.out).map_err(|_| Fault::new(Reason::InternalError))?;
        self.tally.out += self.out.len() as u64;
        Ok(self.out)
    }

    /// What has come out so far.
    fn take(&mut self) -> Vec<u8> {
        self.tally.out += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }
}

impl Coded<'_> {
    /// How the body's end is known that the client gets, where the upstream's is known by `from`.
    pub(super) fn length(&self, from: BodyLength) -> BodyLength {
        match self {
            Self::Body(_) => BodyLength::UntilClose,
            Self::Plain | Self::Told => from,
        }
    }

    /// The head without what holds for the body as the upstream has it.
    pub(super) fn head<'o>(&self, out: ResponseOut<'o>) -> ResponseOut<'o> {
        match self {
            Self::Plain => out,
            Self::Told | Self::Body(_) => ResponseOut { stated_length: None, ..out },
        }
    }
}

impl Exchange<'_> {
    /// Whether an upstream's response is coded; its head then tells so. `from` is how its body is framed, `rest` what
    /// came of it with the head, `stream` whether it comes in events.
    pub(super) fn code(
        &self,
        response: &Response<'_>,
        from: BodyLength,
        rest: Option<&[u8]>,
        stream: bool,
        edits: &mut Edits,
    ) -> Coded<'_> {
        let Some(compress) = &self.rules.compress else { return Coded::Plain };
        let asked = self.request.verb() == Method::Head;
        let length =
            if asked { response.head.content_length() } else { from.declared().or_else(|| whole(from, rest?)) };
        let subject = Subject { request: &self.request, status: response.status(), head: Some(response), length };
        let Some(coding) = compress.choose(subject, edits) else { return Coded::Plain };
        let coded = if asked {
            Coded::Told
        } else {
            let extent = if stream { Extent::Stream } else { length.map_or(Extent::Unknown, Extent::Known) };
            match Coder::begin(self.worker, coding, extent, compress.memory_max) {
                Some(coder) => Coded::Body(Box::new(coder)),
                None => return Coded::Plain,
            }
        };
        Compress::announce(coding, Some(response), edits);
        coded
    }

    /// A body that is here whole, coded, if it should be and is shorter so; the head then tells so. `head` is that of an
    /// upstream, where the body takes the place of its.
    pub(super) async fn code_whole(
        &self,
        status: u16,
        head: Option<&Response<'_>>,
        content: &[u8],
        edits: &mut Edits,
    ) -> Option<Vec<u8>> {
        let compress = self.rules.compress.as_ref()?;
        let length = content.len() as u64;
        let coding = compress.choose(Subject { request: &self.request, status, head, length: Some(length) }, edits)?;
        let mut coder = Box::new(Coder::begin(self.worker, coding, Extent::Known(length), compress.memory_max)?);
        Box::pin(coder.write(content)).await.ok()?;
        let coded = coder.finish().ok().filter(|coded| coded.len() < content.len())?;
        Compress::announce(coding, head, edits);
        Some(coded)
    }

    /// Sends `out`, then the body behind it, as it is or coded, to the end.
    pub(super) async fn deliver(
        &self,
        coded: Coded<'_>,
        body: Download<'_>,
        out: SendBuf,
        record: &mut Record,
    ) -> Result<Ended, Fault> {
        match coded {
            // Apart, so that the many bodies that are not coded need no room for it.
            Coded::Body(coder) => Box::pin(self.download_coded(coder, body, out, record)).await,
            Coded::Plain | Coded::Told => self.download(body, out, record).await,
        }
    }

    async fn download_coded(
        &self,
        mut coder: Box<Coder<'_>>,
        mut body: Download<'_>,
        mut out: SendBuf,
        record: &mut Record,
    ) -> Result<Ended, Fault> {
        let ended = loop {
            match next(&mut body)? {
                Next::Data(data) => coder.write(&data).await?,
                Next::End(ended) => break ended,
                Next::Wait => match self.more(&mut coder, &body, &mut out, record).await? {
                    Some(chunk) => body.first = Some(chunk),
                    None => {
                        body.input_ended()?;
                        break Ended::Clean;
                    }
                },
            }
            if coder.out.len() >= BATCH || ring::now() >= coder.due {
                self.send_out(&mut coder, &body, &mut out, record).await?;
            }
        };
        hand_over(coder.finish()?, &body, &mut out, record);
        self.finish(&mut body, out).await?;
        Ok(ended)
    }

    /// Waits for more of the body. If it pauses, all that there is goes out before.
    async fn more(
        &self,
        coder: &mut Coder<'_>,
        body: &Download<'_>,
        out: &mut SendBuf,
        record: &mut Record,
    ) -> Result<Option<Chunk>, Fault> {
        if !coder.eager {
            let upstream = body.upstream;
            upstream.timer.set(Some(ring::now() + PAUSE));
            match upstream.timer.race(upstream.socket.recv()).await {
                Ok(Ok(more)) => return Ok(more),
                Ok(Err(_)) => return Err(Fault::new(Reason::UpstreamBodyTruncated)),
                Err(_) => {}
            }
        }
        coder.flush()?;
        self.send_out(coder, body, out, record).await?;
        self.receive(body).await
    }

    async fn send_out(
        &self,
        coder: &mut Coder<'_>,
        body: &Download<'_>,
        out: &mut SendBuf,
        record: &mut Record,
    ) -> Result<(), Fault> {
        hand_over(coder.take(), body, out, record);
        if !out.is_empty() {
            self.send(std::mem::take(out)).await?;
        }
        coder.due = ring::now() + PAUSE;
        Ok(())
    }
}

fn hand_over(coded: Vec<u8>, body: &Download<'_>, out: &mut SendBuf, record: &mut Record) {
    record.body_out += coded.len() as u64;
    if !coded.is_empty() {
        body.push(Chunk::from(coded), out);
    }
}

/// What is next of a body.
enum Next {
    Data(Chunk),
    /// Nothing of it is here.
    Wait,
    End(Ended),
}

fn next(body: &mut Download<'_>) -> Result<Next, Fault> {
    loop {
        if body.reader.is_done() && body.first.is_none() {
            return Ok(Next::End(Ended::Clean));
        }
        let Some(mut chunk) = body.first.take().or_else(|| body.at_hand()) else { return Ok(Next::Wait) };
        match body.reader.next(&chunk)? {
            Piece::Data { skip, len } => {
                chunk.advance(skip);
                let data = chunk.split_to(len);
                body.first = (!chunk.is_empty()).then_some(chunk);
                return Ok(Next::Data(data));
            }
            Piece::More { .. } => {}
            Piece::End { skip } if skip < chunk.len() => return Ok(Next::End(Ended::Surplus)),
            Piece::End { .. } => return Ok(Next::End(Ended::Clean)),
        }
    }
}

/// Octets of a body of untold length that is here whole.
fn whole(from: BodyLength, mut rest: &[u8]) -> Option<u64> {
    let mut reader = BodyReader::response(from);
    let mut octets = 0;
    loop {
        match reader.next(rest).ok()? {
            Piece::Data { skip, len } => {
                octets += len as u64;
                rest = &rest[skip + len..];
            }
            Piece::More { .. } => return None,
            Piece::End { .. } => return Some(octets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_that_is_here_tells_its_length() {
        let octets = |rest: &[u8]| whole(BodyLength::Chunked, rest);
        assert_eq!(octets(b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"), Some(19));
        assert_eq!(octets(b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n"), None);
        assert_eq!(octets(b""), None);
        assert_eq!(octets(b"x\r\n"), None, "what is no chunk is judged where it is read");
        assert_eq!(whole(BodyLength::UntilClose, b"abc"), None);
    }
}
