//! A stage's refusal or failure: who is at fault, what it was, and whether a retry is safe.

use super::Reason;

/// Who is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// The client sent something wrong, or went away.
    Client,
    /// The upstream refused, failed or stalled.
    Upstream,
    /// weir decided so: a policy, a limit, the configuration.
    Policy,
    /// A defect or shortage of our own.
    Us,
}

/// Whether another try may follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// No octet can have been processed: any method.
    Safe,
    /// The upstream may have acted: idempotent methods only (RFC 9110 section 9.2.2).
    Idempotent,
    /// Never.
    No,
}

/// Why a request does not go on. One function in `respond` turns it into a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What happened; fixes the party and the default status.
    pub reason: Reason,
    /// The status to answer with; differs from the reason's own only where a rule says so.
    pub status: u16,
    /// Whether another try may follow.
    pub retry: Retry,
    /// Offset of the offending octet in the message head or body framing, where there is one.
    pub offset: Option<u32>,
}

impl Fault {
    /// A fault with the reason's own status, after which no retry may follow.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, status: reason.status(), retry: Retry::No, offset: None }
    }

    /// The same fault with its place in the input.
    pub const fn at(mut self, offset: u32) -> Self {
        self.offset = Some(offset);
        self
    }

    /// The same fault with another status.
    pub const fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same fault, retriable as said.
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }
}
