//! Whether an OCSP response (RFC 6960) is fit to be stapled: what it says of one certificate, and when.

use std::ops::RangeInclusive;

use aws_lc_rs::digest;
use der::Decode;
use x509_ocsp::{BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus};
use x509_parser::certificate::X509Certificate;

/// Octets that a response may have.
pub const RESPONSE_MAX: usize = 64 << 10;

/// Why a response is left out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Unfit {
    /// It is none, or the responder had an error.
    Unreadable,
    /// It says nothing of this certificate.
    OtherCertificate,
    /// The certificate is revoked.
    Revoked,
    /// The responder does not know the certificate.
    Unknown,
    /// It is not valid yet.
    Early,
    /// It is not valid any more, or does not say how long it is.
    Late,
}

impl Unfit {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Unreadable, Self::OtherCertificate, Self::Revoked, Self::Unknown, Self::Early, Self::Late];

    /// For metrics.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::OtherCertificate => "other_certificate",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
            Self::Early => "early",
            Self::Late => "late",
        }
    }

    /// For people: a clause without a subject.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unreadable => "is no successful OCSP response in DER",
            Self::OtherCertificate => "says nothing of this certificate",
            Self::Revoked => "says that the certificate is revoked",
            Self::Unknown => "says that the responder does not know the certificate",
            Self::Early => "is not valid yet",
            Self::Late => "is out of date, or does not say until when it is valid",
        }
    }
}

/// When the response says that the certificate with this serial number is good, in Unix seconds. With the certificate's
/// issuer, it must be about one of that issuer's.
///
/// Whether the responder has signed it is left to the clients, who have to check it anyway.
///
/// # Errors
/// It says nothing of the kind.
pub fn good(
    response: &[u8],
    serial: &[u8],
    issuer: Option<&X509Certificate<'_>>,
) -> Result<RangeInclusive<i64>, Unfit> {
    let basic = basic(response).ok_or(Unfit::Unreadable)?;
    let concerns = |id: &CertId| {
        same_number(id.serial_number.as_bytes(), serial) && issuer.is_none_or(|issuer| is_issued_by(id, issuer))
    };
    let mut told = basic.tbs_response_data.responses.iter().filter(|one| concerns(&one.cert_id));
    let told = told.next().ok_or(Unfit::OtherCertificate)?;
    match told.cert_status {
        CertStatus::Good(_) => {}
        CertStatus::Revoked(_) => return Err(Unfit::Revoked),
        CertStatus::Unknown(_) => return Err(Unfit::Unknown),
    }
    Ok(unix(told.this_update)..=told.next_update.map(unix).ok_or(Unfit::Late)?)
}

/// Whether `now` is within the time in which a response says that all is good.
///
/// # Errors
/// On which side of it.
pub fn in_date(good: &RangeInclusive<i64>, now: i64) -> Result<(), Unfit> {
    match (now < *good.start(), now > *good.end()) {
        (true, _) => Err(Unfit::Early),
        (_, true) => Err(Unfit::Late),
        _ => Ok(()),
    }
}

fn basic(response: &[u8]) -> Option<BasicOcspResponse> {
    let response = OcspResponse::from_der(response).ok().filter(|_| response.len() <= RESPONSE_MAX)?;
    let octets = response.response_bytes.filter(|_| response.response_status == OcspResponseStatus::Successful)?;
    let is_basic = octets.response_type == <BasicOcspResponse as der::oid::AssociatedOid>::OID;
    BasicOcspResponse::from_der(octets.response.as_bytes()).ok().filter(|_| is_basic)
}

/// Whether the hashes in `id` are the issuer's; of a hash that nobody uses, they are not.
fn is_issued_by(id: &CertId, issuer: &X509Certificate<'_>) -> bool {
    // RFC 8954 and RFC 5019: SHA-1 in practice, SHA-256 where somebody cares.
    let algorithm = match id.hash_algorithm.oid.to_string().as_str() {
        "1.3.14.3.2.26" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "2.16.840.1.101.3.4.2.1" => &digest::SHA256,
        _ => return false,
    };
    let is = |octets: &[u8], hash: &[u8]| digest::digest(algorithm, octets).as_ref() == hash;
    is(issuer.subject().as_raw(), id.issuer_name_hash.as_bytes())
        && is(&issuer.public_key().subject_public_key.data, id.issuer_key_hash.as_bytes())
}

/// Whether both are the same number, however many zeros stand before it.
fn same_number(a: &[u8], b: &[u8]) -> bool {
    fn bare(octets: &[u8]) -> &[u8] {
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        &octets[zeros..]
    }
    bare(a) == bare(b)
}

fn unix(time: OcspGeneralizedTime) -> i64 {
    i64::try_from(time.0.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
