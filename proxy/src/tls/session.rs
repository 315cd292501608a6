//! A session after its handshake: plaintext in, records out, and back; RFC 8446 section 4.6 and what TLS 1.2 has in its
//! place.

use rustls::SupportedCipherSuite;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;

use super::inbox::Inbox;
use super::record::{HEADER, OVERHEAD, PLAIN_MAX, Protection, content};
use super::{Alert, Version};
use crate::buf::{Chunk, SendBuf, spare_vec};

/// Records in a row that may bring no application data: an update of keys, a ticket, nothing at all.
const IDLE_MAX: u32 = 64;
/// Octets that a handshake message after the handshake may have: a ticket with its nonce and extensions.
const MESSAGE_MAX: usize = 48 << 10;
/// The first octets of a burst go out in records of this size, each of which the peer can use when a packet or three
/// have come; the rest in the largest ones, which cost least.
const SMALL: usize = 4 << 10;
const SMALL_OCTETS: usize = 16 << 10;

/// Types of handshake messages.
mod message {
    pub(super) const NEW_SESSION_TICKET: u8 = 4;
    pub(super) const KEY_UPDATE: u8 = 24;
}

/// What rustls still does: new keys, and tickets of servers.
pub(super) enum Keys {
    /// A server's.
    Server(KernelConnection<ServerConnectionData>),
    /// A client's.
    Client(KernelConnection<ClientConnectionData>),
}

/// Why a session ends before its time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// The peer did what it may not: it is told so.
    Ours(Alert),
    /// The peer says so.
    Theirs(Alert),
}

/// An open session.
pub struct Session {
    sealing: Protection,
    opening: Protection,
    keys: Box<Keys>,
    suite: SupportedCipherSuite,
    inbox: Inbox,
    /// The beginning of a handshake message whose rest is in the records that follow.
    message: Vec<u8>,
    /// Records since the last application data.
    idle: u32,
    /// The peer wants new keys from us before anything else we send.
    update_due: bool,
    /// A warning to be sent before anything else.
    warning_due: Option<Alert>,
    /// The peer has been refused a handshake anew.
    refused: bool,
    /// The peer has said that it sends no more.
    ended: bool,
    /// We have said so.
    closed: bool,
    /// Octets sent since the peer last waited.
    burst: usize,
}

impl Session {
    pub(super) fn new(
        keys: Keys,
        suite: SupportedCipherSuite,
        sealing: Protection,
        opening: Protection,
        received: Vec<u8>,
    ) -> Self {
        let mut inbox = Inbox::default();
        inbox.put(Chunk::from(received));
        Self {
            sealing,
            opening,
            keys: Box::new(keys),
            suite,
            inbox,
            message: Vec::new(),
            idle: 0,
            update_due: false,
            warning_due: None,
            refused: false,
            ended: false,
            closed: false,
            burst: 0,
        }
    }

    /// Takes received octets. All that came before was taken out as far as it went.
    pub fn put(&mut self, octets: Chunk) {
        if !self.ended {
            self.inbox.put(octets);
        }
    }

    /// The next application data; none until more is received.
    ///
    /// # Errors
    /// Why the session is over.
    pub fn take(&mut self) -> Result<Option<Chunk>, Broken> {
        while !self.ended {
            let opening = &self.opening;
            let Some(record) = self.inbox.cut(|start| opening.length(start)).map_err(Broken::Ours)? else { break };
            if let Some(octets) = self.open(record)? {
                self.idle = 0;
                return Ok(Some(octets));
            }
            self.idle += 1;
            if self.idle > IDLE_MAX {
                return Err(Broken::Ours(Alert::UNEXPECTED_MESSAGE));
            }
        }
        Ok(None)
    }

    /// Whether nothing waits to be taken out, not even a part of a record.
    pub fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Whether the peer has said that it sends no more.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// The version spoken.
    pub fn version(&self) -> Version {
        self.opening.version()
    }

