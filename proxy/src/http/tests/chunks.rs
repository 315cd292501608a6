//! The chunked coding and the other framings, however they are split.

use super::*;
use crate::base::Reason;

/// Decodes a body that arrives in parts that end at these places: content, octets taken, trailers.
pub(super) fn decode(
    input: &[u8],
    ends: impl Iterator<Item = usize>,
) -> Result<(Vec<u8>, Option<usize>, String), Fault> {
    let mut reader = BodyReader::request(BodyLength::Chunked, Underscore::Drop);
    let (mut content, mut at) = (Vec::new(), 0);
    for end in ends {
        loop {
            match reader.next(&input[at..end])? {
                Piece::Data { skip, len } => {
                    content.extend_from_slice(&input[at + skip..at + skip + len]);
                    at += skip + len;
                }
                Piece::More { skip } => {
                    at += skip;
                    assert_eq!(at, end, "all that is there was taken");
                    break;
                }
                Piece::End { skip } => {
                    let trailers = reader.trailers().unwrap().iter();
                    let text = trailers.map(|(n, v)| format!("{}={};", n.escape_ascii(), v.escape_ascii())).collect();
                    return Ok((content, Some(at + skip), text));
                }
            }
        }
    }
    assert_eq!(reader.end_of_input().unwrap_err().reason, Reason::ClientCancelled);
    Ok((content, None, String::new()))
}

fn decode_all_ways(input: &[u8]) -> Result<(Vec<u8>, Option<usize>, String), Fault> {
    let whole = decode(input, std::iter::once(input.len()));
    assert_eq!(whole, decode(input, 0..=input.len()), "octet by octet: {}", input.escape_ascii());
    for at in 0..input.len() {
        assert_eq!(whole, decode(input, [at, input.len()].into_iter()), "split at {at}: {}", input.escape_ascii());
    }
    whole
}

#[test]
fn chunks_end_exactly_and_leave_what_follows() {
    for (input, content, left, trailers) in [
        ("0\r\n\r\n", "", 0, ""),
        ("5\r\nhello\r\n0\r\n\r\nGET /", "hello", 5, ""),
        ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world", 0, ""),
        ("A;x=\"y\";z\r\n0123456789\r\n00000;e\r\n\r\n", "0123456789", 0, ""),
        ("1\r\na\r\n0\r\nX-Sum: 9\r\nY:\r\n\r\n!", "a", 1, "X-Sum=9;Y=;"),
        ("0\r\nContent-Length: 5\r\nHost: a\r\nok: 1\r\nunder_score: 2\r\ncookie: c\r\n\r\n", "", 0, "ok=1;"),
        (
            "0\r\nContent-Type: a\r\nContent-Digest: d\r\nCONTENT-MD5: m\r\n\r\n",
            "",
            0,
            "Content-Digest=d;CONTENT-MD5=m;",
        ),
        ("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello", 0, ""),
    ] {
        let (decoded, end, named) = decode_all_ways(input.as_bytes()).expect(input);
        assert_eq!((&decoded[..], end, &*named), (content.as_bytes(), Some(input.len() - left), trailers), "{input:?}");
    }
}

