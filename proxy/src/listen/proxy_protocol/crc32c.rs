//! CRC-32C (Castagnoli), reflected: what version 2's checksum is.

const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = table();

/// The checksum of these octets, one part after the other.
pub(super) fn checksum(parts: &[&[u8]]) -> u32 {
    let octets = parts.iter().copied().flatten();
    let step = |crc: u32, octet: &u8| TABLE[usize::from(crc as u8 ^ octet)] ^ (crc >> 8);
    !octets.fold(!0, step)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < table.len() {
        let (mut crc, mut bit) = (at as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_rfc_3720_appendix_b_4() {
        assert_eq!(checksum(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(checksum(&[&[0xff; 32]]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(checksum(&[&rising]), 0x46dd_794e);
        assert_eq!(checksum(&[b"1234", b"", b"56789"]), 0xe306_9283);
    }
}
