//! What a listener asks of its clients: nothing, or a certificate of certain authorities, not revoked.

use std::fmt;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};

use super::{Flaw, provider};

/// How urgently a certificate is asked for. A bad one ends the handshake in both cases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demand {
    /// A client may have none.
    Request,
    /// Every client must have one.
    Require,
}

/// What is asked of clients.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// Nothing.
    Off,
    /// A certificate.
    On(Arc<Policy>),
}

/// Which certificates of clients are good.
pub struct Policy {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Of the demand and the authorities: equal ones ask for the same.
    identity: [u8; 32],
    /// Of the lists of revoked certificates as well: a session is resumed under equal ones only.
    context: [u8; 32],
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Policy")
    }
}

impl ClientAuth {
    /// Asks for certificates of these authorities (PEM), which none of the revocation lists (PEM) may hold. With lists,
    /// each certificate of a chain needs one of its issuer that is in date: what nobody vouches for is refused.
    ///
    /// # Errors
    /// What is of no use.
    pub fn new(demand: Demand, authorities: &[u8], revoked: Option<&[u8]>) -> Result<Self, Flaw> {
        let (roots, mut hash) = roots(authorities)?;
        hash.update([u8::from(demand == Demand::Require)]);
        let identity = hash.clone().finalize().into();
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        if let Some(revoked) = revoked {
            let lists = lists(revoked)?;
            lists.iter().for_each(|list| hash.update(list));
            builder = builder.with_crls(lists).enforce_revocation_expiration();
        }
        if demand == Demand::Request {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(|error| Flaw::new("client_crl", format!("cannot be used: {error}")))?;
        Ok(Self::On(Arc::new(Policy { verifier, identity, context: hash.finalize().into() })))
    }

    /// Whether every client must have one.
    pub(super) fn is_mandatory(&self) -> bool {
        self.policy().is_some_and(|policy| policy.verifier.client_auth_mandatory())
    }

    pub(super) fn verifier(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.policy().map(|policy| policy.verifier.clone())
    }

    /// What tells policies apart for requests; none where nothing is asked.
    pub(super) fn identity(&self) -> Option<[u8; 32]> {
        self.policy().map(|policy| policy.identity)
    }

    /// What tells them apart for resumption.
    pub(super) fn context(&self) -> [u8; 32] {
        self.policy().map(|policy| policy.context).unwrap_or_default()
    }

    fn policy(&self) -> Option<&Policy> {
        match self {
            Self::Off => None,
            Self::On(policy) => Some(policy),
        }
    }
}

/// The authorities, and a hash that they have begun.
fn roots(octets: &[u8]) -> Result<(RootCertStore, Sha256), Flaw> {
    let flaw = |why: String| Flaw::new("client_ca", why);
    let (mut roots, mut hash) = (RootCertStore::empty(), Sha256::new());
    for der in CertificateDer::pem_slice_iter(octets) {
        let der = der.map_err(|error| flaw(format!("is not PEM: {error}")))?;
        hash.update(&der);
        roots.add(der).map_err(|error| flaw(format!("certificate {} in it is none: {error}", roots.len() + 1)))?;
    }
    if roots.is_empty() { Err(flaw("holds no certificate".to_owned())) } else { Ok((roots, hash)) }
}

fn lists(octets: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, Flaw> {
    let flaw = |why: String| Flaw::new("client_crl", why);
    let read = CertificateRevocationListDer::pem_slice_iter(octets).collect::<Result<Vec<_>, _>>();
    let lists = read.map_err(|error| flaw(format!("is not PEM: {error}")))?;
    if lists.is_empty() { Err(flaw("holds no revocation list".to_owned())) } else { Ok(lists) }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rustls::pki_types::UnixTime;

    use super::super::testing::{Authority, Made};
    use super::*;

    /// Whether a client with this certificate passes now.
    fn passes(auth: &ClientAuth, made: &Made) -> bool {
        let chain = super::super::certificate::read_chain(made.chain.as_bytes()).expect("a chain");
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("later");
        let verifier = auth.verifier().expect("one that asks");
        verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::since_unix_epoch(since)).is_ok()
    }

    fn asking(authority: &Authority, revoked: Option<String>) -> ClientAuth {
        let revoked = revoked.as_deref().map(str::as_bytes);
        ClientAuth::new(Demand::Require, authority.pem().as_bytes(), revoked).expect("a policy")
    }

    #[test]
    fn only_certificates_of_the_authority_in_date_and_not_revoked_pass() {
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let [good, revoked, old] =
            [(1, 3600), (2, 3600), (3, -60)].map(|(n, left)| ours.issue_for(&["c.test"], n, left));
        let plain = asking(&ours, None);
        assert!(passes(&plain, &good) && passes(&plain, &revoked));
        assert!(!passes(&plain, &old) && !passes(&plain, &theirs.issue(&["c.test"])));
        let listed = asking(&ours, Some(ours.revoked(&[2], 3600)));
        assert!(passes(&listed, &good) && !passes(&listed, &revoked));
        // A list that is out of date, or another issuer's, says nothing: nobody vouches for anyone.
        assert!(!passes(&asking(&ours, Some(ours.revoked(&[2], -60))), &good));
        assert!(!passes(&asking(&ours, Some(theirs.revoked(&[], 3600))), &good));
    }

    #[test]
    fn what_is_asked_for_is_told_apart() {
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let of = |demand, authority: &Authority| {
            ClientAuth::new(demand, authority.pem().as_bytes(), None).expect("a policy")
        };
        let require = of(Demand::Require, &ours);
        assert_eq!(require.context(), of(Demand::Require, &ours).context());
        for other in [of(Demand::Request, &ours), of(Demand::Require, &theirs), ClientAuth::Off] {
            assert_ne!(require.context(), other.context());
            assert_ne!(require.identity(), other.identity());
        }
        // A new list is no other demand, but sessions of before are not resumed.
        let listed = asking(&ours, Some(ours.revoked(&[2], 3600)));
        assert_eq!(require.identity(), listed.identity());
        assert_ne!(require.context(), listed.context());
        assert!(!require.verifier().expect("one that asks").root_hint_subjects().is_empty());
    }
}
