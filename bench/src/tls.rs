//! What both programs say in TLS: the generator trusts everybody, the origin shows a certificate of its own making or
//! a given one.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};

/// What the generator speaks within https.
#[derive(clap::Args, Clone)]
pub(crate) struct ClientOptions {
    /// TLS 1.2 and nothing newer.
    #[arg(long)]
    tls12: bool,
    /// Sessions are resumed where a connection is not the first.
    #[arg(long)]
    resume: bool,
    /// The name asked for, in place of the URL's host.
    #[arg(long)]
    server_name: Option<String>,
}

/// What the origin speaks.
#[derive(clap::Args, Clone)]
pub(crate) struct ServerOptions {
    /// TLS; without --cert with a certificate that lives as long as the process.
    #[arg(long)]
    tls: bool,
    /// A certificate chain (PEM).
    #[arg(long, requires = "key", requires = "tls")]
    cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl ClientOptions {
    /// The config for these protocols, and the name that `host` is asked by.
    pub(crate) fn build(&self, host: &str, alpn: &[&str]) -> Result<(Arc<ClientConfig>, ServerName<'static>), String> {
        let versions: &[_] = if self.tls12 { &[&rustls::version::TLS12] } else { rustls::DEFAULT_VERSIONS };
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions);
        let builder = builder.map_err(|e| e.to_string())?.dangerous();
        let mut config = builder.with_custom_certificate_verifier(Arc::new(Trusting(provider()))).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.resumption = if self.resume { Resumption::in_memory_sessions(4096) } else { Resumption::disabled() };
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name.clone()).map_err(|e| format!("{name}: {e}"))?;
        Ok((Arc::new(config), name))
    }
}

impl ServerOptions {
    /// The config for these protocols; `None` without TLS.
    pub(crate) fn build(&self, alpn: &[&str]) -> Result<Option<Arc<ServerConfig>>, String> {
        if !self.tls {
            return Ok(None);
        }
        let (chain, key) = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
                let chain = chain.map_err(|e| format!("{}: {e}", cert.display()))?;
                (chain, PrivateKeyDer::from_pem_file(key).map_err(|e| format!("{}: {e}", key.display()))?)
            }
            _ => {
                let identity = weir_tests::tls::Authority::new().certify(&["localhost", "127.0.0.1"]);
                (vec![identity.der()], identity.key())
            }
        };
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| e.to_string())?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(|e| e.to_string())?;
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Some(Arc::new(config)))
    }
}

/// Takes every certificate: what is measured is not whom to trust. Signatures are checked, for they cost time.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

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
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
