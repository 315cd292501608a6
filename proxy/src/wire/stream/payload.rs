//! Content on its way through the HTTP/2 codec, which says of each octet when it has left.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Waker;

use bytes::Buf;

use crate::buf::{Chunk, Reading, SendBuf};

/// How a stream's content leaves.
#[derive(Default)]
pub(super) struct Gauge {
    unsent: Cell<usize>,
    sent: Cell<u64>,
    /// The codec has thrown some of it away.
    lost: Cell<bool>,
    /// Wakes who waits once no more than this is unsent.
    wake_at: Cell<usize>,
    waker: Cell<Option<Waker>>,
}

impl Gauge {
    /// Octets that have not left.
    pub(super) fn unsent(&self) -> usize {
        self.unsent.get()
    }

    /// Octets that have.
    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Whether some never will.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.get()
    }

    pub(super) fn wait(&self, left: usize, waker: &Waker) {
        self.wake_at.set(left);
        self.waker.set(Some(waker.clone()));
    }

    /// Octets that leave another way than as content.
    pub(super) fn count(&self, octets: usize) {
        self.sent.set(self.sent.get() + octets as u64);
    }

    fn left(&self, octets: usize) {
        self.unsent.set(self.unsent.get().saturating_sub(octets));
        self.count(octets);
        if self.unsent.get() <= self.wake_at.get() {
            self.wake();
        }
    }

    fn lose(&self, octets: usize) {
        self.unsent.set(self.unsent.get().saturating_sub(octets));
        self.lost.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

thread_local! {
    /// The received octets that a payload last showed: who is to write those need not copy them.
    static SHOWN: Cell<Option<Chunk>> = const { Cell::new(None) };
}

/// The received octets that `octets` are the front of, if they were just shown by a payload.
pub fn shown(octets: &[u8]) -> Option<Chunk> {
    let mut chunk = SHOWN.take()?;
    if std::ptr::eq(chunk.as_ptr(), octets.as_ptr()) && octets.len() <= chunk.len() {
        chunk.truncate(octets.len());
        return Some(chunk);
    }
    SHOWN.set(Some(chunk));
    None
}

/// Lets go of what was shown and not written.
pub fn forget_shown() {
    SHOWN.set(None);
}

/// Octets below this are copied in any case: to share them costs as much.
const SHARED_MIN: usize = 2048;

/// Content that the codec takes.
pub struct Payload {
    octets: Reading,
    gauge: Rc<Gauge>,
}

impl Payload {
    pub(super) fn new(octets: SendBuf, gauge: &Rc<Gauge>) -> Self {
        gauge.unsent.set(gauge.unsent.get() + octets.len());
        Self { octets: octets.into(), gauge: gauge.clone() }
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.octets.left()
    }

    fn chunk(&self) -> &[u8] {
        let octets = self.octets.octets();
        if octets.len() >= SHARED_MIN {
            SHOWN.set(self.octets.chunk());
        }
        octets
    }

    fn advance(&mut self, count: usize) {
        self.octets.take(count);
        self.gauge.left(count);
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if self.octets.left() > 0 {
            self.gauge.lose(self.octets.left());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_and_what_is_thrown_away_is_told() {
        let gauge = Rc::new(Gauge::default());
        let mut payload = Payload::new(SendBuf::from(b"0123456789".to_vec()), &gauge);
        payload.advance(4);
        assert_eq!((gauge.unsent(), gauge.sent(), gauge.is_lost()), (6, 4, false));
        drop(payload);
        assert_eq!((gauge.unsent(), gauge.sent(), gauge.is_lost()), (0, 4, true));
    }

    #[test]
    fn only_what_was_just_shown_is_shared() {
        let received = Chunk::from(vec![b'x'; 2 * SHARED_MIN]);
        let payload = Payload::new(SendBuf::from(received.clone()), &Rc::new(Gauge::default()));
        let octets = &payload.chunk()[..SHARED_MIN];
        assert_eq!(shown(octets).map(|chunk| (chunk.as_ptr(), chunk.len())), Some((received.as_ptr(), SHARED_MIN)));
        assert!(shown(octets).is_none(), "it is shown once");
        let _ = payload.chunk();
        assert!(shown(&received[1..]).is_none(), "not its front");
    }
}
