//! Findings on disk: lines appended to segments, each with a checksum. Of a finding the last line counts; a line that
//! was torn, by a crash or a full disk, is skipped. Everything here blocks.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A segment that has as many octets gets no further line.
const SEGMENT: u64 = 8 << 20;
/// A line that is longer is none of ours.
const LINE_MAX: u64 = 64 << 10;
/// Octets of the checksum and the space before the JSON.
const CHECKSUM: usize = 9;

/// The segments of one directory.
pub(super) struct Journal {
    folder: PathBuf,
    /// The oldest first.
    segments: VecDeque<Segment>,
    /// The segment that is appended to; after a start, or an error, a new one is begun.
    open: Option<File>,
    /// Where each finding's last line stands.
    places: HashMap<u128, Place>,
    /// Octets of those lines.
    live: u64,
    segment_max: u64,
}

struct Segment {
    number: u64,
    bytes: u64,
}

#[derive(Clone, Copy)]
struct Place {
    segment: u64,
    bytes: u32,
}

impl Journal {
    /// Reads all segments of `folder`. `keep` takes a line's JSON and says whose it is, if it is good.
    pub(super) fn open(folder: PathBuf, mut keep: impl FnMut(&[u8]) -> Option<u128>) -> io::Result<Self> {
        let mut journal = Self {
            segments: VecDeque::new(),
            open: None,
            places: HashMap::new(),
            live: 0,
            segment_max: SEGMENT,
            folder,
        };
        let mut numbers: Vec<u64> = std::fs::read_dir(&journal.folder)?
            .filter_map(|entry| number_of(entry.ok()?.file_name().to_str()?))
            .collect();
        numbers.sort_unstable();
        for number in numbers {
            journal.read(number, &mut keep)?;
        }
        Ok(journal)
    }

    fn read(&mut self, number: u64, keep: &mut impl FnMut(&[u8]) -> Option<u128>) -> io::Result<()> {
        let path = path_of(&self.folder, number);
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let (mut line, mut skipped) = (Vec::new(), 0_u64);
        loop {
            line.clear();
            if (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            match json_of(&line).and_then(&mut *keep) {
                Some(id) => self.put(id, number, line.len()),
                None => skipped += 1,
            }
        }
        if skipped > 0 {
            tracing::warn!(segment = %path.display(), skipped, "lines of findings that are torn or not known are skipped");
        }
        self.segments.push_back(Segment { number, bytes });
        Ok(())
    }

    /// Appends a line for each finding, and has them reach the disk. After an error all of them are to be appended again.
    pub(super) fn append(&mut self, lines: &[(u128, Vec<u8>)]) -> io::Result<()> {
        let mut rest = lines;
        while !rest.is_empty() {
            let room = self.segment_max.saturating_sub(self.begin()?);
            let (mut octets, mut count) = (Vec::new(), 0);
            while count < rest.len() && (count == 0 || (octets.len() as u64) < room) {
                write_line(&mut octets, &rest[count].1);
                count += 1;
            }
            self.write(&octets)?;
            let number = self.segments.back().map_or(0, |segment| segment.number);
            rest[..count].iter().for_each(|(id, json)| self.put(*id, number, json.len() + CHECKSUM + 1));
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Makes sure that a segment is open with room; says how long it is.
    fn begin(&mut self) -> io::Result<u64> {
        if let (Some(_), Some(last)) = (&self.open, self.segments.back())
            && last.bytes < self.segment_max
        {
            return Ok(last.bytes);
        }
        let number = self.segments.back().map_or(1, |last| last.number + 1);
        let path = path_of(&self.folder, number);
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)?;
        // It is there now, whatever else fails: the next one has another number.
        self.open = Some(file);
        self.segments.push_back(Segment { number, bytes: 0 });
        File::open(&self.folder)?.sync_all()?;
        Ok(0)
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let (Some(file), Some(segment)) = (&mut self.open, self.segments.back_mut()) else { return Ok(()) };
        match file.write_all(octets).and_then(|()| file.sync_data()) {
            Ok(()) => segment.bytes += octets.len() as u64,
            Err(error) => {
                // What was written of it may be half a line: it goes, or the next start skips it.
                if file.set_len(segment.bytes).is_err() {
                    segment.bytes = file.metadata().map_or(segment.bytes, |seen| seen.len());
                }
                self.open = None;
                return Err(error);
            }
        }
        Ok(())
    }

    fn put(&mut self, id: u128, segment: u64, bytes: usize) {
        let place = Place { segment, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
        self.live += u64::from(place.bytes);
        if let Some(before) = self.places.insert(id, place) {
            self.live -= u64::from(before.bytes);
        }
    }

    /// Counts the lines of findings that are no more as waste.
    pub(super) fn forget_unless(&mut self, is_here: impl Fn(u128) -> bool) {
        let gone: Vec<u128> = self.places.keys().copied().filter(|id| !is_here(*id)).collect();
        gone.into_iter().for_each(|id| self.forget(id));
    }

    /// Counts a finding's line as waste: it has gone.
    pub(super) fn forget(&mut self, id: u128) {
        if let Some(place) = self.places.remove(&id) {
            self.live -= u64::from(place.bytes);
        }
    }

    /// Octets of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Octets of the lines that count.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Whether the segments take more than they may; many small ones, each of another start, are too many as well.
    pub(super) fn is_over(&self, disk_max: u64) -> bool {
        let segments_max = 2 * (disk_max / self.segment_max).max(2);
        self.segments.len() > 1 && (self.bytes() > disk_max || self.segments.len() as u64 > segments_max)
    }

    /// The findings whose last line is in the oldest segment: once they are written again, [`Self::drop_oldest`].
    pub(super) fn oldest(&self) -> HashSet<u128> {
        let oldest = self.segments.front().map(|segment| segment.number);
        let within = self.places.iter().filter(|(_, place)| Some(place.segment) == oldest);
        within.map(|(id, _)| *id).collect()
    }

    /// Deletes the oldest segment, and forgets what only stands there.
    pub(super) fn drop_oldest(&mut self) -> io::Result<()> {
        let Some(number) = self.segments.front().map(|segment| segment.number) else { return Ok(()) };
        self.oldest().into_iter().for_each(|id| self.forget(id));
        match std::fs::remove_file(path_of(&self.folder, number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.segments.pop_front();
        if self.segments.is_empty() {
            self.open = None;
        }
        Ok(())
    }
}

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("findings-{number:010}.log"))
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix("findings-")?.strip_suffix(".log")?.parse().ok()
}

/// CRC-32 in hexadecimal, a space, JSON, a line feed.
fn write_line(out: &mut Vec<u8>, json: &[u8]) {
    let _ = write!(out, "{:08x} ", crc32fast::hash(json));
    out.extend_from_slice(json);
    out.push(b'\n');
}

/// The JSON of a whole line with the right checksum.
fn json_of(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n")?;
    let (checksum, json) = line.split_at_checked(CHECKSUM)?;
    let stated = u32::from_str_radix(std::str::from_utf8(checksum).ok()?.strip_suffix(' ')?, 16).ok()?;
    (crc32fast::hash(json) == stated).then_some(json)
}

#[cfg(test)]
mod tests;
