//! Encoders: content in, coded octets out, in steps of any size. They hold no more than their window, whatever passes.

use std::io;
use std::io::Write;

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::stream::raw::{CParameter, Encoder as Zstandard, InBuffer, Operation, OutBuffer};

use crate::base::metric::Coding;

/// Room that is made in the output for each call of a coder.
const ROOM: usize = 16 << 10;

/// What is known of a body before it is coded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// So many octets, neither more nor fewer.
    Known(u64),
    /// Nothing.
    Unknown,
    /// It comes in small pieces, with pauses, and may never end.
    Stream,
}

impl Extent {
    /// How far back a coder looks: as far as a body goes, and no further than `most`. A longer view costs memory for as
    /// long as the response lasts, and gains little on what is worth compressing.
    fn window_log(self, most: u32) -> u32 {
        let Self::Known(octets) = self else { return most };
        (u64::BITS - octets.saturating_sub(1).leading_zeros()).clamp(WINDOW_LOG_MIN, most)
    }
}

/// The least that pays for its own set-up.
const WINDOW_LOG_MIN: u32 = 11;

/// One body on its way into a content coding (RFC 9110 section 8.4.1).
///
/// What it writes, put together, is one coded body, however the content was cut into steps. Without [`Encoder::finish`]
/// it is not whole, and no decoder takes it for whole.
pub struct Encoder {
    coder: Coder,
    /// Content has gone in that [`Encoder::flush`] would bring out.
    holds: bool,
}

enum Coder {
    Gzip(Compress),
    Br(Box<CompressorWriter<Vec<u8>>>),
    Zstd(Zstandard<'static>),
}

impl Encoder {
    /// Sets up a coder.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn new(coding: Coding, extent: Extent) -> io::Result<Self> {
        let coder = match coding {
            Coding::Gzip => Coder::Gzip(Compress::new_gzip(Compression::new(GZIP_LEVEL), GZIP_WINDOW_LOG)),
            Coding::Br => Coder::Br(Box::new(brotli_writer(extent))),
            Coding::Zstd => Coder::Zstd(zstandard(extent)?),
        };
        Ok(Self { coder, holds: false })
    }

    /// Octets of memory that a coder takes, at most.
    pub fn memory(coding: Coding, extent: Extent) -> u64 {
        match coding {
            Coding::Gzip => GZIP_MEMORY,
            Coding::Br => BROTLI_MEMORY + (BROTLI_PER_OCTET << brotli_window_log(extent)),
            Coding::Zstd => ZSTD_MEMORY + (ZSTD_PER_OCTET << zstd_window_log(extent)),
        }
    }

    /// Codes `content`, all of it. What of it comes out at once is appended to `out`.
    ///
    /// # Errors
    /// The coder is broken, or has no memory: the body cannot be brought to its end.
    pub fn write(&mut self, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.holds |= !content.is_empty();
        match &mut self.coder {
            Coder::Gzip(gzip) => deflate(gzip, content, out, FlushCompress::None),
            Coder::Br(writer) => through(writer, out, |writer| writer.write_all(content)),
            Coder::Zstd(zstd) => zstd_write(zstd, content, out),
        }
    }

    /// Brings out all that has gone in, so that a decoder can show it.
    ///
    /// # Errors
    /// As for [`Encoder::write`].
    pub fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !std::mem::take(&mut self.holds) {
            return Ok(());
        }
        match &mut self.coder {
            Coder::Gzip(gzip) => deflate(gzip, &[], out, FlushCompress::Sync),
            Coder::Br(writer) => through(writer, out, CompressorWriter::flush),
            Coder::Zstd(zstd) => zstd_all(out, |out| zstd.flush(out)),
        }
    }

    /// Brings out the rest, and the coded body's end.
    ///
    /// # Errors
    /// As for [`Encoder::write`]; also where a body did not have the length that was announced.
    pub fn finish(self, out: &mut Vec<u8>) -> io::Result<()> {
        match self.coder {
            Coder::Gzip(mut gzip) => deflate(&mut gzip, &[], out, FlushCompress::Finish),
            Coder::Br(mut writer) => {
                std::mem::swap(writer.get_mut(), out);
                *out = writer.into_inner();
                Ok(())
            }
            Coder::Zstd(mut zstd) => zstd_all(out, |out| zstd.finish(out, true)),
        }
    }

    /// Whether content has gone in that has not been brought out.
    pub fn holds(&self) -> bool {
        self.holds
    }
}

