//! The protection of records, one direction at a time: RFC 8446 section 5, and for TLS 1.2 RFC 5246 section 6.2.3.3,
//! RFC 5288 and RFC 7905.

use std::ops::Range;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, SupportedCipherSuite};

use super::{Alert, Version};

/// Octets of a record's header.
pub(super) const HEADER: usize = 5;
/// Octets of plaintext that a record may hold.
pub(super) const PLAIN_MAX: usize = 1 << 14;
/// Octets by which a protected record may exceed that, in TLS 1.2 and in 1.3.
const EXPANSION_12: usize = 2048;
const EXPANSION_13: usize = 256;
/// Octets of an authentication tag, for all suites.
const TAG: usize = 16;
/// Octets of the nonce that a TLS 1.2 record in GCM carries.
const EXPLICIT: usize = 8;
/// Most octets that protection adds to a record, its header among them.
pub(super) const OVERHEAD: usize = HEADER + EXPLICIT + TAG;

/// Records that a key may still protect when it is to be renewed: for what must be said until then.
const LEFT: u64 = 1024;

/// The content type of records.
pub(super) mod content {
    pub(crate) const ALERT: u8 = 21;
    pub(crate) const HANDSHAKE: u8 = 22;
    pub(crate) const APPLICATION_DATA: u8 = 23;
}

/// How records are made from the same parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Tls13,
    /// With a part of the nonce in each record.
    Tls12Gcm,
    Tls12ChaCha,
}

/// The key, nonces and count of one direction.
pub(super) struct Protection {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    /// Records that one key may protect.
    limit: u64,
    form: Form,
}

