//! Authorities, certificates and what is said of them, for tests.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use der::asn1::{BitString, Null, OctetString};
use der::{DateTime, Decode, Encode};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, ResponderId, ResponseData, RevokedInfo,
    SingleResponse, Version,
};

use super::{Certificate, ClientAuth, Material, Offer, Store, TicketBook, UnknownName};

const DAY: u64 = 86_400;

/// A time so many seconds from now.
pub(crate) fn after(seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
}

/// An authority of its own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// What an OCSP response says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Good,
    Revoked,
    Unknown,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { issuer: Issuer::new(params, key), certificate }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// For these names, for 90 days.
    pub(crate) fn issue(&self, names: &[&str]) -> Made {
        self.issue_for(names, 7, 90 * i64::try_from(DAY).expect("a day"))
    }

    /// With this serial number, ending so many seconds from now, 90 days after it began.
    pub(crate) fn issue_for(&self, names: &[&str], serial: u8, left: i64) -> Made {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.serial_number = Some(SerialNumber::from(vec![0xf0, serial]));
        params.not_before = (after(left) - Duration::from_secs(90 * DAY)).into();
        params.not_after = after(left).into();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        Made { chain: format!("{}{}", signed.pem(), self.pem()), key: key.serialize_pem() }
    }

    /// A list of those that it has revoked, in date for so many seconds.
    pub(crate) fn revoked(&self, serials: &[u8], left: i64) -> String {
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from(vec![0xf0, *serial]),
            revocation_time: after(-60).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: (after(left) - Duration::from_secs(DAY)).into(),
            next_update: after(left).into(),
            crl_number: SerialNumber::from(vec![1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }

    /// An OCSP response about one of its certificates, which nobody has signed.
    pub(crate) fn says(&self, word: Word, serial: u8, from: SystemTime, until: Option<SystemTime>) -> Vec<u8> {
        let own = super::certificate::parse(self.certificate.der()).expect("a certificate");
        let sha1 = |octets: &[u8]| {
            let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, octets);
            OctetString::new(hash.as_ref()).expect("octets")
        };
        let time = |at: SystemTime| -> OcspGeneralizedTime {
            DateTime::from_unix_duration(at.duration_since(SystemTime::UNIX_EPOCH).expect("later"))
                .expect("a time of this age")
                .into()
        };
        let cert_id = CertId {
            // AlgorithmIdentifier of SHA-1: 1.3.14.3.2.26, without parameters.
            hash_algorithm: Decode::from_der(&[0x30, 7, 6, 5, 0x2b, 0x0e, 3, 2, 0x1a]).expect("an algorithm"),
            issuer_name_hash: sha1(own.subject().as_raw()),
            issuer_key_hash: sha1(&own.public_key().subject_public_key.data),
            serial_number: Decode::from_der(&[2, 3, 0, 0xf0, serial]).expect("a number"),
        };
        let cert_status = match word {
            Word::Good => CertStatus::Good(Null),
            Word::Revoked => CertStatus::revoked(RevokedInfo { revocation_time: time(from), revocation_reason: None }),
            Word::Unknown => CertStatus::unknown(),
        };
        let single = SingleResponse {
            cert_id,
            cert_status,
            this_update: time(from),
            next_update: until.map(time),
            single_extensions: None,
        };
        let basic = BasicOcspResponse {
            tbs_response_data: ResponseData {
                version: Version::V1,
                responder_id: ResponderId::ByKey(sha1(b"nobody")),
                produced_at: time(from),
                responses: vec![single],
                response_extensions: None,
            },
            // ecdsa-with-SHA256.
            signature_algorithm: Decode::from_der(&[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2])
                .expect("an algorithm"),
            signature: BitString::from_bytes(&[0; 8]).expect("bits"),
            certs: None,
        };
        OcspResponse::successful(basic).expect("a response").to_der().expect("DER")
    }
}

impl Made {
    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::from_pem(self.chain.as_bytes(), self.key.as_bytes()).expect("a certificate")
    }
}

/// A listener's store of these certificates, by where they come from.
pub(crate) fn store_of(certificates: &[(&str, Made)]) -> Store {
    let offers = certificates.iter().map(|(source, made)| {
        let certificate = Arc::new(made.certificate());
        let names = certificate.names().clone();
        Offer { source: (*source).into(), certificate, names, client_auth: ClientAuth::Off, default: false }
    });
    let material = Material {
        offers: offers.collect(),
        unknown: UnknownName::Refused,
        tls12: true,
        alpn: Vec::new(),
        tickets: TicketBook::default().of("web", Duration::from_secs(3600)),
        key_log: Arc::new(rustls::NoKeyLog {}),
    };
    Store::build(material).expect("a store")
}
