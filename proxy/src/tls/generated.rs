//! The certificate for names that have none: signed by itself, so that no client mistakes it for a real one.

use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::{Certificate, Flaw};

/// For whom it is, which nobody is.
const NAME: &str = "weir.invalid";
/// How long it holds; it is made anew with each process.
const LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Clocks of clients may be behind by so much.
const BEFORE: Duration = Duration::from_secs(86_400);

/// Makes a certificate with a key of its own.
///
/// # Errors
/// The system gives no random numbers.
pub fn generate() -> Result<Certificate, Flaw> {
    let flaw = |error: rcgen::Error| Flaw::new("", format!("no certificate can be made: {error}"));
    let key = KeyPair::generate().map_err(flaw)?;
    let mut params = CertificateParams::new([NAME.to_owned()]).map_err(flaw)?;
    params.distinguished_name.push(DnType::CommonName, "weir: no certificate for this name");
    let now = std::time::SystemTime::now();
    params.not_before = (now - BEFORE).into();
    params.not_after = (now + LIFE).into();
    let signed = params.self_signed(&key).map_err(flaw)?;
    let der = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes());
    let der = der.map_err(|error| Flaw::new("", format!("no key can be made: {error}")))?;
    Ok(Certificate::build(vec![signed.der().clone()], der)?.generated())
}
