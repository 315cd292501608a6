//! A socket with TLS above it: records on the one side, what they carry on the other.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::Shutdown;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::base::Instant;
use crate::buf::{Chunk, SendBuf, spare_vec};
use crate::ring::{self, Socket};
use crate::tls::{Agreed, Alert, Broken, Handshake, Hello, Read, Session, Stand, read_hello};

/// Octets in which a client's hello must be whole.
const HELLO_MAX: usize = 32 << 10;
/// After so long a silence the peer's congestion window may be small again: see [`Session::pause`].
const PAUSE: Duration = Duration::from_secs(1);
/// What a connection is closed with that failed its handshake is taken for so long, so that the alert is not lost.
const LAST_WORDS_MAX: usize = 64 << 10;

/// A connection that speaks TLS, or is about to.
pub struct Tls {
    socket: Socket,
    state: RefCell<State>,
    /// What was put back; the one to be taken first is the last.
    unread: RefCell<Vec<Chunk>>,
    /// Octets of payload that were given to be sent.
    sealed: Cell<u64>,
    /// Octets of payload of which it was told that they are sent.
    sent: Cell<u64>,
    /// Octets of payload received.
    received: Cell<u64>,
    sent_last: Cell<Instant>,
    /// The end of the stream came without a word of it.
    cut: Cell<bool>,
    /// The close is to reset the connection.
    resets: Cell<bool>,
}

enum State {
    /// The handshake has not begun: octets pass as they are.
    Raw,
    /// Octets are records.
    Open(Box<Session>),
    /// The session broke.
    Over,
}

