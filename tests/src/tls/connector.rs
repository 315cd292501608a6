//! Who dials with TLS, and who answers.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ServerConfig, ServerConnection, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use super::{Authority, Identity, Pipe, provider};
use crate::wait::SOON;

/// A client of TLS: what it trusts, offers and shows. Its clones and its connections share one store of sessions.
#[derive(Clone)]
pub struct Connector {
    name: String,
    roots: Option<RootCertStore>,
    alpn: Vec<Vec<u8>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    identity: Option<(CertificateDer<'static>, Arc<Identity>)>,
    sni: bool,
    resumption: bool,
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

impl Connector {
    /// Asks for a name, trusts everybody, offers no protocol.
    pub fn to(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            roots: None,
            alpn: Vec::new(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            identity: None,
            sni: true,
            resumption: true,
            config: Arc::default(),
        }
    }

    /// Trusts this authority alone.
    pub fn trusting(mut self, authority: &Authority) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).expect("an authority");
        self.roots = Some(roots);
        self.changed()
    }

    /// Offers these protocols.
    pub fn offering(mut self, alpn: &[&str]) -> Self {
        self.alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        self.changed()
    }

    /// Speaks this version alone.
    pub fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self.changed()
    }

    /// Shows a certificate when asked.
    pub fn showing(mut self, identity: Identity) -> Self {
        self.identity = Some((identity.der(), Arc::new(identity)));
        self.changed()
    }

    /// Names nobody in its first message.
    pub fn without_sni(mut self) -> Self {
        self.sni = false;
        self.changed()
    }

    /// Resumes nothing.
    pub fn without_resumption(mut self) -> Self {
        self.resumption = false;
        self.changed()
    }

    /// The same for another name, with the same sessions.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    fn changed(mut self) -> Self {
        self.config = Arc::default();
        self
    }

    /// Connects and shakes hands. An error of TLS is within the `io::Error`.
    pub fn connect(&self, address: SocketAddr) -> io::Result<Pipe> {
        let stream = TcpStream::connect_timeout(&address, SOON)?;
        self.secure(stream)
    }

    /// Shakes hands on a connection that the test made.
    pub fn secure(&self, stream: TcpStream) -> io::Result<Pipe> {
        let name = ServerName::try_from(self.name.clone()).expect("a name");
        let connection = ClientConnection::new(self.config(), name).map_err(io::Error::other)?;
        Pipe::handshake(stream, connection.into())
    }

    fn config(&self) -> Arc<ClientConfig> {
        self.config.get_or_init(|| Arc::new(self.build())).clone()
    }

    fn build(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(&self.versions).expect("versions");
        let builder = match &self.roots {
            Some(roots) => builder.with_root_certificates(roots.clone()),
            None => builder.dangerous().with_custom_certificate_verifier(Arc::new(Trusting)),
        };
        let mut config = match &self.identity {
            Some((chain, identity)) => {
                builder.with_client_auth_cert(vec![chain.clone()], identity.key()).expect("a certificate with its key")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.clone();
        config.enable_sni = self.sni;
        if !self.resumption {
            config.resumption = Resumption::disabled();
        }
        config
    }
}

/// The origin's side: one certificate, and whose certificates clients must show.
#[derive(Clone)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Shows a certificate, takes these protocols.
    #[track_caller]
    pub fn new(identity: &Identity, alpn: &[&str]) -> Self {
        Self::build(identity, alpn, None)
    }

    /// The same, and asks clients for a certificate of an authority.
    #[track_caller]
    pub fn demanding(identity: &Identity, alpn: &[&str], authority: &Authority) -> Self {
        Self::build(identity, alpn, Some(authority))
    }

    fn build(identity: &Identity, alpn: &[&str], authority: Option<&Authority>) -> Self {
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().expect("versions");
        let builder = match authority {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der()).expect("an authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let config = builder.with_single_cert(vec![identity.der()], identity.key());
        let mut config = config.expect("a certificate with its key");
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }

    /// Shakes hands with who has connected.
    pub fn accept(&self, stream: TcpStream) -> io::Result<Pipe> {
        let connection = ServerConnection::new(self.0.clone()).map_err(io::Error::other)?;
        Pipe::handshake(stream, connection.into())
    }
}

/// Takes every certificate, but not every signature.
struct Trusting;

impl fmt::Debug for Trusting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trusting")
    }
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = provider();
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signed,
            &provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let provider = provider();
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signed,
            &provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
