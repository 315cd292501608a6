//! A field section as ranges into the receive buffer, with the recognised names indexed.

use super::Known;
use super::known;

/// A range of the receive buffer; it survives the buffer's move.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// First octet.
    pub start: u32,
    /// One past the last octet.
    pub end: u32,
}

impl Span {
    /// The range between two places of a buffer. Heads are bounded far below 4 GiB.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// Its octets; none if the buffer is not the one that was parsed.
    pub fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Its length.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it holds no octet.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// One field line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// The name as received.
    pub name: Span,
    /// The value without the spaces around it.
    pub value: Span,
    /// What the name is.
    pub known: Known,
    /// Connection names it: it ends here (RFC 9110 section 7.6.1).
    pub nominated: bool,
    /// The received line is, octet for octet, what would be written for it: `name: value CRLF`.
    pub canonical: bool,
}

/// The fields of a head.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    list: Vec<Field>,
    /// Lines that were read but are not kept.
    left_out: usize,
    present: u64,
    repeated: u64,
    /// Index of the first field of a name; meaningful where `present` has its bit.
    first: [u16; Known::COUNT],
}

impl Default for Fields {
    fn default() -> Self {
        Self { list: Vec::new(), left_out: 0, present: 0, repeated: 0, first: [0; Known::COUNT] }
    }
}

impl Fields {
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.left_out = 0;
        self.present = 0;
        self.repeated = 0;
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, field: Field) {
        let bit = field.known.bit();
        if self.present & bit == 0 {
            self.first[field.known as usize] = self.list.len() as u16;
        }
        self.repeated |= self.present & bit;
        self.present |= bit;
        self.list.push(field);
    }

    /// Counts a line that is not kept.
    pub(crate) fn leave_out(&mut self) {
        self.left_out += 1;
    }

    /// Lines read, kept or not.
    pub(crate) fn lines_seen(&self) -> usize {
        self.list.len() + self.left_out
    }

    pub(crate) fn list(&self) -> &[Field] {
        &self.list
    }

    pub(crate) fn list_mut(&mut self) -> &mut [Field] {
        &mut self.list
    }

    pub(crate) fn has(&self, known: Known) -> bool {
        self.present & known.bit() != 0
    }

    /// The names that are there.
    pub(crate) fn present(&self) -> u64 {
        self.present
    }

    pub(crate) fn has_any(&self, names: u64) -> bool {
        self.present & names != 0
    }

    pub(crate) fn is_repeated(&self, known: Known) -> bool {
        self.repeated & known.bit() != 0
    }

    /// The first field of that name.
    pub(crate) fn first(&self, known: Known) -> Option<&Field> {
        if self.has(known) { self.list.get(self.first[known as usize] as usize) } else { None }
    }

    /// All fields of that name, in order; walks only what can hold them.
    pub(crate) fn all(&self, known: Known) -> impl Iterator<Item = &Field> + Clone {
        let from = if self.has(known) { self.first[known as usize] as usize } else { self.list.len() };
        let to = if self.is_repeated(known) { self.list.len() } else { self.list.len().min(from + 1) };
        self.list[from..to].iter().filter(move |field| field.known == known)
    }

    /// All fields of a name as the caller spells it.
    pub(crate) fn named<'a, 'n>(
        &'a self,
        bytes: &'a [u8],
        name: &'n [u8],
    ) -> impl Iterator<Item = &'a Field> + Clone + use<'a, 'n> {
        let known = Known::of(name);
        let indexed = known != Known::Other && known != Known::XForwarded;
        let from = if self.has(known) { self.first[known as usize] as usize } else { self.list.len() };
        let matches = move |f: &&Field| f.known == known && (indexed || f.name.of(bytes).eq_ignore_ascii_case(name));
        self.list[from..].iter().filter(matches)
    }
}

/// Names that end at each hop (RFC 9110 section 7.6.1), whatever Connection says. Content-Length is written anew.
pub(crate) const HOP_BY_HOP: u64 = known::set(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::ProxyAuthenticate,
    Known::ProxyAuthorization,
    Known::ProxyAuthenticationInfo,
    Known::Te,
    Known::Trailer,
    Known::TransferEncoding,
    Known::Upgrade,
    Known::Http2Settings,
    Known::ContentLength,
]);