#[test]
fn rules_16_and_17_malformed_chunks_are_refused() {
    let extensions = format!("1;{}\r\na\r\n1;{}\r\n", "e".repeat(3000), "e".repeat(3000));
    let large = format!("0\r\nA: {}\r\n\r\n", "a".repeat(9000));
    let many = format!("0\r\n{}\r\n", "A: b\r\n".repeat(33));
    for (input, reason) in [
        ("0x5\r\nhello\r\n", Reason::ChunkInvalid),
        ("5 \r\nhello\r\n", Reason::ChunkInvalid),
        (" 5\r\nhello\r\n", Reason::ChunkInvalid),
        ("5 ;a\r\nhello\r\n", Reason::ChunkInvalid),
        ("+5\r\nhello\r\n", Reason::ChunkInvalid),
        ("-1\r\n", Reason::ChunkInvalid),
        ("\r\n", Reason::ChunkInvalid),
        (";\r\n", Reason::ChunkInvalid),
        ("g\r\n", Reason::ChunkInvalid),
        ("00000000000000005\r\nhello\r\n", Reason::ChunkInvalid),
        ("5\r\nhelloX", Reason::ChunkInvalid),
        ("5\r\nhello0\r\n\r\n", Reason::ChunkInvalid),
        ("5;\x01\r\n", Reason::ChunkInvalid),
        (&extensions, Reason::ChunkInvalid),
        ("5\nhello\r\n", Reason::BadLineEnding),
        ("5\rhello\r\n", Reason::BadLineEnding),
        ("5;a\nhello\r\n", Reason::BadLineEnding),
        ("5;\0\r\n", Reason::BadLineEnding),
        ("5\r\nhello\n", Reason::BadLineEnding),
        ("5\r\nhello\rX", Reason::BadLineEnding),
        ("0\r\n\n", Reason::BadLineEnding),
        ("0\r\nA: b\n\r\n", Reason::BadLineEnding),
        ("0\r\nA : b\r\n\r\n", Reason::BadHeaderName),
        ("0\r\nA: b\r\n c\r\n\r\n", Reason::ObsFold),
        ("0\r\nA: \x01\r\n\r\n", Reason::BadHeaderValue),
        (&large, Reason::TrailersTooLarge),
        (&many, Reason::TrailersTooLarge),
    ] {
        let fault = decode_all_ways(input.as_bytes()).expect_err(input);
        assert_eq!(fault.reason, reason, "{input:?}");
        assert!(fault.offset.is_some_and(|at| at as usize <= input.len()), "{input:?}: {:?}", fault.offset);
    }
    assert_eq!(decode_all_ways(large.as_bytes()).unwrap_err().status, 431);
}

#[test]
fn an_upstreams_bad_chunk_is_a_bad_response() {
    let mut reader = BodyReader::response(BodyLength::Chunked);
    let fault = reader.next(b"5\r\nhelloX").and_then(|_| reader.next(b"X")).unwrap_err();
    assert_eq!((fault.reason, fault.status, fault.offset), (Reason::UpstreamBadResponse, 502, Some(8)));
}

#[test]
fn a_known_length_ends_where_it_says() {
    let mut reader = BodyReader::request(BodyLength::Length(5), Underscore::Drop);
    assert_eq!(reader.next(b""), Ok(Piece::More { skip: 0 }));
    assert_eq!(reader.next(b"hel"), Ok(Piece::Data { skip: 0, len: 3 }));
    assert_eq!(reader.remaining(), Some(2));
    assert_eq!(reader.end_of_input().unwrap_err().reason, Reason::ClientCancelled);
    assert_eq!(reader.next(b"loGET /"), Ok(Piece::Data { skip: 0, len: 2 }));
    assert_eq!(reader.next(b"GET /"), Ok(Piece::End { skip: 0 }));
    assert!(reader.is_done() && reader.end_of_input().is_ok());
    let mut spliced = BodyReader::response(BodyLength::Length(1 << 40));
    spliced.advance((1 << 40) - 1);
    assert_eq!(spliced.end_of_input().unwrap_err().reason, Reason::UpstreamBodyTruncated);
    spliced.advance(1);
    assert!(spliced.is_done());
}

#[test]
fn bodies_of_nothing_and_bodies_until_close() {
    assert!(BodyReader::request(BodyLength::None, Underscore::Drop).is_done());
    let mut reader = BodyReader::response(BodyLength::UntilClose);
    assert_eq!(reader.next(b"abc"), Ok(Piece::Data { skip: 0, len: 3 }));
    assert_eq!(reader.next(b""), Ok(Piece::More { skip: 0 }));
    assert!(!reader.is_done() && reader.end_of_input().is_ok());
}

#[test]
fn chunks_are_written_as_they_are_read() {
    let mut out = Vec::new();
    for len in [1, 9, 15, 16, 255, 256, 4095, 65536] {
        write_chunk_start(&mut out, len);
        out.resize(out.len() + len as usize, b'x');
        write_chunk_end(&mut out);
    }
    write_last_chunk(&mut out, [(&b"X-Sum"[..], &b"9"[..])]);
    let (content, end, trailers) = decode(&out, std::iter::once(out.len())).unwrap();
    assert_eq!(
        (content.len(), end, &*trailers),
        (1 + 9 + 15 + 16 + 255 + 256 + 4095 + 65536, Some(out.len()), "X-Sum=9;")
    );
    assert!(out.starts_with(b"1\r\nx\r\n9\r\n"));
    let mut largest = Vec::new();
    write_chunk_start(&mut largest, u64::MAX);
    assert_eq!(largest, b"ffffffffffffffff\r\n");
}
