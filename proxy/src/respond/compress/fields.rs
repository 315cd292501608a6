//! Fields of a response that decide whether its body is coded, and those that the coding changes.

use crate::base::metric::Coding;
use crate::http::{Edits, Request, Response};

/// A head as it will be sent: the upstream's fields with the edits made so far.
pub(super) struct Fields<'a> {
    pub(super) head: Option<&'a Response<'a>>,
    pub(super) edits: &'a Edits,
}

impl<'a> Fields<'a> {
    pub(super) fn values(&self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let edits = self.edits;
        let received = self.head.filter(|_| !edits.hides(name)).map(|head| head.fields_named(name));
        let added = edits.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        received.into_iter().flatten().chain(added)
    }

    pub(super) fn has(&self, name: &'static [u8]) -> bool {
        self.values(name).next().is_some()
    }

    fn etag(&self) -> Option<Vec<u8>> {
        self.values(b"etag").next().map(<[u8]>::to_vec)
    }
}

/// Elements of a comma-separated list, over all of a field's lines.
fn elements<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values.flat_map(|value| value.split(|&octet| octet == b',')).map(<[u8]>::trim_ascii)
}

/// `no-transform` in Cache-Control: of a response (RFC 9111 section 5.2.2.6) or of a request (5.2.1.6).
pub(super) fn forbids_transform<'a>(cache_control: impl Iterator<Item = &'a [u8]>) -> bool {
    elements(cache_control).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

/// Has the head say that the response varies with Accept-Encoding, unless it does already.
pub(super) fn vary(head: Option<&Response<'_>>, edits: &mut Edits) {
    let says = |name: &[u8]| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding");
    if !elements(Fields { head, edits }.values(b"vary")).any(says) {
        edits.add_own("Vary", b"Accept-Encoding");
    }
}

/// Digests of a body as the origin sent it: Content-MD5 (RFC 2616), Digest (RFC 3230), RFC 9530.
const DIGESTS: [&str; 4] = ["Content-MD5", "Digest", "Content-Digest", "Repr-Digest"];

/// Whether a field of that name tells a digest of a body.
pub fn is_digest(name: &[u8]) -> bool {
    DIGESTS.iter().any(|digest| name.eq_ignore_ascii_case(digest.as_bytes()))
}

/// What a coding changes: the body is another representation, with the octets, ranges and digests of the first one gone
/// (RFC 9110 section 7.7).
pub(super) fn announce(coding: Coding, head: Option<&Response<'_>>, edits: &mut Edits) {
    edits.set_own("Content-Encoding", coding.token().as_bytes());
    edits.remove(b"Accept-Ranges");
    DIGESTS.iter().for_each(|name| edits.remove(name.as_bytes()));
    let etag = Fields { head, edits }.etag();
    if let Some(etag) = etag.filter(|etag| !etag.starts_with(b"W/")) {
        weaken(&etag, edits);
    }
}

/// A strong validator promises the same octets, which no coder does (RFC 9110 section 8.8.1). What is no entity tag
/// cannot be weakened, and goes.
fn weaken(etag: &[u8], edits: &mut Edits) {
    if !etag.starts_with(b"\"") || !edits.set(b"ETag", &[b"W/", etag].concat()) {
        edits.remove(b"ETag");
    }
}

/// In a 304 the validator that the client knows: the weak form, if it got that one from here and the strong one is not
/// among what it asks for. A cache could not use the answer otherwise (RFC 9111 section 4.3.4).
pub(super) fn return_validator(request: &Request<'_>, head: Option<&Response<'_>>, edits: &mut Edits) {
    let etag = Fields { head, edits }.etag();
    let Some(etag) = etag.filter(|etag| etag.starts_with(b"\"")) else { return };
    let asked = || elements(request.fields_named(b"if-none-match"));
    let weak = asked().any(|one| one.strip_prefix(b"W/") == Some(&*etag));
    if weak && !asked().any(|one| one == etag) {
        weaken(&etag, edits);
    }
}
