//! Decoded by other code than that which coded: what comes out is what went in, however it was cut.

use std::io::Read;

use super::*;

fn decode(coding: Coding, coded: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    match coding {
        Coding::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut content)?,
        Coding::Br => brotli::Decompressor::new(coded, 4096).read_to_end(&mut content)?,
        Coding::Zstd => zstd::stream::read::Decoder::new(coded)?.read_to_end(&mut content)?,
    };
    Ok(content)
}

/// What a decoder shows of a body that is not whole.
fn shown(coding: Coding, coded: &[u8]) -> Vec<u8> {
    let mut content = vec![0; 1 << 20];
    let mut reader: Box<dyn Read> = match coding {
        Coding::Gzip => Box::new(flate2::read::GzDecoder::new(coded)),
        Coding::Br => Box::new(brotli::Decompressor::new(coded, 4096)),
        Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(coded).unwrap()),
    };
    let mut at = 0;
    while let Ok(read) = reader.read(&mut content[at..]) {
        at += read;
        if read == 0 {
            break;
        }
    }
    content.truncate(at);
    content
}

/// Words that repeat, among octets that do not.
fn text(octets: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut text = Vec::with_capacity(octets + 32);
    while text.len() < octets {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.extend_from_slice(format!("{{\"id\":{},\"name\":\"weir\"}},", state >> 40).as_bytes());
    }
    text.truncate(octets);
    text
}

fn coded(coding: Coding, extent: Extent, content: &[u8], step: usize, flush: bool) -> Vec<u8> {
    let mut encoder = Encoder::new(coding, extent).unwrap();
    let mut out = Vec::new();
    for part in content.chunks(step) {
        encoder.write(part, &mut out).unwrap();
        if flush {
            encoder.flush(&mut out).unwrap();
            assert!(!encoder.holds());
        }
    }
    encoder.finish(&mut out).unwrap();
    out
}

#[test]
fn a_body_comes_back_however_it_was_cut() {
    let content = text(5000);
    for &coding in Coding::ALL {
        for extent in [Extent::Known(5000), Extent::Unknown, Extent::Stream] {
            for (step, flush) in [(1, false), (7, true), (4999, false), (5000, true), (64, false)] {
                let coded = coded(coding, extent, &content, step, flush);
                assert_eq!(decode(coding, &coded).unwrap(), content, "{coding:?} {extent:?} {step}");
            }
        }
    }
}

#[test]
fn every_place_is_a_place_to_cut_and_to_flush() {
    let content = text(300);
    for &coding in Coding::ALL {
        for cut in 0..=content.len() {
            let mut encoder = Encoder::new(coding, Extent::Unknown).unwrap();
            let mut out = Vec::new();
            encoder.write(&content[..cut], &mut out).unwrap();
            encoder.flush(&mut out).unwrap();
            assert_eq!(shown(coding, &out), &content[..cut], "{coding:?} shows what was flushed");
            encoder.write(&content[cut..], &mut out).unwrap();
            encoder.finish(&mut out).unwrap();
            assert_eq!(decode(coding, &out).unwrap(), content, "{coding:?} {cut}");
        }
    }
}

#[test]
fn long_bodies_come_back_and_are_much_smaller() {
    let content = text(3 << 20);
    for &coding in Coding::ALL {
        for extent in [Extent::Known(3 << 20), Extent::Unknown, Extent::Stream] {
            let coded = coded(coding, extent, &content, 16 << 10, false);
            assert!(coded.len() < content.len() / 3, "{coding:?}: {}", coded.len());
            assert!(decode(coding, &coded).unwrap() == content, "{coding:?} {extent:?}");
        }
    }
}

#[test]
fn what_cannot_be_compressed_comes_back_too() {
    let mut state = 7u64;
    let noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
        (state >> 56) as u8
    };
    let content: Vec<u8> = std::iter::repeat_with(noise).take(300_000).collect();
    for &coding in Coding::ALL {
        let coded = coded(coding, Extent::Unknown, &content, 16 << 10, true);
        assert!(coded.len() < content.len() + content.len() / 50);
        assert!(decode(coding, &coded).unwrap() == content);
    }
}

#[test]
fn a_part_is_never_taken_for_the_whole() {
    let content = text(100_000);
    for &coding in Coding::ALL {
        let whole = coded(coding, Extent::Unknown, &content, 1000, true);
        for end in (0..whole.len()).step_by(whole.len() / 97).chain([whole.len() - 1]) {
            assert!(decode(coding, &whole[..end]).is_err(), "{coding:?} cut at {end} of {}", whole.len());
        }
    }
}

#[test]
fn an_empty_body_is_one() {
    for &coding in Coding::ALL {
        let coded = coded(coding, Extent::Unknown, b"", 1, true);
        assert_eq!(decode(coding, &coded).unwrap(), b"");
    }
}

#[test]
fn a_body_of_another_length_than_announced_does_not_end() {
    let mut encoder = Encoder::new(Coding::Zstd, Extent::Known(10)).unwrap();
    let mut out = Vec::new();
    encoder.write(b"short", &mut out).unwrap();
    assert!(encoder.finish(&mut out).is_err());
}

#[test]
fn windows_follow_the_length() {
    assert_eq!(Extent::Known(1).window_log(16), WINDOW_LOG_MIN);
    assert_eq!(Extent::Known(1 << 14).window_log(16), 14);
    assert_eq!(Extent::Known((1 << 14) + 1).window_log(16), 15);
    assert_eq!(Extent::Known(u64::MAX).window_log(16), 16);
    assert_eq!(Extent::Unknown.window_log(17), 17);
}
