//! A handshake, which is rustls's: octets in, octets out, until there is a session.
//!
//! rustls is shown one record at a time, so that it never touches what comes after the handshake: that is the record
//! layer's.

use std::rc::Rc;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{CipherSuite, ClientConfig, CommonState, Error, HandshakeKind, ProtocolVersion, ServerConfig};

use super::record::{HEADER, Protection};
use super::session::{Keys, Session};
use super::{Agreed, Alert, Version};

/// Octets that may wait for a message to be whole: rustls takes none longer than 64 KiB, in records of any size.
const RECEIVED_MAX: usize = 160 << 10;

/// Records that a handshake may take: each one that holds a part of a message costs as much as all before it.
const RECORDS_MAX: usize = 1024;

/// A handshake under way.
pub struct Handshake {
    side: Side,
    received: Vec<u8>,
    /// Octets of `received` that are whole records which rustls has been shown.
    whole: usize,
    /// The same with a part of the next one, which it may refuse by its first octets.
    shown: usize,
    /// Whole records that it has been shown.
    records: usize,
    /// Something was sent.
    answered: bool,
}

enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// Where it stands once all that was received is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stand {
    /// More octets are needed.
    Waiting,
    /// It is over: see [`Handshake::finish`].
    Done,
}

enum Turn {
    Again,
    Blocked,
}

impl Handshake {
    /// A server's, with what was received already.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn server(config: Arc<ServerConfig>, received: Vec<u8>) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self { side: Side::Server(Box::new(connection)), received, whole: 0, shown: 0, records: 0, answered: false })
    }

    /// A client's with a server of this name.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        Ok(Self {
            side: Side::Client(Box::new(connection)),
            received: Vec::new(),
            whole: 0,
            shown: 0,
            records: 0,
            answered: false,
        })
    }

    /// Takes received octets.
    pub fn put(&mut self, octets: &[u8]) {
        self.received.extend_from_slice(octets);
    }

    /// Goes as far as the received octets go; what is to be sent is appended to `out`, also after an error.
    ///
    /// # Errors
    /// Why there will be no session.
    pub fn advance(&mut self, out: &mut Vec<u8>) -> Result<Stand, Error> {
        loop {
            match self.turn(out) {
                Ok(Turn::Again) => {}
                Ok(Turn::Blocked) if !self.common().is_handshaking() => return Ok(Stand::Done),
                Ok(Turn::Blocked) if self.received.len() > RECEIVED_MAX || self.records > RECORDS_MAX => {
                    return Err(self.too_long(out));
                }
                Ok(Turn::Blocked) if !self.show_more() => return Ok(Stand::Waiting),
                Ok(Turn::Blocked) => {}
                Err(error) => {
                    // The alert that tells of it.
                    while self.common().wants_write() && self.turn(out).is_ok() {}
                    return Err(error);
                }
            }
        }
    }

    fn too_long(&self, out: &mut Vec<u8>) -> Error {
        // Who has been answered has keys by now, with which nothing can be said any more.
        if !self.answered {
            out.extend_from_slice(&Alert::DECODE_ERROR.plain_record());
        }
        Error::General("the handshake's messages are too long".to_owned())
    }

    /// Lets rustls see the next record, or as much of it as there is. False: it has seen all.
    fn show_more(&mut self) -> bool {
        let rest = self.received.get(self.whole..).unwrap_or_default();
        let length = rest.first_chunk::<HEADER>().map(|header| u16::from_be_bytes([header[3], header[4]]));
        let before = self.shown;
        match length.map(|length| HEADER + usize::from(length)) {
            Some(length) if length <= rest.len() => {
                self.whole += length;
                self.records += 1;
                self.shown = self.whole;
                true
            }
            _ => {
                self.shown = self.received.len();
                self.shown > before
            }
        }
    }

    fn turn(&mut self, out: &mut Vec<u8>) -> Result<Turn, Error> {
        let shown = &mut self.received[..self.shown];
        let (discard, turn) = match &mut self.side {
            Side::Server(connection) => settle(connection.process_tls_records(shown), out),
            Side::Client(connection) => settle(connection.process_tls_records(shown), out),
        };
        self.answered |= !out.is_empty();
        self.received.drain(..discard);
        self.whole = self.whole.saturating_sub(discard);
        self.shown -= discard;
        turn
    }

    fn common(&self) -> &CommonState {
        match &self.side {
            Side::Server(connection) => connection,
            Side::Client(connection) => connection,
        }
    }

    /// The session, and what was agreed on; `sni` is what the client asked for.
    ///
    /// # Errors
    /// There is none yet, or its keys may not leave rustls by the configuration.
    pub fn finish(self, sni: Option<Box<str>>) -> Result<(Session, Agreed), Error> {
        let agreed = agreed(self.common(), sni)?;
        // A message that begins before the end of the handshake and ends behind it would be read with two keys.
        if self.whole > 0 {
            return Err(Error::General("octets are left of the handshake".to_owned()));
        }
        let (suite, secrets, keys) = match self.side {
            Side::Server(connection) => {
                let (secrets, keys) = connection.dangerous_into_kernel_connection()?;
                (keys.negotiated_cipher_suite(), secrets, Keys::Server(keys))
            }
            Side::Client(connection) => {
                let (secrets, keys) = connection.dangerous_into_kernel_connection()?;
                (keys.negotiated_cipher_suite(), secrets, Keys::Client(keys))
            }
        };
        let unknown = || Error::General("the cipher suite is not known".to_owned());
        let sealing = Protection::new(suite, secrets.tx).ok_or_else(unknown)?;
        let opening = Protection::new(suite, secrets.rx).ok_or_else(unknown)?;
        Ok((Session::new(keys, suite, sealing, opening, self.received), agreed))
    }
}