impl Protection {
    /// From what a handshake, or an update of its keys, has agreed on.
    pub(super) fn new(
        suite: SupportedCipherSuite,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Option<Self> {
        let (algorithm, key, iv, gcm) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv, false),
            _ => return None,
        };
        let (form, limit) = match suite {
            SupportedCipherSuite::Tls13(suite) => (Form::Tls13, suite.common.confidentiality_limit),
            SupportedCipherSuite::Tls12(suite) if gcm => (Form::Tls12Gcm, suite.common.confidentiality_limit),
            SupportedCipherSuite::Tls12(suite) => (Form::Tls12ChaCha, suite.common.confidentiality_limit),
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?);
        Some(Self { key, iv: iv.as_ref().try_into().ok()?, sequence, limit, form })
    }

    /// Whether its key should soon protect no more records.
    pub(super) fn is_worn(&self) -> bool {
        self.sequence >= self.limit.saturating_sub(LEFT)
    }

    /// As if it had protected all but the last that it may.
    #[cfg(test)]
    pub(super) fn wear_out(&mut self) {
        self.sequence = self.limit - LEFT;
    }

    /// Appends the record of `parts`, together at most [`PLAIN_MAX`] octets. None: its key is used up.
    pub(super) fn seal<'p>(
        &mut self,
        kind: u8,
        parts: impl Iterator<Item = &'p [u8]>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        if self.sequence >= self.limit {
            return None;
        }
        let start = out.len();
        // The length follows when it is known; TLS 1.3 hides the type (RFC 8446 section 5.2).
        let outer = if self.form == Form::Tls13 { content::APPLICATION_DATA } else { kind };
        out.extend_from_slice(&[outer, 3, 3, 0, 0]);
        let nonce = self.nonce();
        if self.form == Form::Tls12Gcm {
            out.extend_from_slice(&nonce[12 - EXPLICIT..]);
        }
        let plain = out.len();
        parts.for_each(|part| out.extend_from_slice(part));
        let length = out.len() - plain;
        if self.form == Form::Tls13 {
            out.push(kind);
        }
        let protected = u16::try_from(out.len() - start - HEADER + TAG).ok()?;
        out[start + 3..start + HEADER].copy_from_slice(&protected.to_be_bytes());
        let mut aad = [0; 13];
        let aad = self.aad(&mut aad, outer, u16::try_from(length).ok()?, protected);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, aad, &mut out[plain..]).ok()?;
        out.extend_from_slice(tag.as_ref());
        self.sequence += 1;
        Some(())
    }

    /// Decrypts a whole record in place: its content type, and where its plaintext lies.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(u8, Range<usize>), Alert> {
        let explicit = if self.form == Form::Tls12Gcm { EXPLICIT } else { 0 };
        let (header, body) = record.split_at_mut(HEADER);
        let protected = body.len();
        let plain = protected.checked_sub(explicit + TAG).ok_or(Alert::BAD_RECORD_MAC)?;
        let mut nonce = self.nonce();
        if explicit > 0 {
            nonce[12 - EXPLICIT..].copy_from_slice(&body[..EXPLICIT]);
        }
        let mut aad = [0; 13];
        // Both were read from two octets.
        let (length, protected) = (plain as u16, protected as u16);
        let aad = self.aad(&mut aad, header[0], length, protected);
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.open_in_place(nonce, aad, &mut body[explicit..]).map_err(|_| Alert::BAD_RECORD_MAC)?;
        self.sequence = self.sequence.checked_add(1).ok_or(Alert::INTERNAL_ERROR)?;
        let start = HEADER + explicit;
        let (kind, end) = match self.form {
            Form::Tls13 => unpadded(record, start, plain)?,
            _ => (record[0], start + plain),
        };
        if end - start > PLAIN_MAX {
            return Err(Alert::RECORD_OVERFLOW);
        }
        Ok((kind, start..end))
    }

    /// The whole length of the record that begins here, once its header is there.
    pub(super) fn length(&self, start: &[u8]) -> Result<Option<usize>, Alert> {
        let Some(header) = start.first_chunk::<HEADER>() else { return Ok(None) };
        // After a TLS 1.3 handshake nothing else is there on the outside (RFC 8446 section 5).
        let known = match header[0] {
            content::APPLICATION_DATA => true,
            content::ALERT | content::HANDSHAKE => self.form != Form::Tls13,
            _ => false,
        };
        let expansion = if self.form == Form::Tls13 { EXPANSION_13 } else { EXPANSION_12 };
        match usize::from(u16::from_be_bytes([header[3], header[4]])) {
            _ if !known || header[1..3] != [3, 3] => Err(Alert::UNEXPECTED_MESSAGE),
            length if length > PLAIN_MAX + expansion => Err(Alert::RECORD_OVERFLOW),
            length => Ok(Some(HEADER + length)),
        }
    }

    /// RFC 8446 section 5.3; the same for RFC 7905, and a sound choice for RFC 5288.
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        let sequence = self.sequence.to_be_bytes();
        nonce[4..].iter_mut().zip(sequence).for_each(|(octet, count)| *octet ^= count);
        nonce
    }

    /// What is authenticated beside the plaintext.
    fn aad<'a>(&self, aad: &'a mut [u8; 13], outer: u8, plain: u16, protected: u16) -> Aad<&'a [u8]> {
        let length = if self.form == Form::Tls13 { protected } else { plain };
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8..11].copy_from_slice(&[outer, 3, 3]);
        aad[11..].copy_from_slice(&length.to_be_bytes());
        // TLS 1.3 authenticates the header alone.
        Aad::from(if self.form == Form::Tls13 { &aad[8..] } else { &aad[..] })
    }

    /// The version whose records these are.
    pub(super) fn version(&self) -> Version {
        if self.form == Form::Tls13 { Version::Tls13 } else { Version::Tls12 }
    }
}

/// The content type behind the plaintext and before its padding, and where the plaintext ends.
fn unpadded(record: &[u8], start: usize, length: usize) -> Result<(u8, usize), Alert> {
    let inner = &record[start..start + length];
    let kind = inner.iter().rposition(|&octet| octet != 0).ok_or(Alert::UNEXPECTED_MESSAGE)?;
    Ok((inner[kind], start + kind))
}
