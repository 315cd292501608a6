//! One stream of an HTTP/2 connection with a wire's interface, on either side of it.
//!
//! What is sent begins with a head as HTTP/1 spells it, interim heads before it, each a vector of its own; a client's
//! stream also receives its response's heads so. Behind the head there is content alone, without chunks. What is sent
//! ends with the octets that Content-Length announced, or with [`Stream::end`], which may carry trailers; what is received
//! ends with `None`, and then [`Stream::take_trailers`] has what followed.
//!
//! A stream that is dropped before its end is reset: a server's with INTERNAL_ERROR, so that a part is not taken for the
//! whole, a client's with CANCEL.

mod ask;
mod ended;
mod payload;
mod reply;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use ::http::HeaderMap;
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;

use self::ask::{Answer, Ask, Head};
pub use self::ended::{Ended, ended};
use self::payload::Gauge;
pub use self::payload::{Payload, forget_shown, shown};
use self::reply::Reply;
use crate::buf::{Chunk, SendBuf};
use crate::http::h2::{read_fields, write_fields};

/// A send is over for who goes on sending once no more than this is left of it.
const LEFT_MAX: usize = 32 * 1024;

/// One stream.
pub struct Stream {
    inner: RefCell<Inner>,
    gauge: Rc<Gauge>,
    received: Cell<u64>,
}

struct Inner {
    out: Out,
    input: Input,
    /// What was put back.
    front: VecDeque<Chunk>,
    /// Octets of content that are still to be sent; `None`: until [`Stream::end`].
    content: Option<u64>,
    /// All that is to be sent has been given to the codec.
    whole: bool,
    /// Trailers may follow the octets that were announced: [`Stream::end`] ends it, and they do not.
    held: bool,
    trailers: Option<Vec<u8>>,
    /// Nothing more comes.
    received_all: bool,
    /// How it ended before its end.
    ended: Option<Ended>,
    /// Who is woken by what arrives.
    waker: Waker,
    /// The code of a stream that is dropped before its end.
    unended: h2::Reason,
}

/// What is sent.
enum Out {
    /// A server's head is still to come.
    Reply(Reply),
    /// A client's head is still to come.
    Ask(Ask),
    /// Content.
    Content(h2::SendStream<Payload>),
}

/// What is received.
enum Input {
    /// Nothing: no request has left.
    Unasked,
    /// A response's heads.
    Answer(Answer),
    /// Content; its head was read before.
    Content(RecvStream),
}

impl Stream {
    /// A request's stream on a server: `content` is the request's, `respond` answers it. `bodiless`: it is a HEAD.
    pub fn of_server(content: RecvStream, respond: h2::server::SendResponse<Payload>, bodiless: bool) -> Self {
        let out = Out::Reply(Reply::new(respond, bodiless));
        Self::new(out, Input::Content(content), h2::Reason::INTERNAL_ERROR)
    }

    /// A request's stream on a client: `sender` opens it when the head is sent, for the scheme that `secure` means; where
    /// the head's Host is empty, `authority` stands in for it.
    pub fn of_client(sender: SendRequest<Payload>, secure: bool, authority: &str) -> Self {
        Self::new(Out::Ask(Ask::new(sender, secure, authority)), Input::Unasked, h2::Reason::CANCEL)
    }

    fn new(out: Out, input: Input, unended: h2::Reason) -> Self {
        Self {
            inner: RefCell::new(Inner {
                out,
                input,
                front: VecDeque::new(),
                content: None,
                whole: false,
                held: false,
                trailers: None,
                received_all: false,
                ended: None,
                waker: Waker::noop().clone(),
                unended,
            }),
            gauge: Rc::default(),
            received: Cell::new(0),
        }
    }

    /// The next received octets, `None` at the end: see [`super::Wire::recv`]. Their window is given back as they are
    /// taken.
    ///
    /// # Errors
    /// The stream or its connection ended before: [`ended`] tells how.
    pub async fn recv(&self) -> io::Result<Option<Chunk>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// What [`Stream::recv`] would return at once.
    pub fn try_recv(&self) -> Option<io::Result<Option<Chunk>>> {
        let waker = self.inner.borrow().waker.clone();
        match self.poll_recv(&mut Context::from_waker(&waker)) {
            Poll::Ready(received) => Some(received),
            Poll::Pending => None,
        }
    }

