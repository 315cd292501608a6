//! Sessions with upstreams: whose certificate is trusted for what, and what is shown there.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificate::{read_chain, read_key};
use super::{Flaw, Handshake, provider};

/// Who vouches for upstreams.
#[derive(Clone, Debug)]
pub enum Authority {
    /// Nobody is asked: any certificate will do.
    Nobody,
    /// These, by what tells two sets apart.
    Roots(Arc<RootCertStore>, [u8; 32]),
}

/// What sessions with the endpoints of a target go by.
pub struct Outgoing {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    terms: Terms,
}

/// What makes sessions interchangeable, compared in full.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Terms {
    /// The name that the certificate must be for, and that is asked for unless it is an address.
    pub name: Box<str>,
    /// A digest of the authorities; none: nobody verifies.
    pub authority: Option<[u8; 32]>,
    /// A digest of the chain and the key that are shown.
    pub shown: Option<[u8; 32]>,
    /// The protocols offered, the preferred one first.
    pub alpn: Vec<Vec<u8>>,
}

/// A chain and its key, both PEM.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// The certificate, and those between it and its authority after it.
    pub chain: &'a [u8],
    /// Its private key.
    pub key: &'a [u8],
}

impl Authority {
    /// Those of a file of certificates in PEM.
    ///
    /// # Errors
    /// It holds none that can be used.
    pub fn of_file(pem: &[u8]) -> Result<Self, Flaw> {
        let mut roots = RootCertStore::empty();
        for certificate in read_chain(pem).map_err(|flaw| Flaw { key: "ca", ..flaw })? {
            roots.add(certificate).map_err(|error| Flaw::new("ca", format!("holds an unusable one: {error}")))?;
        }
        match roots.is_empty() {
            true => Err(Flaw::new("ca", "holds no certificate")),
            false => Ok(Self::Roots(Arc::new(roots), digest([pem]))),
        }
    }

    /// The machine's own. Reads files.
    ///
    /// # Errors
    /// There are none.
    pub fn of_system() -> Result<Self, Flaw> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs.iter().cloned());
        match roots.is_empty() {
            true => Err(Flaw::new("ca", "is needed: this machine has no authorities of its own")),
            false => Ok(Self::Roots(Arc::new(roots), digest(found.certs.iter().map(|one| &**one)))),
        }
    }

    fn digest(&self) -> Option<[u8; 32]> {
        match self {
            Self::Nobody => None,
            Self::Roots(_, digest) => Some(*digest),
        }
    }
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

impl Outgoing {
    /// With servers of this name, a host name or an address without brackets.
    ///
    /// # Errors
    /// What is of no use, by its key in `[route.target.tls]`.
    pub fn build(name: &str, authority: &Authority, own: Option<Own<'_>>, alpn: Vec<Vec<u8>>) -> Result<Self, Flaw> {
        let server = ServerName::try_from(name.to_owned());
        let server = server.map_err(|_| Flaw::new("server_name", "is neither a host name nor an address"))?;
        let shown = own.map(|own| digest([own.chain, own.key]));
        let terms = Terms { name: name.into(), authority: authority.digest(), shown, alpn };
        let config = config(authority, own, &terms.alpn)?;
        Ok(Self { config: Arc::new(config), name: server, terms })
    }

    /// What makes its sessions interchangeable with another's.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What every session goes by.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Whom they are with.
    pub fn name(&self) -> &ServerName<'static> {
        &self.name
    }

    /// A new session.
    ///
    /// # Errors
    /// None can begin.
    pub fn handshake(&self) -> Result<Handshake, Error> {
        Handshake::client(self.config.clone(), self.name.clone())
    }
}

fn config(authority: &Authority, own: Option<Own<'_>>, alpn: &[Vec<u8>]) -> Result<ClientConfig, Flaw> {
    let unusable = |error: &dyn fmt::Display| Flaw::new("ca", format!("cannot be used: {error}"));
    let verifier: Arc<dyn ServerCertVerifier> = match authority {
        Authority::Nobody => Arc::new(Unverified(provider().signature_verification_algorithms)),
        Authority::Roots(roots, _) => WebPkiServerVerifier::builder_with_provider(roots.clone(), provider())
            .build()
            .map_err(|error| unusable(&error))?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = read_chain(own.chain).map_err(|flaw| Flaw { key: "client_cert", ..flaw })?;
            let key = read_key(own.key).map_err(|flaw| Flaw { key: "client_key", ..flaw })?;
            let built = builder.with_client_auth_cert(chain, key);
            built.map_err(|error| Flaw::new("client_cert", format!("cannot be used: {error}")))?
        }
    };
    config.alpn_protocols = alpn.to_vec();
    // The record layer is our own.
    config.enable_secret_extraction = true;
    Ok(config)
}

impl PartialEq for Outgoing {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.terms == other.terms
    }
}

impl Eq for Outgoing {}

impl Hash for Outgoing {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.terms.hash(state);
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.terms.fmt(f)
    }
}

/// Takes any certificate; that the peer has its key is checked all the same.
#[derive(Debug)]
struct Unverified(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