/// Does what rustls asks for; how many of the shown octets it needs no more.
fn settle<Data>(status: UnbufferedStatus<'_, '_, Data>, out: &mut Vec<u8>) -> (usize, Result<Turn, Error>) {
    let turn = status.state.and_then(|state| match state {
        ConnectionState::EncodeTlsData(data) => encode(data, out).map(|()| Turn::Again),
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Turn::Again)
        }
        ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => Ok(Turn::Blocked),
        _ => Err(Error::General("the peer ended the handshake".to_owned())),
    });
    (status.discard, turn)
}

fn encode<Data>(mut data: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), Error> {
    let start = out.len();
    let mut room = 0;
    loop {
        out.resize(start + room, 0);
        match data.encode(&mut out[start..]) {
            Ok(count) => {
                out.truncate(start + count);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) if size.required_size > room => room = size.required_size,
            Err(error) => return Err(Error::General(error.to_string())),
        }
    }
}

fn agreed(common: &CommonState, sni: Option<Box<str>>) -> Result<Agreed, Error> {
    let version = match common.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
        Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
        _ => return Err(Error::HandshakeNotComplete),
    };
    Ok(Agreed {
        version,
        cipher: common.negotiated_cipher_suite().map_or("", |suite| cipher_name(suite.suite())),
        alpn: common.alpn_protocol().map(Box::from),
        resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        sni,
        certificate: common.peer_certificates().and_then(<[_]>::first).map(|der| Rc::from(&**der)),
    })
}

/// The names in IANA's registry of the suites that are spoken.
fn cipher_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or(""),
    }
}

/// What a handshake failed by, as far as somebody can do something about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// The peers speak no version in common.
    Version,
    /// The peers speak no application protocol in common.
    Alpn,
    /// The peer's certificate is missing, or is not trusted for what it is shown for.
    Certificate,
    /// Anything else.
    Other,
}

impl From<&Error> for Cause {
    fn from(error: &Error) -> Self {
        use rustls::PeerIncompatible as No;
        match error {
            Error::PeerIncompatible(
                No::SupportedVersionsExtensionRequired
                | No::Tls12NotOffered
                | No::Tls12NotOfferedOrEnabled
                | No::Tls13RequiredForQuic
                | No::ServerDoesNotSupportTls12Or13
                | No::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::Version,
            Error::NoApplicationProtocol => Self::Alpn,
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) | Error::InvalidCertRevocationList(_) => {
                Self::Certificate
            }
            Error::PeerMisbehaved(rustls::PeerMisbehaved::SelectedUnofferedApplicationProtocol) => Self::Alpn,
            Error::AlertReceived(alert) => Self::from(*alert),
            _ => Self::Other,
        }
    }
}

impl From<rustls::AlertDescription> for Cause {
    /// What the peer says of why it ends the handshake.
    fn from(alert: rustls::AlertDescription) -> Self {
        use rustls::AlertDescription as Alert;
        match alert {
            Alert::ProtocolVersion => Self::Version,
            Alert::NoApplicationProtocol => Self::Alpn,
            _ => Self::Other,
        }
    }
}
