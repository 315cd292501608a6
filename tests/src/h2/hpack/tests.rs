//! The examples of RFC 7541's appendix C, and what the decoder must refuse.

use super::*;

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn decoded(decoder: &mut Decoder, hex: &str) -> Vec<(String, String)> {
    let text = |octets: Vec<u8>| String::from_utf8(octets).expect("text");
    let fields = decoder.decode(&octets(hex)).expect("a valid block");
    fields.into_iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const FIRST: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];

#[test]
fn integers_of_appendix_c_1() {
    assert_eq!(integer(0, 5, 10), [0b01010]);
    assert_eq!(integer(0, 5, 1337), [0x1f, 0x9a, 0x0a]);
    assert_eq!(take_integer(&mut &[0x1f, 0x9a, 0x0a][..], 5), Ok(1337));
}

#[test]
fn requests_of_appendix_c_3_without_huffman() {
    let mut decoder = Decoder::default();
    assert_eq!(decoded(&mut decoder, "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d"), pairs(&FIRST));
    let second = [&FIRST[..], &[("cache-control", "no-cache")]].concat();
    assert_eq!(decoded(&mut decoder, "8286 84be 5808 6e6f 2d63 6163 6865"), pairs(&second));
}

#[test]
fn requests_of_appendix_c_4_with_huffman() {
    let mut decoder = Decoder::default();
    assert_eq!(decoded(&mut decoder, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff"), pairs(&FIRST));
    let second = [&FIRST[..], &[("cache-control", "no-cache")]].concat();
    assert_eq!(decoded(&mut decoder, "8286 84be 5886 a8eb 1064 9cbf"), pairs(&second));
}

#[test]
fn responses_of_appendix_c_6_evict() {
    let mut decoder = Decoder::default();
    decoder.allow(256);
    decoder.table.resize(256);
    let date = "Mon, 21 Oct 2013 20:13:21 GMT";
    let first = decoded(
        &mut decoder,
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 \
         63c7 8f0b 97c8 e9ae 82ae 43d3",
    );
    let expected =
        [(":status", "302"), ("cache-control", "private"), ("date", date), ("location", "https://www.example.com")];
    assert_eq!(first, pairs(&expected));
    let second = decoded(&mut decoder, "4883 640e ffc1 c0bf");
    assert_eq!((second[0].1.as_str(), second[3].1.as_str()), ("307", "https://www.example.com"));
}

#[test]
fn what_a_block_holds_is_read_back() {
    let fields = [(":method", "GET"), (":path", "/a?b"), ("x-own", ""), ("cookie", "a=b")];
    let read = Decoder::default().decode(&block(&fields)).expect("a valid block");
    let expected = fields.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    assert_eq!(read, expected);
}

#[test]
fn broken_blocks_are_refused() {
    for broken in [
        indexed(0),
        indexed(62),
        integer(0x40, 6, 70),
        [indexed(2), size_update(0)].concat(),
        size_update(4097),
        [&[0xff][..], &[0xff; 8], &[0]].concat(),
        vec![0x00, 0x05, b'a'],
        [vec![0x00], text("a"), coded([0xff, 0xff, 0xff, 0xff])].concat(),
    ] {
        assert!(Decoder::default().decode(&broken).is_err(), "{broken:x?}");
    }
}
