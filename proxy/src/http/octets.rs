//! Classes of octets, as tables; shared by every scanner.

/// One octet: a tchar of RFC 9110 section 5.6.2.
const TOKEN: u8 = 1;
/// Letters, digits, `-`, `_`: what a label of a host name may hold.
const LABEL: u8 = 2;
/// What a path may hold unencoded (RFC 3986 section 3.3: pchar and the slash).
const PATH: u8 = 4;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let octet = at as u8;
        if octet.is_ascii_alphanumeric() {
            table[at] = TOKEN | LABEL | PATH;
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

pub(crate) fn is_label(octet: u8) -> bool {
    CLASSES[octet as usize] & LABEL != 0
}

pub(crate) fn is_path(octet: u8) -> bool {
    CLASSES[octet as usize] & PATH != 0
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
    let mut at = from;
    loop {
        at += first_lane(octets.get(at..).unwrap_or_default(), |lanes| below(lanes, 0x20) | equal(lanes, 0x7f));
        match octets.get(at) {
            Some(b'\t') => at += 1,
            _ => return at.min(octets.len()),
        }
    }
}

/// The place of the first octet at or after `from` that no request target may hold; the length if there is none.
pub(crate) fn target_end(octets: &[u8], from: usize) -> usize {
    let stops = |lanes| below(lanes, 0x21) | equal(lanes, 0x7f) | equal(lanes, b'#') | (lanes & HIGH);
    from + first_lane(octets.get(from..).unwrap_or_default(), stops)
}

const LOW: u64 = u64::MAX / 0xff;
const HIGH: u64 = LOW << 7;

/// Index of the first octet that `stops` marks; the length if there is none. `stops` sees eight octets as the lanes of a
/// word and sets the high bit of those it means; marks above the lowest true one may be wrong.
fn first_lane(octets: &[u8], stops: impl Fn(u64) -> u64) -> usize {
    let (words, tail) = octets.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let marks = stops(u64::from_le_bytes(*word));
        if marks != 0 {
            return index * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let mut last = [b'a'; 8];
    last[..tail.len()].copy_from_slice(tail);
    let marks = stops(u64::from_le_bytes(last));
    (words.len() * 8 + marks.trailing_zeros() as usize / 8).min(octets.len())
}

/// Marks lanes that hold less than `bound` <= 0x80.
const fn below(lanes: u64, bound: u8) -> u64 {
    lanes.wrapping_sub(LOW * bound as u64) & !lanes & HIGH
}

/// Marks lanes that hold `octet`.
const fn equal(lanes: u64, octet: u8) -> u64 {
    below(lanes ^ (LOW * octet as u64), 1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_stops_the_scanners_where_it_should_at_every_place() {
        for octet in 0..=255u8 {
            for place in 0..40 {
                let mut text = [b'~'; 40];
                text[place] = octet;
                let value_stops = (octet < 0x20 && octet != b'\t') || octet == 0x7f;
                assert_eq!(value_end(&text, 0), if value_stops { place } else { 40 }, "{octet:#x} at {place}");
                let target_stops = !octet.is_ascii_graphic() || octet == b'#';
                assert_eq!(target_end(&text, 0), if target_stops { place } else { 40 }, "{octet:#x} at {place}");
            }
        }
    }

    #[test]
    fn scanners_start_where_told() {
        assert_eq!(value_end(b"\0\0abc\r", 2), 5);
        assert_eq!(value_end(b"abc", 3), 3);
        assert_eq!(target_end(b"GET /a b", 4), 6);
    }
}