    fn open(&mut self, mut record: Chunk) -> Result<Option<Chunk>, Broken> {
        let (kind, plain) = match record.sole_mut() {
            Some(octets) => self.opening.open(octets),
            None => {
                record = Chunk::from(record.to_vec());
                self.opening.open(record.sole_mut().unwrap_or_default())
            }
        }
        .map_err(Broken::Ours)?;
        record.truncate(plain.end);
        record.advance(plain.start);
        // A handshake message's records stand together (RFC 8446 section 5.1).
        if !self.message.is_empty() && kind != content::HANDSHAKE {
            return Err(Broken::Ours(Alert::UNEXPECTED_MESSAGE));
        }
        match kind {
            content::APPLICATION_DATA => return Ok(Some(record).filter(|octets| !octets.is_empty())),
            content::HANDSHAKE => self.handshake(&record).map_err(Broken::Ours)?,
            content::ALERT => self.alerted(&record)?,
            _ => return Err(Broken::Ours(Alert::UNEXPECTED_MESSAGE)),
        }
        Ok(None)
    }

    fn alerted(&mut self, octets: &[u8]) -> Result<(), Broken> {
        const WARNING: u8 = 1;
        let &[level, description] = octets else { return Err(Broken::Ours(Alert::DECODE_ERROR)) };
        match Alert(description) {
            Alert::CLOSE_NOTIFY => self.ended = true,
            Alert::USER_CANCELED => {}
            _ if level == WARNING && self.version() == Version::Tls12 => {}
            alert => return Err(Broken::Theirs(alert)),
        }
        Ok(())
    }

    /// Takes handshake messages, or parts of them.
    fn handshake(&mut self, octets: &[u8]) -> Result<(), Alert> {
        if self.version() == Version::Tls12 {
            // Either side may ask for a handshake anew; neither gets one (RFC 5746 section 4.5 permits that).
            // Once: each refusal is sent without anybody waiting for it, and a peer that reads none could pile them up.
            if std::mem::replace(&mut self.refused, true) {
                return Err(Alert::UNEXPECTED_MESSAGE);
            }
            self.warning_due = Some(Alert::NO_RENEGOTIATION);
            return Ok(());
        }
        self.message.extend_from_slice(octets);
        let mut messages = std::mem::take(&mut self.message);
        let mut at = 0;
        while let Some(length) = message_length(&messages[at..])? {
            let end = at + length;
            let Some(message) = messages.get(at..end) else { break };
            self.heed(message[0], &message[4..], end == messages.len())?;
            at = end;
        }
        messages.drain(..at);
        if octets.is_empty() {
            // RFC 8446 section 5.1: no fragments of nothing.
            return Err(Alert::UNEXPECTED_MESSAGE);
        }
        if !messages.is_empty() {
            self.message = messages;
        }
        Ok(())
    }

    fn heed(&mut self, kind: u8, body: &[u8], last: bool) -> Result<(), Alert> {
        match (kind, &mut *self.keys) {
            (message::KEY_UPDATE, _) if last => self.update_opening(body),
            (message::NEW_SESSION_TICKET, Keys::Client(keys)) => {
                keys.handle_new_session_ticket(body).map_err(|_| Alert::DECODE_ERROR)
            }
            _ => Err(Alert::UNEXPECTED_MESSAGE),
        }
    }

    /// RFC 8446 section 4.6.3.
    fn update_opening(&mut self, body: &[u8]) -> Result<(), Alert> {
        match body {
            [0] => {}
            [1] => self.update_due = true,
            _ => return Err(Alert::DECODE_ERROR),
        }
        let new = match &mut *self.keys {
            Keys::Server(keys) => keys.update_rx_secret(),
            Keys::Client(keys) => keys.update_rx_secret(),
        };
        let new = new.ok().and_then(|new| Protection::new(self.suite, new));
        self.opening = new.ok_or(Alert::INTERNAL_ERROR)?;
        Ok(())
    }

    fn update_sealing(&mut self, out: &mut Vec<u8>) -> Option<()> {
        const NOT_REQUESTED: &[u8] = &[message::KEY_UPDATE, 0, 0, 1, 0];
        self.sealing.seal(content::HANDSHAKE, [NOT_REQUESTED].into_iter(), out)?;
        let new = match &mut *self.keys {
            Keys::Server(keys) => keys.update_tx_secret(),
            Keys::Client(keys) => keys.update_tx_secret(),
        };
        self.sealing = Protection::new(self.suite, new.ok()?)?;
        Some(())
    }

