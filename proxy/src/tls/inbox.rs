//! Received octets, cut into whole records: in the buffer that the kernel filled where a record lies in one, copied
//! where it lies across two.

use crate::buf::Chunk;

/// What was received and not yet opened. Holds no memory while nothing waits.
#[derive(Default)]
pub(super) struct Inbox {
    /// The beginning of a record whose rest came, or will come, in another chunk.
    partial: Vec<u8>,
    chunk: Option<Chunk>,
}

impl Inbox {
    /// Takes octets. All that came before was cut as far as it went.
    pub(super) fn put(&mut self, octets: Chunk) {
        if let Some(before) = self.chunk.take() {
            self.partial.extend_from_slice(&before);
        }
        self.chunk = Some(octets).filter(|octets| !octets.is_empty());
    }

    /// Whether nothing waits, not even a part of a record.
    pub(super) fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.chunk.is_none()
    }

    /// The next whole record; `length` says how long the one is that begins so, once it can tell.
    pub(super) fn cut<E>(&mut self, length: impl Fn(&[u8]) -> Result<Option<usize>, E>) -> Result<Option<Chunk>, E> {
        if !self.partial.is_empty() {
            return self.complete(length);
        }
        let Some(chunk) = &mut self.chunk else { return Ok(None) };
        match length(chunk)? {
            Some(length) if length <= chunk.len() => {
                let record = chunk.split_to(length);
                self.chunk.take_if(|rest| rest.is_empty());
                Ok(Some(record))
            }
            length => {
                self.keep(length);
                Ok(None)
            }
        }
    }

    /// Copies what waits, so that it pins no buffer while the rest is awaited.
    fn keep(&mut self, length: Option<usize>) {
        if let Some(chunk) = self.chunk.take() {
            // What is announced may never come: memory is taken as octets do.
            self.partial.reserve_exact(length.unwrap_or_default().min(2 * chunk.len()));
            self.partial.extend_from_slice(&chunk);
        }
    }

    fn complete<E>(&mut self, length: impl Fn(&[u8]) -> Result<Option<usize>, E>) -> Result<Option<Chunk>, E> {
        loop {
            let wanted = length(&self.partial)?.unwrap_or(super::record::HEADER);
            let missing = wanted.saturating_sub(self.partial.len());
            if missing == 0 {
                return Ok(Some(Chunk::from(std::mem::take(&mut self.partial))));
            }
            let Some(chunk) = &mut self.chunk else { return Ok(None) };
            self.partial.extend_from_slice(&chunk.split_to(missing));
            self.chunk.take_if(|rest| rest.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(start: &[u8]) -> Result<Option<usize>, ()> {
        Ok(start.get(4).map(|&length| 5 + usize::from(length)))
    }

    fn record(length: u8, octet: u8) -> Vec<u8> {
        [vec![0, 0, 0, 0, length], vec![octet; usize::from(length)]].concat()
    }

    /// However the octets are split, the same records come out, and nothing is left.
    #[test]
    fn records_come_out_whole_however_they_are_split() {
        let records = [record(3, 1), record(0, 2), record(200, 3), record(1, 4)];
        let octets = records.concat();
        for first in 0..octets.len() {
            for second in [first, first + 1, first + 4, first + 30] {
                let second = second.min(octets.len());
                let (mut inbox, mut found) = (Inbox::default(), Vec::new());
                for part in [&octets[..first], &octets[first..second], &octets[second..]] {
                    inbox.put(Chunk::from(part.to_vec()));
                    while let Some(one) = inbox.cut(length).unwrap() {
                        found.push(one.to_vec());
                    }
                }
                assert_eq!(found, records, "split at {first} and {second}");
                assert!(inbox.is_empty());
            }
        }
    }

    #[test]
    fn a_record_that_never_ends_takes_no_more_memory_than_came() {
        let mut inbox = Inbox::default();
        inbox.put(Chunk::from(vec![0, 0, 0, 0, 255, 1]));
        assert!(inbox.cut(length).unwrap().is_none() && !inbox.is_empty());
        assert!(inbox.partial.capacity() <= 16);
    }
}
