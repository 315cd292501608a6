//! Headers of both versions: whole, split at every octet, wrong in every part, and made up.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::crc32c::checksum;
use super::*;

fn ends(source: &str, destination: &str) -> Announced {
    let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Announced::Ends { source: end(source), destination: end(destination) }
}

/// A header of version 2 with this command and family, and what follows its length.
fn block(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend([command, family]);
    header.extend((rest.len() as u16).to_be_bytes());
    header.extend(rest);
    header
}

fn record(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut record = vec![kind];
    record.extend((value.len() as u16).to_be_bytes());
    record.extend(value);
    record
}

const FOUR: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0x1f, 0x90, 0x01, 0xbb];

/// An IPv4 header with these records, and its right checksum between the first and the others.
fn summed(before: &[u8], after: &[u8]) -> Vec<u8> {
    let mut header = block(0x21, 0x11, &[&FOUR[..], before, &record(3, &[0; 4]), after].concat());
    let at = FIXED + FOUR.len() + before.len() + 3;
    let sum = checksum(&[&header]);
    header[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Reads it whole, and every beginning of it: all but the whole must want more, or refuse what the whole is refused for.
#[track_caller]
fn read(header: &[u8]) -> Result<Announced, Invalid> {
    let whole = Announced::read(header).map(|read| read.expect("a whole header"));
    for cut in 0..header.len() {
        match (Announced::read(&header[..cut]), whole) {
            (Ok(None), _) | (Err(Invalid), Err(Invalid)) => {}
            (early, _) => panic!("{cut} of {} octets: {early:?}, all: {whole:?}", header.len()),
        }
    }
    whole.map(|(announced, used)| {
        assert_eq!(used, header.len());
        let more = [header, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(Announced::read(&more), Ok(Some((announced, header.len()))), "octets behind it are not its own");
        announced
    })
}

#[test]
fn lines_of_version_1_are_read() {
    assert_eq!(read(b"PROXY TCP4 192.0.2.1 198.51.100.7 8080 443\r\n"), Ok(ends("192.0.2.1:8080", "198.51.100.7:443")));
    assert_eq!(read(b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), Ok(ends("[2001:db8::1]:0", "[::1]:65535")));
    assert_eq!(read(b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), Ok(ends("192.0.2.1:1", "[::1]:2")));
    assert_eq!(read(b"PROXY UNKNOWN\r\n"), Ok(Announced::Nothing));
    assert_eq!(read(b"PROXY UNKNOWN ffff::1 what \xff ever\r\n"), Ok(Announced::Nothing));
    let full = b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = [b"PROXY UNKNOWN ", &full[..], b" ", full, b" 65535 65535\r\n"].concat();
    assert_eq!((longest.len(), read(&longest)), (107, Ok(Announced::Nothing)));
}

#[test]
fn what_is_no_line_of_version_1_is_refused() {
    for line in [
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1  2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n",
        "PROXY TCP4 1.1.1.1 2.2.2.2 1 \r\n",
        "PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::2 1 2\r\n",
        "PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY TCP6 fe80::1%1 ::2 1 2\r\n",
        "PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "proxy UNKNOWN\r\n",
        "GET / HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST / HTTP/1.1\r\n",
    ] {
        assert_eq!(read(line.as_bytes()), Err(Invalid), "{line:?}");
    }
    assert_eq!(read(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 92], b"\r\n"].concat()), Err(Invalid), "108 octets");
    // Long before a line's end could come.
    assert_eq!(Announced::read(&[b"PROXY ".as_slice(), &[b'x'; 101]].concat()), Err(Invalid));
    assert_eq!(Announced::read(b"PO"), Err(Invalid));
    assert_eq!(Announced::read(b"\x16\x03\x01"), Err(Invalid), "a TLS record");
}

#[test]
fn blocks_of_version_2_are_read() {
    assert_eq!(read(&block(0x21, 0x11, &FOUR)), Ok(ends("192.0.2.1:8080", "198.51.100.7:443")));
    let six = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0; 16]].concat();
    assert_eq!(read(&block(0x21, 0x21, &[&six[..], &[0, 1, 0, 2]].concat())), Ok(ends("[2001:db8::1]:1", "[::]:2")));
    // LOCAL, UNSPEC, and kinds that a listener on TCP has no use for.
    assert_eq!(read(&block(0x20, 0x00, &[])), Ok(Announced::Nothing));
    assert_eq!(read(&block(0x20, 0x11, &FOUR)), Ok(Announced::Nothing));
    assert_eq!(read(&block(0x20, 0xff, &[1, 2, 3])), Ok(Announced::Nothing), "all behind LOCAL is ignored");
    assert_eq!(read(&block(0x21, 0x00, &[])), Ok(Announced::Nothing));
    assert_eq!(read(&block(0x21, 0x12, &FOUR)), Ok(Announced::Nothing));
    assert_eq!(read(&block(0x21, 0x31, &[0; 216])), Ok(Announced::Nothing));
}

