//! Scanners of head lines, shared by requests, responses and trailers.

/// How far the parsing of a head got, between two arrivals of octets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    whole: usize,
}

impl Progress {
    pub(crate) fn whole(&self) -> usize {
        self.whole
    }

    pub(crate) fn has_begun(&self) -> bool {
        false
    }
}
