//! A connection that carries octets as they are, or within TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, Connection, HandshakeKind, ProtocolVersion};

use crate::origin::Record;
use crate::wait::SOON;

/// What both sides agreed on.
#[derive(Clone, Debug)]
pub struct Session {
    /// The version.
    pub version: ProtocolVersion,
    /// The cipher.
    pub cipher: CipherSuite,
    /// The protocol within.
    pub alpn: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The certificates that the peer has shown; none where a session was resumed without.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// One connection.
pub struct Pipe {
    stream: TcpStream,
    tls: Option<Mutex<Connection>>,
    record: Option<Arc<Record>>,
}

impl Pipe {
    /// Octets as they are.
    pub fn plain(stream: TcpStream) -> Self {
        Self { stream, tls: None, record: None }
    }

    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, SOON)?;
        stream.set_nodelay(true)?;
        Ok(Self::plain(stream))
    }

    /// Shakes hands first.
    pub(super) fn handshake(stream: TcpStream, mut tls: Connection) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut &stream)?;
        }
        // The last flight.
        flush(&mut tls, &stream)?;
        Ok(Self { stream, tls: Some(Mutex::new(tls)), record: None })
    }

    /// The same with what is read from it noted in an origin's record.
    pub(crate) fn recorded(mut self, record: Arc<Record>) -> Self {
        self.record = Some(record);
        self
    }

    /// The socket below.
    pub fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    /// Sets the deadline of later reads and writes.
    pub fn patience(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a receive timeout");
        self.stream.set_write_timeout(Some(limit)).expect("a send timeout");
    }

    /// What both sides agreed on, with TLS.
    pub fn session(&self) -> Option<Session> {
        let tls = self.tls.as_ref()?.lock().expect("TLS");
        Some(Session {
            version: tls.protocol_version()?,
            cipher: tls.negotiated_cipher_suite()?.suite(),
            alpn: tls.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
            certificates: tls
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|one| one.clone().into_owned())
                .collect(),
        })
    }

    /// Writes all of it.
    pub fn write_all(&self, octets: &[u8]) -> io::Result<()> {
        let mut stream = &self.stream;
        let Some(tls) = &self.tls else { return stream.write_all(octets) };
        let mut tls = tls.lock().expect("TLS");
        let mut rest = octets;
        while !rest.is_empty() {
            let taken = tls.writer().write(rest)?;
            rest = &rest[taken..];
            flush(&mut tls, stream)?;
        }
        Ok(())
    }

    /// Waits until the peer has taken all that was written out of its socket, if the kernel tells.
    pub fn wait_taken(&self) {
        crate::process::wait_taken(&self.stream);
    }

    /// Ends what is written, in order: close_notify, then FIN.
    pub fn half_close(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            let mut tls = tls.lock().expect("TLS");
            tls.send_close_notify();
            flush(&mut tls, &self.stream)?;
        }
        self.cut()
    }

    /// Ends what is written with FIN alone, which cuts TLS off.
    pub fn cut(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Reads: 0 is an end in order; with TLS, an end without close_notify is `UnexpectedEof`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = &self.stream;
        let length = match &self.tls {
            None => stream.read(buffer)?,
            Some(tls) => decrypted(&mut tls.lock().expect("TLS"), stream, buffer)?,
        };
        if let Some(record) = &self.record {
            record.octets(&buffer[..length]);
        }
        Ok(length)
    }
}

fn decrypted(tls: &mut Connection, mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
        tls.read_tls(&mut stream)?;
        let outcome = tls.process_new_packets();
        // Alerts, answers to key updates; a peer that has gone is told by the next read.
        let _ = flush(tls, stream);
        outcome.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    }
}

fn flush(tls: &mut Connection, mut stream: &TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut stream)?;
    }
    Ok(())
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receive(buffer)
    }
}
