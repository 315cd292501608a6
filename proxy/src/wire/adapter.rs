//! A wire as the HTTP/2 codec wants one: octets asked for and written by polling, without a runtime of its own.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Wire;
use super::meter::Meter;
use super::stream::{forget_shown, shown};
use crate::buf::{Chunk, SendBuf};

/// Octets that one poll may read: then other tasks have their turn.
const READ_MAX: usize = 256 * 1024;
/// Written octets that may wait to leave before the codec has to.
const UNSENT_MAX: usize = 256 * 1024;
/// It may go on once no more than this waits.
const UNSENT_LOW: usize = 128 * 1024;

/// Who has the wire.
pub trait Carrier {
    /// The wire.
    fn wire(&self) -> &Wire;
}

impl Carrier for Wire {
    fn wire(&self) -> &Wire {
        self
    }
}

/// What of the adapter stays in the hands of who drives the codec.
#[derive(Default)]
pub struct Port {
    /// Judges the frames that go by, where the peer is a client.
    pub meter: Option<RefCell<Meter>>,
    /// What was written and has not been given to the wire.
    out: RefCell<SendBuf>,
    /// Whether who drives gives it to the wire, once for a whole turn.
    gathers: bool,
    /// Octets that this poll may still read.
    reads: Cell<usize>,
}

impl Port {
    /// One that gathers what is written until [`Port::push`], and meters frames.
    pub fn metered(meter: Meter) -> Rc<Self> {
        Rc::new(Self { meter: Some(RefCell::new(meter)), gathers: true, ..Self::default() })
    }

    /// A poll begins.
    pub fn begin(&self) {
        self.reads.set(READ_MAX);
    }

    /// Gives what was written to the wire.
    pub fn push(&self, wire: &Wire) {
        forget_shown();
        let out = self.out.take();
        if !out.is_empty() {
            wire.begin_send(out);
        }
    }
}

/// A wire for the codec.
pub struct Adapter<C: Carrier = Wire> {
    carrier: C,
    port: Rc<Port>,
    /// What was received and the codec has not taken.
    received: Option<Chunk>,
}

impl<C: Carrier> Adapter<C> {
    /// One that sends what it is given at once.
    pub fn new(carrier: C) -> Self {
        Self::with_port(carrier, Rc::default())
    }

    /// One whose port others have too.
    pub fn with_port(carrier: C, port: Rc<Port>) -> Self {
        Self { carrier, port, received: None }
    }

    /// The next octets, up to what this poll may read.
    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        if let Some(chunk) = self.received.take() {
            return Poll::Ready(Ok(Some(chunk)));
        }
        if self.port.gathers && self.port.reads.get() == 0 {
            // Whoever sends without end does not keep the others waiting.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_acknowledged(cx))?;
        self.carrier.wire().poll_recv(cx)
    }

    /// Whoever does not take our acknowledgements is not read from: else it would have us pile them up.
    fn poll_acknowledged(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(meter) = &self.port.meter
            && meter.borrow().is_ack_unsent()
        {
            self.port.push(self.carrier.wire());
            ready!(self.carrier.wire().poll_flush(cx, 0))?;
            meter.borrow_mut().ack_left();
        }
        Poll::Ready(Ok(()))
    }

    fn note_read(&self, octets: &[u8]) {
        self.port.reads.set(self.port.reads.get().saturating_sub(octets.len()));
        if let Some(meter) = &self.port.meter {
            meter.borrow_mut().received(octets, crate::ring::now());
        }
    }

    /// Takes octets of one write, all of them.
    fn write(&self, octets: &[u8]) {
        if let Some(meter) = &self.port.meter {
            meter.borrow_mut().sent(octets);
        }
        let mut out = self.port.out.borrow_mut();
        match shown(octets) {
            Some(chunk) => out.push_chunk(chunk),
            None => out.copy(octets),
        }
    }

    /// Waits while too much waits already.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.port.out.borrow().len() >= UNSENT_MAX {
            self.port.push(self.carrier.wire());
            return self.carrier.wire().poll_flush(cx, UNSENT_LOW);
        }
        self.carrier.wire().poll_flush(cx, UNSENT_MAX)
    }
}

impl<C: Carrier + Unpin> AsyncRead for Adapter<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(mut chunk) = ready!(self.poll_received(cx))? else { return Poll::Ready(Ok(())) };
        let part = chunk.split_to(buf.remaining());
        buf.put_slice(&part);
        self.note_read(&part);
        self.received = (!chunk.is_empty()).then_some(chunk);
        Poll::Ready(Ok(()))
    }
}

impl<C: Carrier + Unpin> AsyncWrite for Adapter<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        self.write(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        parts.iter().for_each(|part| self.write(part));
        Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What was written is on its way: nothing is gained by waiting until it has left.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.port.gathers {
            self.port.push(self.carrier.wire());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.port.push(self.carrier.wire());
        self.carrier.wire().poll_flush(cx, 0)
    }
}