#[test]
fn records_fill_the_block_exactly() {
    let with = |records: &[u8]| read(&block(0x21, 0x11, &[&FOUR[..], records].concat()));
    let fine = ends("192.0.2.1:8080", "198.51.100.7:443");
    assert_eq!(with(&record(4, &[0; 9])), Ok(fine));
    assert_eq!(with(&[record(1, b"h2"), record(0xea, b""), record(2, b"example.com")].concat()), Ok(fine));
    let room = HEADER_MAX - FIXED - FOUR.len() - 3;
    assert_eq!(with(&record(4, &vec![0; room])), Ok(fine), "4 KiB in all");
    assert_eq!(with(&record(4, &vec![0; room + 1])), Err(Invalid), "one octet more");
    for cut in 1..5 {
        assert_eq!(with(&record(4, b"ab")[..cut]), Err(Invalid), "{cut} octets of a record");
    }
    assert_eq!(read(&block(0x21, 0x00, &[4])), Err(Invalid));
    assert_eq!(read(&block(0x21, 0x31, &[0; 217])), Err(Invalid));
}

#[test]
fn checksums_are_checked() {
    let fine = Ok(ends("192.0.2.1:8080", "198.51.100.7:443"));
    assert_eq!(read(&summed(&[], &[])), fine);
    let header = summed(&record(1, b"h2"), &record(4, &[7; 300]));
    assert_eq!(read(&header), fine);
    let (addresses, sum, last) = (FIXED..FIXED + 12, FIXED + 20..FIXED + 24, header.len() - 300..header.len());
    for at in addresses.chain(sum).chain(last) {
        let mut torn = header.clone();
        torn[at] ^= 0x10;
        assert_eq!(Announced::read(&torn), Err(Invalid), "octet {at}");
    }
    let twice = block(0x21, 0x00, &[record(3, &[0; 4]), record(3, &[0; 4])].concat());
    assert_eq!(read(&twice), Err(Invalid));
    assert_eq!(read(&block(0x21, 0x00, &record(3, &[0; 3]))), Err(Invalid));
}

#[test]
fn what_is_no_block_of_version_2_is_refused() {
    for (command, family) in [(0x11, 0x11), (0x22, 0x11), (0x2f, 0x11), (0x31, 0x11), (0x01, 0x11)] {
        assert_eq!(read(&block(command, family, &FOUR)), Err(Invalid), "{command:#x}");
    }
    for family in [0x01, 0x02, 0x10, 0x13, 0x20, 0x30, 0x33, 0x41, 0xff] {
        assert_eq!(read(&block(0x21, family, &[0; 216])), Err(Invalid), "{family:#x}");
    }
    assert_eq!(read(&block(0x21, 0x11, &FOUR[..11])), Err(Invalid));
    assert_eq!(read(&block(0x21, 0x21, &[0; 35])), Err(Invalid));
    assert_eq!(read(&block(0x21, 0x31, &[0; 215])), Err(Invalid));
    // Refused as soon as it is wrong: nothing more is waited for.
    assert_eq!(Announced::read(&block(0x21, 0x99, &[0; 300])[..FIXED]), Err(Invalid));
    let mut long = block(0x21, 0x11, &[]);
    long[14..16].copy_from_slice(&4081_u16.to_be_bytes());
    assert_eq!(Announced::read(&long), Err(Invalid));
}

#[test]
fn what_weir_itself_says_is_nothing() {
    for version in [Version::V1, Version::V2] {
        let (mut own, mut unknown) = (Vec::new(), Vec::new());
        version.announce_own(&mut own);
        version.announce(&mut unknown, &Announced::Nothing);
        assert_eq!((read(&own), read(&unknown)), (Ok(Announced::Nothing), Ok(Announced::Nothing)));
    }
}

#[test]
fn ends_of_two_families_are_written_as_one() {
    for version in [Version::V1, Version::V2] {
        let mut header = Vec::new();
        version.announce(&mut header, &ends("192.0.2.1:1", "[2001:db8::1]:2"));
        assert_eq!(read(&header), Ok(ends("192.0.2.1:1", "[2001:db8::1]:2")));
        header.clear();
        version.announce(&mut header, &ends("[::ffff:192.0.2.1]:1", "192.0.2.2:2"));
        assert_eq!(read(&header), Ok(ends("192.0.2.1:1", "192.0.2.2:2")));
    }
    let mut line = Vec::new();
    Version::V1.announce(&mut line, &ends("192.0.2.1:1", "[2001:db8::1]:2"));
    assert_eq!(String::from_utf8_lossy(&line), "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n");
}

fn end() -> impl Strategy<Value = SocketAddr> {
    any::<SocketAddr>().prop_map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()))
}

proptest! {
    #[test]
    fn what_is_written_is_read(source in end(), destination in end()) {
        for version in [Version::V1, Version::V2] {
            let mut header = Vec::new();
            version.announce(&mut header, &Announced::Ends { source, destination });
            prop_assert_eq!(read(&header), Ok(Announced::Ends { source, destination }));
        }
    }

    #[test]
    fn no_octets_panic_and_more_of_them_never_change_an_answer(
        start in prop::sample::select(vec![WORD.to_vec(), SIGNATURE.to_vec(), block(0x21, 0x11, &FOUR), summed(&[], &[]), Vec::new()]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let octets = [start, rest].concat();
        let mut settled = None;
        for cut in 0..=octets.len() {
            let read = Announced::read(&octets[..cut]);
            match settled {
                None => settled = (read != Ok(None)).then_some(read),
                Some(before) => prop_assert_eq!(before, read),
            }
        }
    }

    #[test]
    fn torn_headers_never_panic(at in 0_usize..200, by in 1_u8.., extra in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut header = summed(&record(4, &[0; 40]), &extra);
        let at = at % header.len();
        header[at] ^= by;
        let _ = Announced::read(&header);
    }
}
