//! Cancellation: asks for the last completion of operations, early.

use io_uring::types::CancelBuilder;
use io_uring::{opcode, squeue};

use crate::ring::driver::Driver;
use crate::ring::ops::Token;

/// Cancels all that is in flight.
pub(in crate::ring) fn everything() -> squeue::Entry {
    opcode::AsyncCancel2::new(CancelBuilder::any()).build().user_data(Token::NOBODY.bits())
}

impl Driver {
    /// Cancels one operation. Its owner learns of the end by the operation's own completion; that it ended already
    /// is no error.
    pub(in crate::ring) fn cancel(&self, token: Token) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(token.bits())).build();
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(Token::NOBODY.bits()));
    }
}
