//! What a worker's coders may hold together: a response that finds no room goes out as it is.

use std::cell::Cell;
use std::rc::Rc;

/// Octets in use by the coders of one worker.
#[derive(Clone, Debug, Default)]
pub struct Room(Rc<Cell<u64>>);

/// A coder's part of it, given back when it is dropped.
#[derive(Debug)]
pub struct Held {
    room: Room,
    octets: u64,
}

impl Room {
    /// Takes `octets`, if no more than `max` are then in use; 0 is no bound.
    pub fn take(&self, octets: u64, max: u64) -> Option<Held> {
        let used = self.0.get() + octets;
        (max == 0 || used <= max).then(|| {
            self.0.set(used);
            Held { room: self.clone(), octets }
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.0.set(self.room.0.get() - self.octets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_back() {
        let room = Room::default();
        let first = room.take(60, 100);
        assert!(first.is_some() && room.take(41, 100).is_none());
        let second = room.take(40, 100);
        assert!(second.is_some());
        drop(first);
        assert!(room.take(60, 100).is_some());
        assert!(room.take(1 << 40, 0).is_some());
    }
}
