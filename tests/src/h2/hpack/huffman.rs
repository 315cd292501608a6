//! The Huffman code of RFC 7541's appendix B. It is canonical: within a length, symbols follow in order, and lengths
//! follow each other; so the lengths say it all.

use std::collections::HashMap;
use std::sync::OnceLock;

/// The symbol that ends a text; no text may hold it (5.2).
pub const EOS: usize = 256;

#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// Codes by symbol, and symbols by length and code.
struct Code {
    codes: [u32; 257],
    symbols: HashMap<(u8, u32), usize>,
}

fn code() -> &'static Code {
    static CODE: OnceLock<Code> = OnceLock::new();
    CODE.get_or_init(|| {
        let mut order: Vec<usize> = (0..LENGTHS.len()).collect();
        order.sort_by_key(|symbol| (LENGTHS[*symbol], *symbol));
        let (mut codes, mut next, mut length) = ([0; 257], 0, 0);
        for symbol in order {
            next <<= LENGTHS[symbol] - length;
            length = LENGTHS[symbol];
            codes[symbol] = next;
            next += 1;
        }
        let symbols = (0..LENGTHS.len()).map(|symbol| ((LENGTHS[symbol], codes[symbol]), symbol)).collect();
        Code { codes, symbols }
    })
}

/// The code of a text, padded as it must be: with the first bits of EOS.
pub fn encode(octets: impl AsRef<[u8]>) -> Vec<u8> {
    symbols(octets.as_ref().iter().map(|octet| usize::from(*octet)), true)
}

/// The code of any symbols, [`EOS`] among them, padded with ones or with zeros.
pub fn symbols(symbols: impl IntoIterator<Item = usize>, ones: bool) -> Vec<u8> {
    let mut bits = Vec::new();
    for symbol in symbols {
        let (code, length) = (code().codes[symbol], LENGTHS[symbol]);
        bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
    }
    while bits.len() % 8 != 0 {
        bits.push(ones);
    }
    bits.chunks(8).map(|eight| eight.iter().fold(0, |octet, bit| octet << 1 | u8::from(*bit))).collect()
}

/// The text of a code.
pub fn decode(octets: &[u8]) -> Result<Vec<u8>, String> {
    let (mut text, mut so_far, mut length) = (Vec::new(), 0u32, 0u8);
    for bit in octets.iter().flat_map(|octet| (0..8).rev().map(move |bit| u32::from(octet >> bit & 1))) {
        so_far = so_far << 1 | bit;
        length += 1;
        match code().symbols.get(&(length, so_far)) {
            Some(&EOS) => return Err("EOS within a text".into()),
            Some(symbol) => {
                text.push(*symbol as u8);
                (so_far, length) = (0, 0);
            }
            None => {}
        }
    }
    // RFC 7541 5.2: less than an octet of padding, all ones.
    let is_padding = length < 8 && so_far == (1 << length) - 1;
    is_padding.then_some(text).ok_or_else(|| format!("{length} bits of padding {so_far:b}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        assert_eq!(encode("no-cache"), [0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]);
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Ok(all));
    }

    #[test]
    fn the_longest_code_is_that_of_eos() {
        assert_eq!(code().codes[EOS], 0x3fff_ffff);
    }

    #[test]
    fn wrong_padding_is_refused() {
        assert!(decode(&symbols([usize::from(b'a')], false)).is_err());
        assert!(decode(&[encode("a"), vec![0xff]].concat()).is_err());
        assert!(decode(&symbols([EOS], true)).is_err());
    }
}
