//! What a scripted origin does on one connection, and the gate on which a test holds it.

use std::io::ErrorKind;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::client::{Ended, reset};
use crate::message::{Bad, Request, Wire};
use crate::origin::Record;
use crate::tls::Pipe;
use crate::wait::SOON;

/// How long a script may wait for anything.
const LONG: Duration = Duration::from_secs(60);

/// A door that is shut until the test opens it. Clones are the same door.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A shut one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everybody through, now and later.
    pub fn open(&self) {
        *self.0.0.lock().expect("gate") = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open; false if `gone`, asked again and again with how long it may wait, says that nobody waits
    /// for the answer any more.
    pub fn pass_unless(&self, mut gone: impl FnMut(Duration) -> bool) -> bool {
        loop {
            if *self.0.0.lock().expect("gate") {
                return true;
            }
            if gone(Duration::from_millis(20)) {
                return false;
            }
        }
    }

    /// Waits until it is open. Gives up after a minute, so that no thread outlives a failed test for long.
    pub fn pass(&self) {
        let shut = self.0.0.lock().expect("gate");
        let _ = self.0.1.wait_timeout_while(shut, Duration::from_secs(60), |open| !*open).expect("gate");
    }
}

/// One connection that an origin accepted, as its script handles it. Every octet read is in the origin's record.
pub struct Conn {
    wire: Wire<Pipe>,
    record: Arc<Record>,
}

impl Conn {
    pub(crate) fn new(pipe: Pipe, record: Arc<Record>) -> Self {
        pipe.tcp().set_nodelay(true).expect("TCP_NODELAY");
        pipe.patience(LONG);
        Self { wire: Wire::new(pipe.recorded(record.clone())), record }
    }

    /// The connection itself, with what of it was read too far, for another protocol.
    pub(crate) fn into_parts(self) -> (Wire<Pipe>, Arc<Record>) {
        (self.wire, self.record)
    }

    /// What it speaks through.
    pub fn pipe(&self) -> &Pipe {
        self.wire.stream()
    }

    /// The next request, whole; `None` once the peer has closed or reset. A malformed one fails the test that asks.
    pub fn request(&mut self) -> Option<Request> {
        let outcome = self.wire.request();
        self.book(outcome)
    }

    /// The head of the next request, its body left unread.
    pub fn request_head(&mut self) -> Option<Request> {
        let outcome = self.wire.request_head();
        self.book(outcome)
    }

    fn book(&self, outcome: Result<Request, Bad>) -> Option<Request> {
        match outcome {
            Ok(request) => {
                self.record.request(request.clone());
                Some(request)
            }
            Err(Bad::Ended | Bad::Io(_)) => None,
            Err(bad) => {
                self.record.malformed(format!("{bad:?}"));
                None
            }
        }
    }

    /// The body of a request whose head was read; false if it never came whole.
    pub fn body(&mut self, request: &mut Request) -> bool {
        self.wire.request_body(request).is_ok()
    }

    /// Exactly `n` octets, if they come.
    pub fn take(&mut self, n: usize) -> Option<Vec<u8>> {
        self.wire.take(n).ok()
    }

    /// Writes octets as they stand; false if the peer has gone.
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> bool {
        self.pipe().write_all(bytes.as_ref()).is_ok()
    }

    /// Writes each part as a segment of its own.
    pub fn send_parts<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> bool {
        parts.into_iter().all(|part| self.send(part))
    }

    /// Waits until the peer ends the connection; says how, `None` if it has not after [`SOON`]. What it sends until
    /// then is read and recorded.
    pub fn ended(&mut self) -> Option<Ended> {
        self.pipe().patience(SOON);
        loop {
            match self.wire.fill() {
                Ok(0) => return Some(Ended::Closed),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Some(Ended::Reset),
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Some(Ended::Cut),
                Err(_) => return None,
            }
        }
    }

    /// Whether nothing arrives within `window`, not even the end.
    pub fn silent_for(&mut self, window: Duration) -> bool {
        self.pipe().patience(window);
        let outcome = self.wire.fill();
        self.pipe().patience(LONG);
        matches!(outcome, Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Sends FIN, with TLS after close_notify, and keeps reading.
    pub fn half_close(&self) {
        let _ = self.pipe().half_close();
    }

    /// Ends with FIN alone, which cuts TLS off.
    pub fn cut(mut self) {
        let _ = self.pipe().cut();
        self.read_away();
    }

    /// Sends RST.
    pub fn reset(self) {
        reset(self.pipe().tcp());
    }

    /// Sends FIN in order, after what was written: everything the peer has sent is read first, because closing over
    /// unread octets would be an RST.
    pub fn close(mut self) {
        self.half_close();
        self.read_away();
    }

    fn read_away(&mut self) {
        self.pipe().patience(Duration::from_secs(1));
        while self.wire.fill().is_ok_and(|n| n > 0) {}
    }
}
