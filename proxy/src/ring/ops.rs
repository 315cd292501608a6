//! Operations in flight: each owns what the kernel works on until its last completion.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;
use std::task::Waker;

use super::listener::Acceptor;
use super::socket::Stream;

/// An operation in flight.
#[derive(Clone)]
pub(super) enum Op {
    /// A multishot receive.
    Receive(Rc<Stream>),
    /// The send at the head of a socket's queue.
    Send(Rc<Stream>),
    /// A multishot accept.
    Accept(Rc<Acceptor>),
    /// An operation of which a future awaits the only result.
    Once(Rc<Once>),
    /// The close of a descriptor.
    Close,
    /// The read of the eventfd by which other threads wake the loop.
    Wake,
}

/// A one-shot operation: its result, who waits for it, and what it keeps alive.
pub(super) struct Once {
    pub(super) result: Cell<Option<i32>>,
    pub(super) waker: Cell<Option<Waker>>,
    #[expect(dead_code, reason = "kept alive for the kernel")]
    pub(super) keep: Box<dyn Any>,
}

/// Names one operation for ever: slots are used again, tokens are not (for 2^32 uses of a slot).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token(u64);

impl Token {
    /// Completions that nobody waits for: of cancellations.
    pub(super) const NOBODY: Self = Self(u64::MAX);

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    const fn index(bits: u64) -> usize {
        bits as u32 as usize
    }
}

/// The table of operations in flight.
#[derive(Default)]
pub(super) struct Ops {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

struct Slot {
    generation: u32,
    op: Option<Op>,
}

impl Ops {
    /// Operations in flight.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, op: Op) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, op: None });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.op = Some(op);
        Token(u64::from(slot.generation) << 32 | u64::from(index))
    }

    /// The operation a completion belongs to; it is forgotten with its last completion.
    pub(super) fn completed(&mut self, user_data: u64, more: bool) -> Option<Op> {
        let index = Token::index(user_data);
        let slot = self.slots.get_mut(index).filter(|slot| slot.generation == (user_data >> 32) as u32)?;
        if more {
            return slot.op.clone();
        }
        let op = slot.op.take()?;
        // A generation of all ones would make the last slot's token NOBODY's.
        slot.generation = (slot.generation + 1) % u32::MAX;
        self.free.push(index as u32);
        Some(op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_token_finds_no_new_operation() {
        let mut ops = Ops::default();
        let first = ops.insert(Op::Close);
        assert!(ops.completed(first.bits(), true).is_some());
        assert!(ops.completed(first.bits(), false).is_some());
        let second = ops.insert(Op::Wake);
        assert_eq!(Token::index(first.bits()), Token::index(second.bits()));
        assert!(ops.completed(first.bits(), false).is_none());
        assert_eq!(ops.len(), 1);
        assert!(ops.completed(second.bits(), false).is_some());
        assert!(ops.completed(Token::NOBODY.bits(), false).is_none());
        assert_eq!(ops.len(), 0);
    }
}