/// Why there is no session.
#[derive(Debug)]
pub enum Failure {
    /// The connection ended or broke.
    Gone,
    /// The peers could not agree.
    Tls(rustls::Error),
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl Tls {
    /// Octets pass as they are until a handshake is made.
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            state: RefCell::new(State::Raw),
            unread: RefCell::default(),
            sealed: Cell::new(0),
            sent: Cell::new(0),
            received: Cell::new(0),
            sent_last: Cell::new(ring::now()),
            cut: Cell::new(false),
            resets: Cell::new(false),
        }
    }

    /// The socket below.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Waits until the client has begun, and leaves what it says unread where it can.
    ///
    /// # Errors
    /// The client left.
    pub async fn begun(&self) -> Result<(), Failure> {
        if self.socket.received() == 0 {
            return Ok(self.socket.readable().await?);
        }
        // A header came before: what follows it is received already, or will be without being asked for.
        let chunk = self.raw().await?;
        self.unread(chunk);
        Ok(())
    }

    /// Reads what a client begins with: what it asks for, none if that makes no sense; and all octets of it, for the
    /// handshake.
    ///
    /// # Errors
    /// The client left.
    pub async fn hello(&self) -> Result<(Option<Hello>, Vec<u8>), Failure> {
        let mut received = Vec::new();
        loop {
            match read_hello(&received) {
                Read::Hello(hello) => return Ok((Some(hello), received)),
                Read::Partial if received.len() <= HELLO_MAX => {}
                Read::Partial | Read::Malformed => return Ok((None, received)),
            }
            let chunk = self.raw().await?;
            received.extend_from_slice(&chunk);
        }
    }

    /// Makes a handshake, after which octets are records.
    ///
    /// # Errors
    /// There is no session; the alert that tells the peer is on its way.
    pub async fn handshake(&self, mut handshake: Handshake, sni: Option<Box<str>>) -> Result<Agreed, Failure> {
        loop {
            let mut out = spare_vec();
            let stand = handshake.advance(&mut out);
            self.socket.begin_send(out.into());
            match stand.map_err(Failure::Tls)? {
                Stand::Done => break,
                Stand::Waiting => handshake.put(&self.raw().await?),
            }
        }
        let (session, agreed) = handshake.finish(sni).map_err(Failure::Tls)?;
        self.state.replace(State::Open(Box::new(session)));
        Ok(agreed)
    }

    /// Octets as they are; the connection's end is an error.
    async fn raw(&self) -> Result<Chunk, Failure> {
        let put_back = self.unread.borrow_mut().pop();
        match put_back {
            Some(chunk) => Ok(chunk),
            None => self.socket.recv().await?.ok_or(Failure::Gone),
        }
    }

    /// Sends an alert before there is a session.
    pub fn refuse(&self, alert: Alert) {
        self.socket.begin_send(alert.plain_record().to_vec().into());
    }

    /// Closes a connection without a session so that what it said last arrives: an end that meets octets unread would be
    /// a reset, and take the alert with it.
    pub async fn say_goodbye(&self) {
        let mut left = LAST_WORDS_MAX;
        if self.socket.flush().await.is_err() || self.socket.shutdown(Shutdown::Write).await.is_err() {
            return;
        }
        while let Ok(Some(chunk)) = self.socket.recv().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                return;
            }
        }
    }

    /// The next octets: see [`super::Wire::recv`].
    ///
    /// # Errors
    /// What ended the connection.
    pub async fn recv(&self) -> io::Result<Option<Chunk>> {
        loop {
            if let Some(received) = self.try_recv() {
                return received;
            }
            if let Some(octets) = self.socket.recv().await? {
                self.put(octets);
            } else {
                return self.end_of_stream();
            }
        }
    }

    /// [`Tls::recv`] for who polls.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        loop {
            if let Some(received) = self.try_recv() {
                return Poll::Ready(received);
            }
            match ready!(self.socket.poll_recv(cx))? {
                Some(octets) => self.put(octets),
                None => return Poll::Ready(self.end_of_stream()),
            }
        }
    }

    /// What [`Tls::recv`] would return at once.
    pub fn try_recv(&self) -> Option<io::Result<Option<Chunk>>> {
        if let Some(chunk) = self.unread.borrow_mut().pop() {
            return Some(Ok(Some(chunk)));
        }
        loop {
            if let Some(taken) = self.take() {
                return Some(taken);
            }
            match self.socket.try_recv()? {
                Ok(Some(octets)) => self.put(octets),
                Ok(None) => return Some(self.end_of_stream()),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn put(&self, octets: Chunk) {
        match &mut *self.state.borrow_mut() {
            State::Raw => self.unread.borrow_mut().insert(0, octets),
            State::Open(session) => session.put(octets),
            State::Over => {}
        }
    }

    /// What the octets that are here come to.
    fn take(&self) -> Option<io::Result<Option<Chunk>>> {
        let mut state = self.state.borrow_mut();
        let session = match &mut *state {
            State::Raw => return self.unread.borrow_mut().pop().map(|chunk| Ok(Some(chunk))),
            State::Open(session) => session,
            State::Over => return Some(Err(io::ErrorKind::ConnectionAborted.into())),
        };
        let taken = session.take();
        if let Some(due) = session.due() {
            self.socket.begin_send(due.into());
        }
        match taken {
            Ok(Some(octets)) => {
                self.received.set(self.received.get() + octets.len() as u64);
                Some(Ok(Some(octets)))
            }
            Ok(None) if session.is_ended() => Some(Ok(None)),
            Ok(None) => None,
            Err(broken) => {
                if let Broken::Ours(alert) = broken
                    && let Some(record) = session.alert(alert)
                {
                    self.socket.begin_send(record.into());
                }
                *state = State::Over;
                Some(Err(io::ErrorKind::ConnectionAborted.into()))
            }
        }
    }

    fn end_of_stream(&self) -> io::Result<Option<Chunk>> {
        if matches!(*self.state.borrow(), State::Open(_)) {
            self.cut.set(true);
        }
        Ok(None)
    }

    /// Whether the stream ended without the peer's saying so: what came may be a part (RFC 8446 section 6.1).
    pub fn was_cut(&self) -> bool {
        self.cut.get()
    }

    /// Puts octets back in front of what was received.
    pub fn unread(&self, octets: Chunk) {
        if !octets.is_empty() {
            self.unread.borrow_mut().push(octets);
        }
    }

    /// Nothing waits to be received: not even a part of a record.
    pub fn is_quiet(&self) -> bool {
        let state = self.state.borrow();
        let quiet = match &*state {
            State::Raw => true,
            State::Open(session) => session.is_empty() && !session.is_ended(),
            State::Over => false,
        };
        quiet && self.unread.borrow().is_empty() && self.socket.is_quiet()
    }

    /// Starts a send after those already started.
    pub fn begin_send(&self, octets: SendBuf) {
        let mut state = self.state.borrow_mut();
        let session = match &mut *state {
            State::Raw => return self.socket.begin_send(octets),
            State::Open(session) if !octets.is_empty() => session,
            State::Open(_) | State::Over => return,
        };
        let now = ring::now();
        if self.socket.unsent() == 0 && now.since(self.sent_last.get()) >= PAUSE {
            session.pause();
        }
        self.sent_last.set(now);
        match session.seal(&octets) {
            Some(records) => {
                self.sealed.set(self.sealed.get() + octets.len() as u64);
                self.socket.begin_send(records.into());
            }
            None => *state = State::Over,
        }
    }

    /// Waits until all that was started is sent.
    ///
    /// # Errors
    /// What ended the connection.
    pub async fn flush(&self) -> io::Result<()> {
        if matches!(*self.state.borrow(), State::Over) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.socket.flush().await
    }

    /// Ready once no more than `left` octets of what was started are unsent.
    pub fn poll_flush(&self, cx: &mut Context<'_>, left: usize) -> Poll<io::Result<()>> {
        if matches!(*self.state.borrow(), State::Over) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.socket.poll_flush(cx, left)
    }

    /// Octets of payload sent so far: not more than are, and fewer by the records' own octets while some wait.
    pub fn sent(&self) -> u64 {
        let sent = self.sealed.get().saturating_sub(self.socket.unsent() as u64).max(self.sent.get());
        self.sent.set(sent);
        sent
    }

    /// Octets of payload received so far.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    /// Has the close reset the connection, without a word.
    pub fn set_linger_reset(&self) {
        self.resets.set(true);
        self.socket.set_linger_reset();
    }

    /// Ends one or both directions; what is sent ends with close_notify.
    ///
    /// # Errors
    /// The connection is over already.
    pub async fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read
            && let Some(record) = self.close_notify()
        {
            self.socket.begin_send(record.into());
        }
        self.socket.shutdown(how).await
    }

    fn close_notify(&self) -> Option<Vec<u8>> {
        match &mut *self.state.borrow_mut() {
            State::Open(session) => session.alert(Alert::CLOSE_NOTIFY),
            State::Raw | State::Over => None,
        }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        // What has not left by now is cut off, and must not look whole.
        if !self.resets.get()
            && !self.cut.get()
            && self.socket.unsent() == 0
            && let Some(record) = self.close_notify()
        {
            self.socket.say(&record);
        }
    }
}
