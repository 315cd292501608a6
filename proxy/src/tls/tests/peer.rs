//! The other end: rustls with its own record layer, or a session of ours.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConnection, Connection, ServerConnection};

use super::*;
use crate::buf::Chunk;

/// The suites that an ECDSA key can sign for.
pub(super) fn suites() -> Vec<SupportedCipherSuite> {
    let rsa = |suite: &SupportedCipherSuite| format!("{:?}", suite.suite()).contains("_RSA_");
    provider().cipher_suites.iter().copied().filter(|suite| !rsa(suite)).collect()
}

fn only(suite: SupportedCipherSuite) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: vec![suite], ..(*provider()).clone() })
}

/// A server's configuration for this suite alone.
pub(super) fn config_of(suite: SupportedCipherSuite, alpn: &[&[u8]]) -> Arc<ServerConfig> {
    let certified = rcgen::generate_simple_self_signed(["a.test".to_owned()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()).into();
    let mut config = ServerConfig::builder_with_provider(only(suite))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("a key");
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.enable_secret_extraction = true;
    Arc::new(config)
}

/// A client's configuration, which takes what the server chooses.
pub(super) fn outgoing(alpn: &[&[u8]]) -> Outgoing {
    let alpn = alpn.iter().map(|name| name.to_vec()).collect();
    Outgoing::build("a.test", &Authority::Nobody, None, alpn).expect("a configuration")
}

/// rustls, the other end.
pub(super) struct Peer {
    session: Connection,
    plain: Vec<u8>,
    is_closed: bool,
}

impl From<Connection> for Peer {
    fn from(session: Connection) -> Self {
        Self { session, plain: Vec::new(), is_closed: false }
    }
}

impl Peer {
    pub(super) fn client() -> Self {
        let config: Arc<ClientConfig> = outgoing(&[]).config().clone();
        let name = ServerName::try_from("a.test").expect("a name");
        Self::from(Connection::from(ClientConnection::new(config, name).expect("a client")))
    }

    fn server(suite: SupportedCipherSuite) -> Self {
        Self::from(Connection::from(ServerConnection::new(config_of(suite, &[])).expect("a server")))
    }

    /// What it has to say.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut out).expect("memory");
        }
        out
    }

    pub(super) fn put(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            self.session.read_tls(&mut octets).expect("memory");
            self.session.process_new_packets().expect("records that rustls takes");
            self.read();
        }
    }

    fn read(&mut self) {
        use std::io::Read;
        let mut some = [0; 4096];
        while let Ok(count) = self.session.reader().read(&mut some) {
            self.plain.extend_from_slice(&some[..count]);
            if count == 0 {
                self.is_closed = true;
                return;
            }
        }
    }

    /// The records of octets.
    pub(super) fn say(&mut self, mut octets: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut out = self.take();
        while !octets.is_empty() {
            let taken = self.session.writer().write(octets).expect("memory");
            octets = &octets[taken..];
            out.extend(self.take());
        }
        out
    }

    /// What it has read.
    pub(super) fn plain(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.plain)
    }

    pub(super) fn renew_keys(&mut self) {
        self.session.refresh_traffic_keys().expect("TLS 1.3");
    }

    pub(super) fn close(&mut self) -> Vec<u8> {
        self.session.send_close_notify();
        self.take()
    }

    /// Whether its peer has said that it sends no more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }
}

fn run(mut handshake: Handshake, peer: &mut Peer) -> (Session, Agreed) {
    loop {
        let mut out = Vec::new();
        let stand = handshake.advance(&mut out).expect("agreement");
        peer.put(&out);
        if stand == Stand::Done {
            return handshake.finish(Some("a.test".into())).expect("a session");
        }
        handshake.put(&peer.take());
    }
}

/// A server's session, and its client.
pub(super) fn accept(suite: SupportedCipherSuite) -> (Session, Peer) {
    let mut peer = Peer::client();
    let handshake = Handshake::server(config_of(suite, &[]), peer.take()).expect("a configuration");
    let (session, _) = run(handshake, &mut peer);
    (session, peer)
}

/// A client's session, and its server.
pub(super) fn connect(suite: SupportedCipherSuite) -> (Session, Peer) {
    let mut peer = Peer::server(suite);
    let (mut session, _) = run(outgoing(&[]).handshake().expect("a configuration"), &mut peer);
    // What the server sends after its handshake.
    session.put(Chunk::from(peer.take()));
    assert!(taken(&mut session).is_empty());
    (session, peer)
}

/// Both ends of a session, both ours, and what each takes it to be.
pub(super) struct Ends {
    pub(super) server: Session,
    pub(super) client: Session,
    pub(super) agreed: (Agreed, Agreed),
}

/// A handshake whose octets come in parts of `size`.
pub(super) fn shake(suite: SupportedCipherSuite, alpn: &[&[u8]], size: usize) -> Ends {
    shake_with(&config_of(suite, alpn), &outgoing(alpn), size)
}

pub(super) fn shake_with(config: &Arc<ServerConfig>, outgoing: &Outgoing, size: usize) -> Ends {
    let mut client = outgoing.handshake().expect("a configuration");
    let mut server = Handshake::server(config.clone(), Vec::new()).expect("a configuration");
    let mut to_server = Vec::new();
    let mut client_stand = client.advance(&mut to_server).expect("agreement");
    let mut late = Vec::new();
    loop {
        let mut to_client = Vec::new();
        let server_stand = pass(&mut server, &to_server, size, &mut to_client);
        match client_stand {
            Stand::Waiting => {
                to_server.clear();
                client_stand = pass(&mut client, &to_client, size, &mut to_server);
            }
            Stand::Done => late.extend(to_client),
        }
        if server_stand == Stand::Done && client_stand == Stand::Done {
            break;
        }
    }
    let (server, server_agreed) = server.finish(Some("a.test".into())).expect("a session");
    let (mut client, client_agreed) = client.finish(None).expect("a session");
    client.put(Chunk::from(late));
    assert!(taken(&mut client).is_empty());
    Ends { server, client, agreed: (server_agreed, client_agreed) }
}

/// Gives octets part by part, until the handshake is over; the rest is left to be found in the session.
fn pass(to: &mut Handshake, octets: &[u8], size: usize, out: &mut Vec<u8>) -> Stand {
    let mut stand = Stand::Waiting;
    for part in octets.chunks(size.min(octets.len().max(1))) {
        to.put(part);
        if stand == Stand::Waiting {
            stand = to.advance(out).expect("agreement");
        }
    }
    stand
}

/// Octets go both ways.
pub(super) fn both(mut server: Session, mut client: Session) {
    for (from, to) in [(0, b"from the server"), (1, b"from the client")] {
        let (from, into) = if from == 0 { (&mut server, &mut client) } else { (&mut client, &mut server) };
        into.put(Chunk::from(from.seal(&send(to)).expect("keys")));
        assert_eq!(taken(into), to);
    }
}
