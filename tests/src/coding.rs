//! Content codings, taken back: at once, or as far as a body has come.

use std::io::{self, Read};

/// The three that weir knows.
pub const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// The content of a whole coded body; an error if it is not whole, or followed by anything.
pub fn decode(coding: &str, coded: &[u8]) -> io::Result<Vec<u8>> {
    let (mut content, mut rest) = (Vec::new(), coded);
    reader(coding, &mut rest).read_to_end(&mut content)?;
    Ok(content)
}

/// What a decoder shows of a coded body that has only come so far.
pub fn shown(coding: &str, coded: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut reader = reader(coding, coded);
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = reader.read(&mut buffer) {
        content.extend_from_slice(&buffer[..read]);
    }
    content
}

fn reader<'r>(coding: &str, coded: impl Read + 'r) -> Box<dyn Read + 'r> {
    match coding {
        "gzip" => Box::new(flate2::read::MultiGzDecoder::new(coded)),
        "br" => Box::new(brotli::Decompressor::new(coded, 4096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(coded).expect("a decoder")),
        other => panic!("no coding {other}"),
    }
}
