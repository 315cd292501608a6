//! PROXY headers, made by hand, so that tests can break every octet of them.

use std::net::{Ipv4Addr, SocketAddrV4};

/// The line of version 1 for a connection from `source` to `destination`.
pub fn v1(source: &str, destination: &str) -> Vec<u8> {
    let (source, destination) = (end(source), end(destination));
    format!("PROXY TCP4 {} {} {} {}\r\n", source.ip(), destination.ip(), source.port(), destination.port()).into_bytes()
}

/// The block of version 2 for a connection from `source` to `destination`, with these records.
pub fn v2(source: &str, destination: &str, records: &[u8]) -> Vec<u8> {
    let (source, destination) = (end(source), end(destination));
    let ends = [source.ip().octets(), destination.ip().octets()].concat();
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    block(0x21, 0x11, &[&ends[..], &ports, records].concat())
}

/// A block of version 2 with this command and family, and what follows its length.
pub fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend((rest.len() as u16).to_be_bytes());
    header.extend(rest);
    header
}

/// One record.
pub fn record(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut record = vec![kind];
    record.extend((value.len() as u16).to_be_bytes());
    record.extend(value);
    record
}

/// The same block with its right checksum behind all else.
pub fn summed(source: &str, destination: &str) -> Vec<u8> {
    let mut header = v2(source, destination, &record(3, &[0; 4]));
    let sum = crc32c(&header).to_be_bytes();
    let at = header.len() - 4;
    header[at..].copy_from_slice(&sum);
    header
}

/// CRC-32C, a bit at a time.
fn crc32c(octets: &[u8]) -> u32 {
    !octets.iter().fold(!0_u32, |crc, octet| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    })
}

/// What a header of version 2 announces: its command, and the ends if it has IPv4 ones.
pub fn read_v2(header: &[u8]) -> (u8, Option<(SocketAddrV4, SocketAddrV4)>) {
    assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n", "no header of version 2");
    let end = |ip: usize, port: usize| {
        let octets: [u8; 4] = header[ip..ip + 4].try_into().expect("four octets");
        SocketAddrV4::new(Ipv4Addr::from(octets), u16::from_be_bytes([header[port], header[port + 1]]))
    };
    let ends = (header[13] == 0x11).then(|| (end(16, 24), end(20, 26)));
    (header[12], ends)
}

fn end(text: &str) -> SocketAddrV4 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no IPv4 address and port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn what_is_made_is_read() {
        let (command, ends) = read_v2(&summed("192.0.2.1:5", "198.51.100.7:443"));
        assert_eq!((command, ends.map(|ends| ends.0.to_string())), (0x21, Some("192.0.2.1:5".into())));
    }
}
