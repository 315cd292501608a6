//! Classes of octets, as tables; shared by every scanner.

/// One octet: a tchar of RFC 9110 section 5.6.2.
const TOKEN: u8 = 1;
/// 0x21-0x7E without `#`: what a request target may hold (RFC 3986 knows fewer; origins decide about those).
const TARGET: u8 = 2;
/// Letters, digits, `-`, `_`: what a label of a host name may hold.
const LABEL: u8 = 4;
/// What a path may hold unencoded (RFC 3986 section 3.3: pchar and the slash).
const PATH: u8 = 8;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let octet = at as u8;
        if octet.is_ascii_alphanumeric() {
            table[at] = TOKEN | LABEL | PATH;
        }
        if octet.is_ascii_graphic() && octet != b'#' {
            table[at] |= TARGET;
        }
        at += 1;
    }
    mark(mark(mark(table, b"!#$%&'*+-.^_`|~", TOKEN), b"-_", LABEL), b"-._~!$&'()*+,;=:@/", PATH)
}

const fn mark(mut table: [u8; 256], octets: &[u8], class: u8) -> [u8; 256] {
    let mut at = 0;
    while at < octets.len() {
        table[octets[at] as usize] |= class;
        at += 1;
    }
    table
}

pub(crate) fn is_tchar(octet: u8) -> bool {
    CLASSES[octet as usize] & TOKEN != 0
}

pub(crate) fn is_target(octet: u8) -> bool {
    CLASSES[octet as usize] & TARGET != 0
}

pub(crate) fn is_label(octet: u8) -> bool {
    CLASSES[octet as usize] & LABEL != 0
}

pub(crate) fn is_path(octet: u8) -> bool {
    CLASSES[octet as usize] & PATH != 0
}

/// A control octet that a field value may not hold (RFC 9110 section 5.5): any but HTAB.
pub(crate) const fn is_value_control(octet: u8) -> bool {
    (octet < 0x20 && octet != b'\t') || octet == 0x7f
}

/// Whether these octets are one token (RFC 9110 section 5.6.2).
pub fn is_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|&b| is_tchar(b))
}

/// Whether these octets may be sent as a field value (RFC 9110 section 5.5).
pub fn is_field_value(octets: &[u8]) -> bool {
    value_end(octets, 0) == octets.len()
}

/// The place of the first octet at or after `from` that no field value may hold; the length if there is none.
pub(crate) fn value_end(octets: &[u8], from: usize) -> usize {
    const WIDTH: usize = 16;
    let mut at = from;
    while let Some(block) = octets.get(at..at + WIDTH) {
        // One comparison per lane and no branch within: the compiler makes vector code of it. HTAB stops it too, rarely.
        let stop = block.iter().fold(0, |stop, &b| stop | u8::from(b < 0x20) | u8::from(b == 0x7f));
        if stop != 0 {
            match block.iter().position(|&b| is_value_control(b)) {
                Some(offset) => return at + offset,
                None => {}
            }
        }
        at += WIDTH;
    }
    while at < octets.len() && !is_value_control(octets[at]) {
        at += 1;
    }
    at
}

/// Without the spaces and tabs around it (RFC 9110 section 5.6.3: OWS).
pub(crate) fn trim(mut octets: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = octets {
        octets = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = octets {
        octets = rest;
    }
    octets
}

/// The elements of a comma-separated list, trimmed, empty ones left out (RFC 9110 section 5.6.1).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(trim).filter(|element| !element.is_empty())
}