    /// Says first what is due: new keys, a warning.
    fn seal_due(&mut self, out: &mut Vec<u8>) -> Option<()> {
        if let Some(warning) = self.warning_due.take() {
            self.sealing.seal(content::ALERT, [&warning.octets()[..]].into_iter(), out)?;
        }
        let worn = self.sealing.is_worn() && self.version() == Version::Tls13;
        if std::mem::take(&mut self.update_due) || worn {
            self.update_sealing(out)?;
        }
        Some(())
    }

    /// What is due although nothing is to be sent: a refusal that the peer waits for.
    pub fn due(&mut self) -> Option<Vec<u8>> {
        self.warning_due?;
        let mut out = spare_vec();
        self.seal_due(&mut out)?;
        Some(out)
    }

    /// The peer has waited: what is sent next begins with small records.
    pub fn pause(&mut self) {
        self.burst = 0;
    }

    /// Records of all octets; none once its keys are used up.
    pub fn seal(&mut self, octets: &SendBuf) -> Option<Vec<u8>> {
        let records = octets.len() / PLAIN_MAX + 2 + SMALL_OCTETS / SMALL;
        let mut out = spare_vec();
        out.reserve(octets.len() + records * OVERHEAD);
        self.seal_due(&mut out)?;
        let mut parts: Parts<'_> = octets.slices().collect();
        let mut left = octets.len();
        let mut parts = &mut parts[..];
        while left > 0 {
            let count = left.min(self.record_size(left));
            parts = seal_first(&mut self.sealing, parts, count, &mut out)?;
            self.burst = self.burst.saturating_add(count);
            left -= count;
        }
        Some(out)
    }

    fn record_size(&self, left: usize) -> usize {
        // What fits a packet or three is one record anyway.
        if self.burst < SMALL_OCTETS && left > SMALL { SMALL } else { PLAIN_MAX }
    }

    /// The record of an alert; none a second time after close_notify.
    pub fn alert(&mut self, alert: Alert) -> Option<Vec<u8>> {
        if std::mem::replace(&mut self.closed, true) {
            return None;
        }
        let mut out = Vec::with_capacity(2 + OVERHEAD + HEADER);
        self.sealing.seal(content::ALERT, [&alert.octets()[..]].into_iter(), &mut out)?;
        Some(out)
    }
}

type Parts<'a> = smallvec::SmallVec<[&'a [u8]; 8]>;

/// Seals the first `count` octets of `parts` as one record; gives back the parts that are left.
fn seal_first<'s, 'a>(
    sealing: &mut Protection,
    parts: &'s mut [&'a [u8]],
    count: usize,
    out: &mut Vec<u8>,
) -> Option<&'s mut [&'a [u8]]> {
    let (mut whole, mut octets) = (0, 0);
    while octets + parts[whole].len() < count {
        octets += parts[whole].len();
        whole += 1;
    }
    let (first, rest) = parts[whole].split_at(count - octets);
    parts[whole] = first;
    sealing.seal(content::APPLICATION_DATA, parts[..=whole].iter().copied(), out)?;
    parts[whole] = rest;
    Some(&mut parts[whole..])
}

/// The length of the handshake message that begins here, once it can be told.
fn message_length(start: &[u8]) -> Result<Option<usize>, Alert> {
    let Some(&[_, high, middle, low]) = start.first_chunk::<4>() else { return Ok(None) };
    let length = 4 + usize::from(high) * 65536 + usize::from(middle) * 256 + usize::from(low);
    if length > MESSAGE_MAX { Err(Alert::DECODE_ERROR) } else { Ok(Some(length)) }
}

#[cfg(test)]
impl Session {
    /// One record of any kind.
    pub(super) fn seal_one(&mut self, kind: u8, octets: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.sealing.seal(kind, [octets].into_iter(), &mut out).expect("keys");
        out
    }

    /// As if its key had protected nearly all that it may.
    pub(super) fn wear_out(&mut self) {
        self.sealing.wear_out();
    }

    /// As if its peer's had.
    pub(super) fn expect_worn(&mut self) {
        self.opening.wear_out();
    }
}
