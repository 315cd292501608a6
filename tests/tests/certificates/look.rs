//! A client that looks at what it is shown, OCSP response included, and says which signatures it can check.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use weir_tests::wait::SOON;

/// What a client was shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) certificate: Vec<u8>,
    pub(crate) ocsp: Vec<u8>,
}

/// Shakes hands for a name, knowing these signatures alone.
#[track_caller]
pub(crate) fn look(address: SocketAddr, name: &str, schemes: &[SignatureScheme]) -> Seen {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let eye = Arc::new(Eye { provider: provider.clone(), schemes: schemes.to_vec(), seen: Mutex::default() });
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = builder.dangerous().with_custom_certificate_verifier(eye.clone()).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = TcpStream::connect_timeout(&address, SOON).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).expect("a handshake");
    }
    eye.seen.lock().expect("what was seen").clone()
}

/// The same, knowing what everybody knows.
#[track_caller]
pub(crate) fn glance(address: SocketAddr, name: &str) -> Seen {
    look(address, name, &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256])
}

#[derive(Debug)]
struct Eye {
    provider: Arc<CryptoProvider>,
    schemes: Vec<SignatureScheme>,
    seen: Mutex<Seen>,
}

impl ServerCertVerifier for Eye {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.seen.lock().expect("what is seen") = Seen { certificate: end_entity.to_vec(), ocsp: ocsp.to_vec() };
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
