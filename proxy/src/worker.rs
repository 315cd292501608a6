//! One core: runtime, accept loops, per-core state, mailbox.
