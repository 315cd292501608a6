//! One certificate that a listener shows: its chain, its key, its names, and what its authority says of it.

use std::ops::RangeInclusive;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::{Names, ocsp, provider};

/// What of the material of a certificate is of no use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flaw {
    /// The key of the document that names it.
    pub key: &'static str,
    /// Why: a clause without the name.
    pub why: String,
}

impl Flaw {
    pub(super) fn new(key: &'static str, why: impl Into<String>) -> Self {
        Self { key, why: why.into() }
    }
}

/// A certificate, ready to be shown.
#[derive(Debug)]
pub struct Certificate {
    bare: Arc<CertifiedKey>,
    stapled: Option<Stapled>,
    names: Names,
    serial: Vec<u8>,
    valid: RangeInclusive<i64>,
    generated: bool,
}

/// The same with the word of its authority, and until when that holds.
#[derive(Debug)]
struct Stapled {
    key: Arc<CertifiedKey>,
    good: RangeInclusive<i64>,
}

impl Certificate {
    /// Reads a chain and its key, both PEM.
    ///
    /// # Errors
    /// What is of no use.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Flaw> {
        Self::build(read_chain(chain)?, read_key(key)?)
    }

    /// Takes a chain and its key.
    ///
    /// # Errors
    /// What is of no use.
    pub fn build(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, Flaw> {
        let flaw = |why: String| Flaw::new("cert", why);
        let mut parsed = None;
        for (at, der) in chain.iter().enumerate().rev() {
            let one = parse(der).ok_or_else(|| flaw(format!("certificate {} in it is none", at + 1)))?;
            parsed = Some(one);
        }
        let leaf = parsed.ok_or_else(|| flaw("holds no certificate".to_owned()))?;
        let validity = leaf.validity();
        let valid = validity.not_before.timestamp()..=validity.not_after.timestamp();
        let (names, serial) = (Names::of(&leaf), leaf.raw_serial().to_vec());
        drop(leaf);
        let loaded = provider().key_provider.load_private_key(key);
        let loaded = loaded.map_err(|error| Flaw::new("key", format!("cannot be used: {error}")))?;
        let bare = CertifiedKey::new(chain, loaded);
        matching(&bare)?;
        Ok(Self { bare: Arc::new(bare), stapled: None, names, serial, valid, generated: false })
    }

    /// The same, of weir's own making.
    pub(super) fn generated(self) -> Self {
        Self { generated: true, ..self }
    }

    /// Takes an OCSP response (DER), which is stapled while it says that all is good.
    ///
    /// # Errors
    /// It says nothing of the kind.
    pub fn staple(&mut self, response: &[u8]) -> Result<(), ocsp::Unfit> {
        let issuer = self.bare.cert.get(1).and_then(|der| parse(der));
        let good = ocsp::good(response, &self.serial, issuer.as_ref())?;
        let key = CertifiedKey { ocsp: Some(response.to_vec()), ..(*self.bare).clone() };
        self.stapled = Some(Stapled { key: Arc::new(key), good });
        Ok(())
    }

    /// What is shown at `now`, in Unix seconds, which nobody asks unless it matters.
    pub(super) fn shown(&self, now: impl FnOnce() -> i64) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some(stapled) if ocsp::in_date(&stapled.good, now()).is_ok() => &stapled.key,
            _ => &self.bare,
        }
    }

    /// Whether a client that knows these schemes can check a signature of its key.
    pub(super) fn suits(&self, schemes: &[SignatureScheme]) -> bool {
        self.bare.key.choose_scheme(schemes).is_some()
    }

    /// The names that it is for.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// When it begins and ends to hold, in Unix seconds.
    pub fn valid(&self) -> &RangeInclusive<i64> {
        &self.valid
    }

    /// Why an OCSP response that it has is not stapled at `now`, in Unix seconds.
    pub fn unstapled(&self, now: i64) -> Option<ocsp::Unfit> {
        ocsp::in_date(&self.stapled.as_ref()?.good, now).err()
    }

    /// Whether weir made it itself, for want of another.
    pub fn is_generated(&self) -> bool {
        self.generated
    }
}

fn matching(key: &CertifiedKey) -> Result<(), Flaw> {
    use rustls::{Error, InconsistentKeys};
    match key.keys_match() {
        Ok(()) => Ok(()),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(Flaw::new("key", "is not the key of the certificate"))
        }
        Err(Error::InconsistentKeys(_)) => Err(Flaw::new("key", "cannot be compared with the certificate's")),
        Err(error) => Err(Flaw::new("cert", format!("cannot be used: {error}"))),
    }
}

/// One certificate and nothing after it.
pub(super) fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, parsed)| parsed)
}

pub(super) fn read_chain(octets: &[u8]) -> Result<Vec<CertificateDer<'static>>, Flaw> {
    let read = CertificateDer::pem_slice_iter(octets).collect::<Result<Vec<_>, pem::Error>>();
    read.map_err(|error| Flaw::new("cert", format!("is not PEM: {error}")))
}

pub(super) fn read_key(octets: &[u8]) -> Result<PrivateKeyDer<'static>, Flaw> {
    PrivateKeyDer::from_pem_slice(octets).map_err(|error| match error {
        pem::Error::NoItemsFound => Flaw::new("key", "holds no private key, or one that is encrypted"),
        other => Flaw::new("key", format!("is not PEM: {other}")),
    })
}

/// Whether a certificate in DER may be used at this time, in Unix seconds.
pub fn is_in_date(der: &[u8], unix: i64) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| {
        let validity = certificate.validity();
        (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&unix)
    })
}