const GZIP_LEVEL: u32 = 4;
/// The coding's largest window.
const GZIP_WINDOW_LOG: u8 = 15;
/// Measured, like the figures of the other codings, and rounded up.
const GZIP_MEMORY: u64 = 448 << 10;

fn deflate(gzip: &mut Compress, mut content: &[u8], out: &mut Vec<u8>, mode: FlushCompress) -> io::Result<()> {
    loop {
        out.reserve(ROOM);
        let before = gzip.total_in();
        let status = gzip.compress_vec(content, out, mode)?;
        content = &content[usize::try_from(gzip.total_in() - before).unwrap_or(content.len())..];
        let done = match mode {
            FlushCompress::Finish => status == Status::StreamEnd,
            // Room that is left says that nothing is kept back.
            _ => content.is_empty() && out.len() < out.capacity(),
        };
        if done {
            return Ok(());
        }
    }
}

/// The next one takes 34 MiB for some bodies, and several times the time.
const BROTLI_QUALITY: i32 = 4;
/// Also bounds what a step may have to code at once: what was gathered for one block.
const BROTLI_WINDOW_LOG_MAX: u32 = 16;
const BROTLI_BUFFER: usize = 8 << 10;
const BROTLI_MEMORY: u64 = 640 << 10;
const BROTLI_PER_OCTET: u64 = 24;

fn brotli_window_log(extent: Extent) -> u32 {
    extent.window_log(BROTLI_WINDOW_LOG_MAX)
}

fn brotli_writer(extent: Extent) -> CompressorWriter<Vec<u8>> {
    // Only up to a mebibyte: from there on it would choose tables of twice the size.
    let known = if let Extent::Known(octets) = extent { octets.min(1 << 19) } else { 0 };
    let (lgwin, size_hint) = (brotli_window_log(extent) as i32, usize::try_from(known).unwrap_or_default());
    let params = BrotliEncoderParams { quality: BROTLI_QUALITY, lgwin, size_hint, ..Default::default() };
    CompressorWriter::with_params(Vec::new(), BROTLI_BUFFER, &params)
}

/// The writer owns what it writes to: it is lent `out` for the time of the call.
fn through<W>(
    writer: &mut CompressorWriter<Vec<u8>>,
    out: &mut Vec<u8>,
    work: impl FnOnce(&mut CompressorWriter<Vec<u8>>) -> W,
) -> W {
    std::mem::swap(writer.get_mut(), out);
    let done = work(writer);
    std::mem::swap(writer.get_mut(), out);
    done
}

const ZSTD_LEVEL: i32 = 3;
/// RFC 9659 allows a window of 2^23 octets.
const ZSTD_WINDOW_LOG_MAX: u32 = 17;
/// A body that comes in small pieces for hours has little to look back on, and is to hold little.
const ZSTD_STREAM_LEVEL: i32 = 1;
const ZSTD_STREAM_WINDOW_LOG: u32 = 14;
const ZSTD_MEMORY: u64 = 128 << 10;
const ZSTD_PER_OCTET: u64 = 16;

fn zstd_window_log(extent: Extent) -> u32 {
    extent.window_log(if extent == Extent::Stream { ZSTD_STREAM_WINDOW_LOG } else { ZSTD_WINDOW_LOG_MAX })
}

fn zstandard(extent: Extent) -> io::Result<Zstandard<'static>> {
    let level = if extent == Extent::Stream { ZSTD_STREAM_LEVEL } else { ZSTD_LEVEL };
    let mut zstd = Zstandard::new(level)?;
    zstd.set_parameter(CParameter::WindowLog(zstd_window_log(extent)))?;
    if let Extent::Known(octets) = extent {
        zstd.set_pledged_src_size(Some(octets))?;
    }
    Ok(zstd)
}

fn zstd_write(zstd: &mut Zstandard<'static>, content: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut input = InBuffer::around(content);
    while input.pos < content.len() {
        zstd_step(out, |out| zstd.run(&mut input, out))?;
    }
    Ok(())
}

/// Asks for output until none is left.
fn zstd_all(
    out: &mut Vec<u8>,
    mut step: impl FnMut(&mut OutBuffer<'_, Vec<u8>>) -> io::Result<usize>,
) -> io::Result<()> {
    while zstd_step(out, &mut step)? > 0 {}
    Ok(())
}

fn zstd_step(
    out: &mut Vec<u8>,
    step: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> io::Result<usize>,
) -> io::Result<usize> {
    out.reserve(ROOM);
    let written = out.len();
    step(&mut OutBuffer::around_pos(out, written))
}

#[cfg(test)]
mod tests;