    /// [`Stream::recv`] for who polls.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        let inner = &mut *self.inner.borrow_mut();
        if let Some(front) = inner.front.pop_front() {
            return Poll::Ready(Ok(Some(front)));
        }
        let received = ready!(inner.poll_recv(cx));
        if let Ok(Some(chunk)) = &received {
            self.received.set(self.received.get() + chunk.len() as u64);
        }
        Poll::Ready(received)
    }

    /// Puts octets back in front of what was received.
    pub fn unread(&self, octets: Chunk) {
        if !octets.is_empty() {
            self.inner.borrow_mut().front.push_front(octets);
        }
    }

    /// The section of trailers that followed what was received: lines, the empty one last. Once.
    pub fn take_trailers(&self) -> Option<Vec<u8>> {
        self.inner.borrow_mut().trailers.take()
    }

    /// Nothing waits to be received, as of this turn.
    pub fn is_quiet(&self) -> bool {
        let inner = self.inner.borrow();
        inner.front.is_empty() && !inner.received_all && inner.ended.is_none()
    }

    /// Waits until the peer resets it, or the connection fails.
    pub async fn failed(&self) {
        poll_fn(|cx| self.inner.borrow_mut().poll_failed(cx)).await;
    }

    /// Whether the peer has reset it, or the connection has failed, as of this turn.
    pub fn has_failed(&self) -> bool {
        self.inner.borrow_mut().poll_failed(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Sends octets after those already sent. They leave as fast as the peer's windows and the connection let them.
    pub fn begin_send(&self, octets: SendBuf) {
        let inner = &mut *self.inner.borrow_mut();
        if inner.ended.is_none()
            && let Err(ended) = inner.send(octets, &self.gauge)
        {
            inner.ended.get_or_insert(ended);
        }
    }

    /// Has it end with [`Stream::end`] alone, also where its head announces how much comes: trailers may follow.
    pub fn hold(&self) {
        self.inner.borrow_mut().held = true;
    }

    /// Waits until so little of what was sent is left that more may follow.
    ///
    /// # Errors
    /// What ended it.
    pub async fn flush(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx, LEFT_MAX)).await
    }

    /// Waits until all of it has left.
    ///
    /// # Errors
    /// What ended it.
    pub async fn drained(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx, 0)).await
    }

    /// Ready once no more than `left` octets are unsent.
    pub fn poll_flush(&self, cx: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner.borrow_mut();
        if inner.ended.is_none() && self.gauge.is_lost() {
            // The reset that threw it away says why; where none does, it was the connection's end.
            let _ = inner.poll_failed(cx);
            inner.ended.get_or_insert(Ended::Lost);
        }
        match inner.ended {
            Some(ended) => Poll::Ready(Err(ended.into())),
            None if self.gauge.unsent() <= left => Poll::Ready(Ok(())),
            None => {
                self.gauge.wait(left, cx.waker());
                Poll::Pending
            }
        }
    }

    /// Ends what is sent, unless it is whole already; `trailers`: lines, or nothing.
    pub fn end(&self, trailers: Vec<u8>) {
        let inner = &mut *self.inner.borrow_mut();
        if inner.ended.is_none()
            && let Err(ended) = inner.end(trailers, &self.gauge)
        {
            inner.ended.get_or_insert(ended);
        }
    }

    /// Whether all that is to be sent has been given.
    pub fn is_whole(&self) -> bool {
        self.inner.borrow().whole
    }

    /// Ends it at once, in both directions, with this code.
    pub fn reset(&self, code: h2::Reason) {
        let inner = &mut *self.inner.borrow_mut();
        inner.out.reset(code);
        inner.whole = true;
        inner.ended.get_or_insert(Ended::Lost);
    }

    /// Whether the peer has ended it, and nothing that came is left to be taken.
    pub fn has_ended(&self) -> bool {
        let inner = self.inner.borrow();
        let over = match &inner.input {
            Input::Content(content) => content.is_end_stream(),
            Input::Unasked | Input::Answer(_) => false,
        };
        over && inner.front.is_empty() && inner.trailers.is_none()
    }

    /// Octets that have left, heads as HTTP/1 spells them.
    pub fn sent(&self) -> u64 {
        self.gauge.sent()
    }

    /// Octets of content that have not left.
    pub fn unsent(&self) -> usize {
        self.gauge.unsent()
    }

    /// Octets received so far.
    pub fn received(&self) -> u64 {
        self.received.get()
    }
}

