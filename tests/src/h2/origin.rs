//! An HTTP/2 origin's side of a connection: greets, reads requests, answers as its script says.

use std::sync::Arc;
use std::time::Duration;

use super::fields::Message;
use super::frame::Frame;
use super::peer::{End, Peer};
use super::state::Role;
use super::{PREFACE, hpack};
use crate::message::{Fields, Request};
use crate::origin::Record;
use crate::script;

/// How long a script may wait for anything.
const LONG: Duration = Duration::from_secs(60);

/// One connection that an origin accepted.
pub struct Conn {
    peer: Peer,
    record: Arc<Record>,
    given: Vec<u32>,
}

impl Conn {
    /// Speaks HTTP/2 on a connection of [`crate::Origin`]: reads the client's preface and sends these settings.
    /// `None` if the client says something else, or goes.
    pub fn greet(conn: script::Conn, settings: &[(u16, u32)]) -> Option<Self> {
        let (mut wire, record) = conn.into_parts();
        let spoken = wire.take(PREFACE.len()).ok()?;
        if spoken != PREFACE {
            record.malformed(format!("no preface: {}", spoken.escape_ascii()));
            return None;
        }
        let mut peer = Peer::on(wire, Role::Server);
        peer.try_send([Frame::settings(settings)]).ok()?;
        Some(Self { peer, record, given: Vec::new() })
    }

    /// The end of the connection itself, for frames by hand.
    pub fn peer(&mut self) -> &mut Peer {
        &mut self.peer
    }

    /// The next request that is whole, whichever it is, and its stream; `None` once the client has gone. What breaks
    /// the protocol fails the test that asks for what was malformed.
    pub fn request(&mut self) -> Option<(u32, Request)> {
        let (stream, request) = self.next(|message| message.ended)?;
        self.note(request.clone());
        Some((stream, request))
    }

    /// The head of the next request, its body left to come; what the origin's record holds of it is told by
    /// [`Conn::note`].
    pub fn request_head(&mut self) -> Option<(u32, Request)> {
        self.next(Message::has_head)
    }

    /// Puts a request into the origin's record.
    pub fn note(&self, request: Request) {
        self.record.request(request);
    }

    fn next(&mut self, ready: impl Fn(&Message) -> bool) -> Option<(u32, Request)> {
        loop {
            let fresh = self.peer.streams().into_iter().filter(|stream| !self.given.contains(stream));
            let found = fresh.map(|stream| (stream, self.peer.message(stream))).find(|(_, message)| ready(message));
            if let Some((stream, message)) = found {
                self.given.push(stream);
                return Some((stream, request(message)));
            }
            self.read()?;
        }
    }

    /// Reads until a stream's request is whole; `None` if it never is.
    pub fn body(&mut self, stream: u32) -> Option<Request> {
        loop {
            let message = self.peer.message(stream);
            if message.is_over() {
                return message.ended.then(|| request(message));
            }
            self.read()?;
        }
    }

    /// Waits until a stream is reset, and says with what; `None` if the connection ends before.
    pub fn reset(&mut self, stream: u32) -> Option<u32> {
        loop {
            if let Some(code) = self.peer.message(stream).reset {
                return Some(code);
            }
            self.read()?;
        }
    }

    /// Whether a stream is reset, or the connection over, within `window`.
    pub fn is_reset(&mut self, stream: u32, window: Duration) -> bool {
        self.peer.patience(window);
        let outcome = self.peer.try_until(|peer, _| peer.message(stream).reset.is_some());
        self.peer.patience(LONG);
        self.peer.message(stream).reset.is_some() || matches!(outcome, Err(End::Ended(_)))
    }

    /// One frame more.
    pub fn read(&mut self) -> Option<Frame> {
        match self.peer.read() {
            Ok(frame) => Some(frame),
            Err(End::Broken(what)) => {
                self.record.malformed(what);
                None
            }
            Err(_) => None,
        }
    }

    /// Sends a head; `end` ends the response.
    pub fn head(&mut self, stream: u32, status: u16, fields: &[(&str, &str)], end: bool) -> bool {
        let status = status.to_string();
        let fields = [&[(":status", status.as_str())], fields].concat();
        self.peer.try_send([Frame::headers(stream, hpack::block(&fields), end)]).is_ok()
    }

    /// Sends a body, or a part of it, as the windows let it through; false if the client wants no more.
    pub fn send(&mut self, stream: u32, body: impl AsRef<[u8]>, end: bool) -> bool {
        self.peer.send_body(stream, body.as_ref(), end)
    }

    /// Sends trailers, which end the response.
    pub fn trailers(&mut self, stream: u32, fields: &[(&str, &str)]) -> bool {
        self.peer.try_send([Frame::headers(stream, hpack::block(fields), true)]).is_ok()
    }

    /// Answers with a whole response.
    pub fn answer(&mut self, stream: u32, status: u16, fields: &[(&str, &str)], body: impl AsRef<[u8]>) -> bool {
        let body = body.as_ref();
        let length = body.len().to_string();
        let fields = [fields, &[("content-length", length.as_str())]].concat();
        self.head(stream, status, &fields, body.is_empty()) && (body.is_empty() || self.send(stream, body, true))
    }
}

/// A request in the words of HTTP/1: `:authority` is its Host.
fn request(message: Message) -> Request {
    let pseudo = |name| message.fields.first(name).unwrap_or_default().to_owned();
    let named = |(name, value): &(String, String)| match name.as_str() {
        ":authority" => Some(("host".to_owned(), value.clone())),
        // What RFC 8441 adds has no word of its own there.
        name if name.starts_with(':') && name != ":protocol" && name != ":scheme" => None,
        _ => Some((name.clone(), value.clone())),
    };
    Request {
        method: pseudo(":method"),
        target: pseudo(":path"),
        version: "HTTP/2".into(),
        fields: Fields(message.fields.0.iter().filter_map(named).collect()),
        body: message.body,
        trailers: message.trailers,
    }
}