impl Inner {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        if self.received_all {
            return Poll::Ready(Ok(None));
        }
        if !self.waker.will_wake(cx.waker()) {
            self.waker.clone_from(cx.waker());
        }
        let content = match &mut self.input {
            Input::Content(content) => content,
            Input::Answer(answer) => {
                return match ready!(answer.poll(cx)) {
                    Ok(Head::Interim(octets)) => Poll::Ready(Ok(Some(octets.into()))),
                    Ok(Head::Final(octets, content)) => {
                        self.input = Input::Content(content);
                        Poll::Ready(Ok(Some(octets.into())))
                    }
                    Err(error) => Poll::Ready(Err(self.fail(&error).into())),
                };
            }
            Input::Unasked => return self.ended.map_or(Poll::Pending, |ended| Poll::Ready(Err(ended.into()))),
        };
        loop {
            match ready!(content.poll_data(cx)) {
                Some(Ok(octets)) if octets.is_empty() => {}
                Some(Ok(octets)) => {
                    // Fails only where there is no stream any more, and so no window.
                    let _ = content.flow_control().release_capacity(octets.len());
                    return Poll::Ready(Ok(Some(octets.into())));
                }
                Some(Err(error)) => return Poll::Ready(Err(self.fail(&error).into())),
                None => break,
            }
        }
        match ready!(content.poll_trailers(cx)) {
            Ok(trailers) => {
                self.received_all = true;
                self.trailers = trailers.as_ref().map(section);
                Poll::Ready(Ok(None))
            }
            Err(error) => Poll::Ready(Err(self.fail(&error).into())),
        }
    }

    fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended.is_some() {
            return Poll::Ready(());
        }
        self.ended = Some(match ready!(self.out.poll_reset(cx)) {
            Ok(code) => Ended::Reset(code),
            Err(error) => Ended::of(&error),
        });
        Poll::Ready(())
    }

    /// Takes note of what the receiving half says, which knows best.
    fn fail(&mut self, error: &h2::Error) -> Ended {
        *self.ended.insert(Ended::of(error))
    }

    fn send(&mut self, mut octets: SendBuf, gauge: &Rc<Gauge>) -> Result<(), Ended> {
        while let Out::Reply(reply) = &mut self.out {
            let Some(head) = octets.take_vec() else { return Ok(()) };
            gauge.count(head.len());
            if let Some((stream, content)) = reply.head(head, self.held)? {
                self.out = Out::Content(stream);
                self.content = content;
                self.whole = content == Some(0) && !self.held;
            }
        }
        if let Out::Ask(ask) = &mut self.out {
            let Some(head) = octets.take_vec() else { return Ok(()) };
            gauge.count(head.len());
            // Who waits for the answer waits for this.
            self.waker.wake_by_ref();
            let sent = ask.head(head)?;
            self.out = Out::Content(sent.stream);
            self.input = Input::Answer(sent.answer);
            self.content = sent.content;
            self.whole = sent.content == Some(0);
        }
        let Out::Content(stream) = &mut self.out else { return Ok(()) };
        if octets.is_empty() || self.whole {
            return Ok(());
        }
        self.content = self.content.map(|left| left.saturating_sub(octets.len() as u64));
        self.whole = self.content == Some(0) && !self.held;
        stream.send_data(Payload::new(octets, gauge), self.whole).map_err(|error| Ended::of(&error))
    }

    fn end(&mut self, trailers: Vec<u8>, gauge: &Rc<Gauge>) -> Result<(), Ended> {
        let Out::Content(stream) = &mut self.out else { return Ok(()) };
        if self.whole {
            return Ok(());
        }
        if self.content.is_some_and(|left| left > 0) {
            // Less came than was announced. Nobody may take that for the whole.
            return Err(Ended::Lost);
        }
        gauge.count(trailers.len());
        let mut fields = HeaderMap::new();
        read_fields(&Bytes::from(trailers), &mut fields).map_err(|_| Ended::Lost)?;
        self.whole = true;
        let sent = match fields.is_empty() {
            true => stream.send_data(Payload::new(SendBuf::new(), gauge), true),
            false => stream.send_trailers(fields),
        };
        sent.map_err(|error| Ended::of(&error))
    }
}

impl Out {
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<h2::Reason, h2::Error>> {
        match self {
            Self::Reply(reply) => reply.poll_reset(cx),
            Self::Ask(_) => Poll::Pending,
            Self::Content(stream) => stream.poll_reset(cx),
        }
    }

    fn reset(&mut self, code: h2::Reason) {
        match self {
            Self::Reply(reply) => reply.reset(code),
            Self::Ask(_) => {}
            Self::Content(stream) => stream.send_reset(code),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        if !inner.whole {
            inner.out.reset(inner.unended);
        }
    }
}

fn section(trailers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    write_fields(trailers, &mut lines);
    lines.extend_from_slice(b"\r\n");
    lines
}
